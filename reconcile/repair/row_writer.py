"""Write planned rows into one table: only those that still are what the plan saw, all in the caller's transaction.

The plan stands in a temporary table (``PlanTable``) and is applied set by set: rows are locked in key order and looked
at again, then one delete, one update and one insert. Locks are row locks and ROW EXCLUSIVE, nothing stronger.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconcile.engines.base import Engine
from reconcile.engines.identifiers import quote
from reconcile.errors import EvaluationFailed, Refused
from reconcile.repair.plan_tables import PLAN, Images, PlanTable

_LOCKED = "reconcile_locked"
_ROUNDED = ("float4", "float8", "FLOAT", "DOUBLE")


@dataclass(frozen=True)
class Written:
    """How many rows were written, and how many of the plan were not: they are no longer what the plan saw."""

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

    def write(self) -> Written:
        """Lock, look again, write, look at what stands now. The plan table then holds just what was written.

        Raises EvaluationFailed where the database refuses and Refused where a trigger or a rule made other rows of it;
        then nothing is to be kept.
        """
        stale = self._leave_stale()
        changed = self._changed()
        self._find_swaps(changed)
        self._keep_rest()
        wanted = self._plan.counts()
        # deletes first, then updates: a unique value that one row gives up may be another's new one
        deleted = self._engine.execute(self._delete()) + self._engine.execute(self._delete_copies())
        updated = self._engine.execute(self._update(changed)) if changed else 0
        swapped = self._engine.execute(self._insert("swap", [*self._images.named, *self._images.rest]))
        inserted = self._engine.execute(self._insert("insert", self._images.named) + self._engine.skip_conflicts)
        overtaken = self._look_again(wanted.get("insert", 0) - inserted)
        found = {"insert": inserted, "update": updated, "delete": deleted - swapped, "swap": swapped}
        planned = {action: wanted.get(action, 0) for action in found}
        planned["insert"] -= overtaken
        if found != planned:
            raise EvaluationFailed(f"{self._relation}: planned {planned}, but the database wrote {found}: rolled back")
        return Written(inserted, updated + swapped, found["delete"], stale + overtaken)

    def _leave_stale(self) -> int:
        """Lock what is to be changed, in key order, and drop from the plan what is no longer as it was planned.

        A locking SELECT looks at its condition again on the version of the row that it has got to lock.
        """
        self._engine.execute(f"create temporary table {_LOCKED} (position bigint)")
        self._engine.execute(f"analyze {PLAN} (position)")
        self._lock(f"{self._same_key('b')} and {self._same_row('b')}", "p.copies = 0 and p.action <> 'insert'")
        if self._count("copies > 0 and action = 'delete'"):
            self._lock(self._same_copy(), "p.copies > 0 and p.action = 'delete'")
        stale = self._engine.execute(
            f"delete from {PLAN} as p where p.action <> 'insert' and not exists (\n"
            f"  select 1 from (select position, count(*) as found from {_LOCKED} group by position) as l\n"
            f"  where l.position = p.position and l.found >= p.copies\n)"
        )
        stale += self._engine.execute(
            f"delete from {PLAN} as p where p.action = 'insert' and p.copies = 0 and {self._there(self._same_key('a'))}"
        )
        self._engine.execute(f"drop table {_LOCKED}")
        return stale

    def _lock(self, same: str, which: str) -> None:
        self._engine.execute(
            f"insert into {_LOCKED}\nselect p.position from {self._relation} as t join {PLAN} as p on {same}\n"
            f"where {which}\norder by p.position{self._engine.row_lock}"
        )

    def _changed(self) -> list[str]:
        """The columns that some row changes; generated ones are the database's own to write."""
        names = [name for name in self._images.compared if not self._images.column(name).generated]
        if not names or not self._count("action = 'update'"):
            return []
        texts = [[self._engine.as_text(f"{side}{self._images.place(name)}") for side in "ba"] for name in names]
        differ = ", ".join(f"bool_or({before} is distinct from {after})" for before, after in texts)
        found = self._engine.one(f"select {differ} from {PLAN} where action = 'update'")
        return [name for name, differs in zip(names, found, strict=True) if differs]

    def _find_swaps(self, changed: list[str]) -> None:
        """Mark updates that take a unique value which another update gives up: they are deleted and inserted again.

        One UPDATE would trip over the row that still has the value.
        """
        for names in self._engine.unique_sets(self._relation):
            if not set(names) & set(changed):
                continue
            places = [self._images.place(name) for name in names if name in self._images.named]
            taken = " and ".join(f"q.b{i} = p.a{i}" for i in places)
            own = " and ".join(f"p.b{i} = p.a{i}" for i in places)
            found = self._engine.execute(
                f"update {PLAN} as p set action = 'swap' where p.action = 'update' and ({own}) is not true\n"
                f"and exists (select 1 from {PLAN} as q where q.action in ('update', 'swap')"
                f" and q.position <> p.position and {taken})"
            )
            bound = self._engine.bound_to(self._relation) if found else []
            if bound:
                raise Refused(
                    f"{self._relation}: {found} rows take over a unique value ({', '.join(names)}) from one another, "
                    f"which needs them deleted and inserted again, and {bound[0]} hangs on them: rolled back"
                )

    def _keep_rest(self) -> None:
        """Note, of rows that go, what no image holds."""
        if self._images.rest:
            places = [self._images.place(name) for name in self._images.rest]
            cells = ", ".join(
                f"{side}{i} = t.{quote(name)}"
                for i, name in zip(places, self._images.rest, strict=True)
                for side in "ba"
            )
            self._engine.execute(
                f"update {PLAN} as p set {cells} from {self._relation} as t\n"
                f"where p.action in ('delete', 'swap') and p.copies = 0 and {self._same_key('b')}"
            )

    def _look_again(self, missed: int) -> int:
        """How many planned inserts another session has made meanwhile. Raises Refused where a row is not as written."""
        keyed = f"from {PLAN} as p where p.copies = 0"
        as_written = self._there(f"{self._same_key('a')} and {self._same_row('a')}")
        wrong = f"{keyed} and p.action <> 'delete' and not {as_written}"
        overtaken = 0
        if missed > 0 and self._images.key:
            overtaken = self._engine.execute(
                f"delete {wrong} and p.action = 'insert' and {self._there(self._same_key('a'))}"
            )
        if overtaken < missed:
            raise Refused(
                f"{self._relation}: {missed - overtaken} rows cannot be inserted, another row has a unique value of "
                "theirs (or a trigger dropped them): rolled back"
            )
        still = self._there(f"{self._same_key('b')} and {self._same_row('b')}")
        undeleted = f"{keyed} and p.action = 'delete' and {still}"
        left = self._engine.one(f"select (select count(*) {wrong}) + (select count(*) {undeleted})")[0]
        if left:
            raise Refused(
                f"{self._relation}: {left} rows still differ after they were written (a trigger?): rolled back"
            )
        return overtaken

    def _count(self, which: str) -> int:
        return int(self._engine.one(f"select count(*) from {PLAN} where {which}")[0])

    def _there(self, condition: str) -> str:
        return f"exists (select 1 from {self._relation} as t where {condition})"

    def _same_key(self, side: str) -> str:
        return same_key(self._images, side)

    def _same_row(self, side: str) -> str:
        return same_row(self._engine, self._images, side)

    def _same_copy(self) -> str:
        """The same, of rows that no key names: with an equality that the database can join by."""
        columns = [self._images.column(name) for name in joinable(self._images)]
        here = ", ".join(self._engine.packed(f"t.{quote(column.name)}", column) for column in columns)
        planned = (self._engine.packed(f"p.b{self._images.place(column.name)}", column) for column in columns)
        same = self._same_row("b")
        return f"array[{here}] = array[{', '.join(planned)}] and {same}" if columns else same

    def _update(self, changed: Iterable[str]) -> str:
        assignments = ", ".join(f"{quote(name)} = p.a{self._images.place(name)}" for name in changed)
        return (
            f"update {self._relation} as t set {assignments} from {PLAN} as p\n"
            f"where p.action = 'update' and p.copies = 0 and {self._same_key('b')}"
        )

    def _delete(self) -> str:
        return (
            f"delete from {self._relation} as t using {PLAN} as p\n"
            f"where p.action in ('delete', 'swap') and p.copies = 0 and {self._same_key('b')}"
        )

    def _delete_copies(self) -> str:
        ids = ", ".join(f"t.{name}" for name in self._engine.row_id)
        plain = ", ".join(self._engine.row_id)
        return (
            f"delete from {self._relation} as t where ({ids}) in (\n"
            f"  select {plain} from (\n    select {ids}, p.copies,\n"
            f"      row_number() over (partition by p.position order by {ids}) as nth\n"
            f"    from {self._relation} as t\n"
            f"    join {PLAN} as p on p.action = 'delete' and p.copies > 0 and {self._same_copy()}\n"
            f"  ) as numbered where nth <= copies\n)"
        )

    def _insert(self, action: str, names: Iterable[str]) -> str:
        written = [column for column in self._images.columns if column.name in set(names) and not column.generated]
        listed = ", ".join(quote(column.name) for column in written)
        values = ", ".join(f"p.a{self._images.place(column.name)}" for column in written)
        overriding = " overriding system value" if any(c.identity_always for c in written) else ""
        return (
            f"insert into {self._relation} ({listed}){overriding}\nselect {values}\nfrom {PLAN} as p\n"
            f"cross join lateral generate_series(1, greatest(p.copies, 1)) as copy\nwhere p.action = '{action}'"
        )


def same_key(images: Images, side: str) -> str:
    """A row of the table ``t`` has the key of a row ``p`` of the plan; never, where rows have none."""
    return " and ".join(f"t.{quote(name)} = p.{side}{images.place(name)}" for name in images.key) or "false"


def joinable(images: Images) -> list[str]:
    """The columns by which equal rows can be joined: those that are compared, but for rounded ones."""
    exact = [name for name in images.compared if images.column(name).base not in _ROUNDED]
    return list(dict.fromkeys([*images.key, *exact]))


def same_row(engine: Engine, images: Images, side: str) -> str:
    """A row of the table ``t`` is what a row ``p`` of the plan says, in every compared column, as it is compared."""
    both = (
        (f"t.{quote(name)}", f"p.{side}{images.place(name)}", images.column(name))
        for name in dict.fromkeys([*images.key, *images.compared])
    )
    return " and ".join(
        f"{engine.comparable(here, column)} is not distinct from {engine.comparable(planned, column)}"
        for here, planned, column in both
    )
