"""Write planned rows into one table, in the caller's transaction: only rows that are still what the plan saw.

The plan is in a temporary table (``PlanTable``) and is applied set by set: rows are locked in key order and compared
again, then one delete, one update and one insert. Locks are row locks and ROW EXCLUSIVE, nothing stronger. At the end
the rows are read back and compared with the plan as text; the caller rolls back on any exception.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconcile.engines.base import Engine, RowCounts
from reconcile.engines.identifiers import quote
from reconcile.errors import EvaluationFailed, Refused
from reconcile.repair.plan_tables import AFTER, BEFORE, HEAD, PLAN, Images, PlanTable

_LOCKED, _CHOSEN, _FOUND = "reconcile_locked", "reconcile_chosen", "reconcile_found"
_ROUNDED = ("float4", "float8", "FLOAT", "DOUBLE")  # 0.0 and -0.0 are equal and differ as text: never joined by text


_NOTHING = RowCounts(0, 0, 0)


@dataclass(frozen=True)
class Written:
    """How many rows were written, and how many planned rows were not because they are not what the plan saw."""

    inserted: int
    updated: int
    deleted: int
    stale: int


class RowWriter:
    """Writes the rows of a plan table into ``relation``. To be used once, inside ``engine.transaction()``."""

    def __init__(self, engine: Engine, relation: str, plan: PlanTable) -> None:
        self._engine = engine
        self._relation = relation
        self._plan = plan
        self._images = plan.images
        self._stale = 0
        self._updated: list[str] = []

    def lock(self) -> dict[str, int]:
        """Lock the rows to change, drop what is stale from the plan, keep what is deleted; the rows left, by action."""
        self._stale = self._drop_stale()
        self._updated = self._columns_to_update()
        self._find_swaps()
        self._keep_deleted()
        return self._plan.counts()

    def write(self, dragged: RowCounts = _NOTHING) -> Written:
        """Write the plan and prove it. The plan table then holds exactly what was written. ``lock`` comes before.

        ``dragged``: what the deletions change in the table through a foreign key to itself.

        Raises EvaluationFailed if the database refuses, and Refused if a row read back is not what was written.
        """
        planned = self._plan.counts()
        before = self._engine.row_counts(self._relation)
        self._count_copies()
        # deletes first, then updates: a unique value that one row gives up may be another's new one
        deleted = self._engine.execute(self._delete()) + self._delete_copies()
        updated = self._engine.execute(self._update()) if self._updated else 0
        swapped = self._engine.execute(self._insert("swap")) if planned.get("swap") else 0
        inserted = self._engine.execute(self._insert("insert") + self._engine.skip_conflicts)
        overtaken = self._look_for_missing(planned.get("insert", 0) - inserted)
        found = {"insert": inserted, "update": updated, "delete": deleted - swapped, "swap": swapped}
        wanted = {action: planned.get(action, 0) for action in found}
        wanted["insert"] -= overtaken
        if found != wanted:
            raise EvaluationFailed(f"{self._relation}: planned {wanted}, but the database wrote {found}: rolled back")
        self._prove_counts(before, RowCounts(inserted + swapped, updated + dragged.updated, deleted + dragged.deleted))
        self._prove_rows()
        return Written(inserted, updated + swapped, found["delete"], self._stale + overtaken)

    def _drop_stale(self) -> int:
        """Lock what is to be changed, in key order, and drop from the plan what is not as it was planned.

        A locking SELECT evaluates its condition again on the version of the row that it locks.
        """
        for left in (_LOCKED, _CHOSEN, _FOUND):  # of the table that this transaction wrote before
            self._engine.execute(f"drop table if exists {left}")
        ids = "".join(f", t.{name} as id{i}" for i, name in enumerate(self._engine.row_id))
        self._engine.execute(
            f"create temporary table {_LOCKED} as select cast(0 as bigint) as position{ids} from {self._relation} as t"
            " limit 0"
        )
        self._engine.execute(f"analyze {PLAN} (position)")
        self._lock(f"{self._same_key(BEFORE)} and {self._same_row(BEFORE)}", "p.copies = 0 and p.action <> 'insert'")
        if self._count("copies > 0 and action = 'delete'"):
            self._lock(self._same_copy(), "p.copies > 0 and p.action = 'delete'")
        stale = self._engine.execute(
            f"delete from {PLAN} as p where p.action <> 'insert' and not exists (\n"
            f"  select 1 from (select position, count(*) as found from {_LOCKED} group by position) as l\n"
            f"  where l.position = p.position and l.found >= p.copies\n)"
        )
        there = self._exists(self._same_key(AFTER))
        return stale + self._engine.execute(
            f"delete from {PLAN} as p where p.action = 'insert' and p.copies = 0 and {there}"
        )

    def _lock(self, same: str, which: str) -> None:
        ids = "".join(f", t.{name}" for name in self._engine.row_id)
        self._engine.execute(
            f"insert into {_LOCKED}\nselect p.position{ids} from {self._relation} as t join {PLAN} as p on {same}\n"
            f"where {which}\norder by p.position{self._engine.row_lock}"
        )

    def _columns_to_update(self) -> list[str]:
        """The columns that some row changes; generated ones are written by the database."""
        names = [name for name in self._images.compared if not self._images.column(name).generated]
        if not names or not self._count("action = 'update'"):
            return []
        texts = [[self._engine.as_text(self._images.cell(side, name)) for side in (BEFORE, AFTER)] for name in names]
        differ = ", ".join(f"bool_or({before} is distinct from {after})" for before, after in texts)
        found = self._engine.one(f"select {differ} from {PLAN} where action = 'update'")
        return [name for name, differs in zip(names, found, strict=True) if differs]

    def _find_swaps(self) -> None:
        """Mark updates that have to be a delete and an insert.

        One UPDATE fails on a unique value that another row still has, and cannot write an identity column.
        """
        for name in [name for name in self._updated if self._images.column(name).identity_always]:
            before, after = (self._images.cell(side, name) for side in (BEFORE, AFTER))
            found = self._engine.execute(
                f"update {PLAN} as p set action = 'swap' where p.action = 'update'\n"
                f"and {before} is distinct from {after}"
            )
            self._refuse_swaps(found, f"{found} rows change the identity column {name}")
            self._updated.remove(name)
        for names in self._engine.unique_sets(self._relation):
            if not set(names) & set(self._updated):
                continue
            places = [
                (self._images.cell(BEFORE, name), self._images.cell(AFTER, name))
                for name in names
                if name in self._images.named
            ]
            taken = " and ".join(f"q.{before} = p.{after}" for before, after in places)
            own = " and ".join(f"p.{before} = p.{after}" for before, after in places)
            found = self._engine.execute(
                f"update {PLAN} as p set action = 'swap' where p.action = 'update' and ({own}) is not true\n"
                f"and exists (select 1 from {PLAN} as q where q.action in ('update', 'swap')"
                f" and q.position <> p.position and {taken})"
            )
            self._refuse_swaps(found, f"{found} rows take over a unique value ({', '.join(names)}) from one another")
        if not self._count("action = 'update'"):
            self._updated = []

    def _refuse_swaps(self, found: int, what: str) -> None:
        bound = self._engine.bound_to(self._relation) if found else []
        if bound:
            raise Refused(
                f"{self._relation}: {what}, which needs them deleted and inserted again, and {bound[0]} depends on "
                "them: rolled back"
            )

    def _keep_deleted(self) -> None:
        """Keep of each row to delete what no plan holds, and make of a row with copies one row per copy to delete."""
        others = self._images.uncompared
        if others:
            cells = ", ".join(
                f"{self._images.cell(side, name)} = t.{quote(name)}" for name in others for side in (BEFORE, AFTER)
            )
            self._engine.execute(
                f"update {PLAN} as p set {cells} from {self._relation} as t\n"
                f"where p.action in ('delete', 'swap') and p.copies = 0 and {self._same_key(BEFORE)}"
            )
        if not self._count("copies > 0 and action = 'delete'"):
            return
        n = len(self._engine.row_id)
        ids = ", ".join(f"id{i}" for i in range(n))
        same_id = " and ".join(f"t.{name} = l.id{i}" for i, name in enumerate(self._engine.row_id))
        order = f"row_number() over (partition by l.position order by {', '.join(f'l.id{i}' for i in range(n))})"
        self._engine.execute(
            f"create temporary table {_CHOSEN} as\nselect position, {ids} from (\n"
            f"  select l.*, p.copies, {order} as nth from {_LOCKED} as l\n"
            f"  join {PLAN} as p on p.position = l.position and p.action = 'delete' and p.copies > 0\n"
            ") as numbered where nth <= copies"
        )
        names = [column.name for column in self._images.columns]
        self._engine.execute(
            f"insert into {PLAN} ({', '.join([*HEAD, *self._images.cells_of(BEFORE, names)])})\n"
            f"select p.position, 'copy', p.reason, 1, {', '.join(f't.{quote(name)}' for name in names)}\n"
            f"from {_CHOSEN} as l join {PLAN} as p on p.position = l.position\n"
            f"join {self._relation} as t on {same_id}"
        )
        self._engine.execute(f"delete from {PLAN} where action = 'delete' and copies > 0")
        self._engine.execute(f"update {PLAN} set action = 'delete' where action = 'copy'")

    def _count_copies(self) -> None:
        """Note how many rows equal each row to insert that no key names, to compare with afterwards."""
        if self._count("copies > 0 and action = 'insert'"):
            self._engine.execute(f"create temporary table {_FOUND} as {self._copies_sql()}")

    def _copies_sql(self) -> str:
        names = self._written("insert")
        here = ", ".join(self._engine.as_text(f"t.{quote(name)}") for name in names)
        return (
            "select w.image, w.copies, count(t.image) as found\nfrom (\n"
            f"  select {self._plan.texts(AFTER, names)} as image, sum(copies) as copies\n"
            f"  from {PLAN} as p where copies > 0 and action = 'insert' group by 1\n) as w\n"
            f"left join (select array[{here}] as image from {self._relation} as t) as t on t.image = w.image\n"
            "group by w.image, w.copies"
        )

    def _update(self) -> str:
        assignments = ", ".join(f"{quote(name)} = p.{self._images.cell(AFTER, name)}" for name in self._updated)
        return (
            f"update {self._relation} as t set {assignments} from {PLAN} as p\n"
            f"where p.action = 'update' and p.copies = 0 and {self._same_key(BEFORE)}"
        )

    def _delete(self) -> str:
        return (
            f"delete from {self._relation} as t using {PLAN} as p\n"
            f"where p.action in ('delete', 'swap') and p.copies = 0 and {self._same_key(BEFORE)}"
        )

    def _delete_copies(self) -> int:
        if not self._count("copies > 0 and action = 'delete'"):
            return 0
        same_id = " and ".join(f"t.{name} = l.id{i}" for i, name in enumerate(self._engine.row_id))
        return self._engine.execute(f"delete from {self._relation} as t using {_CHOSEN} as l where {same_id}")

    def _insert(self, action: str) -> str:
        written = [self._images.column(name) for name in self._written(action)]
        listed = ", ".join(quote(column.name) for column in written)
        values = ", ".join(f"p.{self._images.cell(AFTER, column.name)}" for column in written)
        overriding = " overriding system value" if any(column.identity_always for column in written) else ""
        return (
            f"insert into {self._relation} ({listed}){overriding}\nselect {values}\nfrom {PLAN} as p\n"
            f"cross join lateral generate_series(1, greatest(p.copies, 1)) as copy\nwhere p.action = '{action}'"
        )

    def _written(self, action: str) -> list[str]:
        """The columns that an action writes."""
        if action == "update":
            return self._updated
        names = self._images.named if action == "insert" else [column.name for column in self._images.columns]
        return [name for name in names if not self._images.column(name).generated]

    def _look_for_missing(self, missed: int) -> int:
        """Drop from the plan the rows that another session has inserted meanwhile, and return their number.

        Raises Refused if ``missed`` rows were not inserted for another reason.
        """
        overtaken = 0
        if missed > 0 and self._images.key:
            there = self._exists(self._same_key(AFTER))
            unlike = f"not {self._exists(f'{self._same_key(AFTER)} and {self._same_row(AFTER)}')}"
            overtaken = self._engine.execute(
                f"delete from {PLAN} as p where p.copies = 0 and p.action = 'insert' and {there} and {unlike}"
            )
        if overtaken < missed:
            raise Refused(
                f"{self._relation}: {missed - overtaken} rows cannot be inserted, another row has a unique value of "
                "theirs (or a trigger dropped them): rolled back"
            )
        return overtaken

    def _prove_counts(self, before: RowCounts | None, written: RowCounts) -> None:
        """Refuse if the database wrote other rows of the table than the plan's: a trigger did.

        An update that moves a row to another partition counts as a delete and an insert.
        """
        after = self._engine.row_counts(self._relation)
        if before is None or after is None:
            return
        made = after.made - before.made - written.made
        ended = after.ended - before.ended - written.ended
        if made or ended:
            raise Refused(
                f"{self._relation}: a trigger or a foreign key wrote {max(made, ended)} rows that are not in the plan: "
                "rolled back"
            )

    def _prove_rows(self) -> None:
        """Read back what was written and compare it with the plan, as text. Raises Refused for the first difference."""
        for action in ("insert", "update", "swap"):
            if not self._count(f"copies = 0 and action = '{action}'"):
                continue
            written = self._written(action)
            rest = [name for name in self._images.exact if name not in written]
            same = [
                self._same_key(AFTER),
                *(self._identical(name) for name in written),
                *(self._equal(AFTER, name) for name in rest),
            ]
            wrong = f"from {PLAN} as p where p.copies = 0 and p.action = '{action}'"
            wrong += f" and not {self._exists(' and '.join(same))}"
            count, first = self._engine.one(f"select count(*), min(p.position) {wrong}")
            if count:
                raise Refused(f"{self._relation}: {self._difference(int(first), [*written, *rest])}: rolled back")
        if self._count("copies > 0 and action = 'insert'"):
            now = self._copies_sql()
            wrong = f"from {_FOUND} as f join ({now}) as n on n.image = f.image where n.found <> f.found + f.copies"
            if count := self._engine.one(f"select count(*) {wrong}")[0]:
                raise Refused(f"{self._relation}: {count} inserted rows were read back with other values: rolled back")
        still = self._exists(f"{self._same_key(BEFORE)} and {self._same_row(BEFORE)}")
        undeleted = f"from {PLAN} as p where p.copies = 0 and p.action = 'delete' and {still}"
        if count := self._engine.one(f"select count(*) {undeleted}")[0]:
            raise Refused(f"{self._relation}: {count} deleted rows are still there (a trigger?): rolled back")

    def _difference(self, position: int, names: Iterable[str]) -> str:
        """What differs between a planned row and the table, as a message."""
        key = list(self._images.key)
        listed = [*key, *(name for name in names if name not in key)]
        here = ", ".join(self._engine.as_text(f"t.{quote(name)}") for name in listed)
        found = self._engine.rows(
            f"select {self._plan.texts(AFTER, listed)}, array[{here}] from {PLAN} as p\n"
            f"left join {self._relation} as t on {self._same_key(AFTER)} where p.position = {position} limit 1"
        )
        planned, read = found[0]
        row = ", ".join(f"{name}={value}" for name, value in zip(key, planned, strict=False))
        for name, value, back in zip(listed, planned, read, strict=True):
            if value != back:
                return f"the row {row} was read back with {name} = {_shown(back)} instead of {_shown(value)}"
        return f"the row {row} was not found after it was written"

    def _count(self, which: str) -> int:
        return int(self._engine.one(f"select count(*) from {PLAN} where {which}")[0])

    def _exists(self, condition: str) -> str:
        return f"exists (select 1 from {self._relation} as t where {condition})"

    def _same_key(self, side: str) -> str:
        return same_key(self._engine, self._images, side)

    def _same_row(self, side: str) -> str:
        return same_row(self._engine, self._images, side)

    def _same_copy(self) -> str:
        """An unkeyed row of the table equals a row to delete, with an equality that the database can join by."""
        columns = [self._images.column(name) for name in joinable(self._images)]
        here = ", ".join(self._engine.packed(f"t.{quote(column.name)}", column) for column in columns)
        planned = (self._engine.packed(f"p.{self._images.cell(BEFORE, c.name)}", c) for c in columns)
        same = self._same_row(BEFORE)
        return f"array[{here}] = array[{', '.join(planned)}] and {same}" if columns else same

    def _equal(self, side: str, name: str) -> str:
        return equal(self._engine, self._images, side, name)

    def _identical(self, name: str) -> str:
        """A column of the table ``t`` holds the very value of a row ``p`` of the plan."""
        column = self._images.column(name)
        if column.base in _EQUAL_IS_SAME:
            return self._equal(AFTER, name)
        here = self._engine.as_text(f"t.{quote(name)}")
        return f"{here} is not distinct from {self._engine.as_text(f'p.{self._images.cell(AFTER, name)}')}"


# Types whose equal values have one text: comparing them as they are is several times faster than as text
_EQUAL_IS_SAME = frozenset(
    {"int2", "int4", "int8", "bool", "text", "varchar", "date", "timestamp", "timestamptz", "uuid", "bytea"}
    | {"BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "VARCHAR", "DATE", "TIMESTAMP", "UUID", "BLOB"}
)


def _shown(value: str | None) -> str:
    return "NULL" if value is None else repr(value if len(value) <= 60 else value[:60] + "...")


def same_key(engine: Engine, images: Images, side: str) -> str:
    """A row of the table ``t`` has the key of a row ``p`` of the plan; never, if rows have no key."""
    parts = []
    for name in images.key:
        # by the type's own equality an index can find the row; what it calls equal may still be another key
        parts.append(f"t.{quote(name)} = p.{images.cell(side, name)}")
        if engine.comparable("v", images.column(name)) != "v":
            parts.append(equal(engine, images, side, name))
    return " and ".join(parts) or "false"


def joinable(images: Images) -> list[str]:
    """The columns by whose texts equal rows can be joined."""
    return [name for name in images.exact if images.column(name).base not in _ROUNDED]


def same_row(engine: Engine, images: Images, side: str) -> str:
    """A row of the table ``t`` equals a row ``p`` of the plan in every compared column, as it is compared."""
    return " and ".join(equal(engine, images, side, name) for name in images.exact)


def equal(engine: Engine, images: Images, side: str, name: str) -> str:
    """A column of the table ``t`` equals that of a row ``p`` of the plan, as it is compared."""
    column = images.column(name)
    here, planned = (engine.comparable(value, column) for value in (f"t.{quote(name)}", f"p.{images.cell(side, name)}"))
    return f"{here} is not distinct from {planned}"
