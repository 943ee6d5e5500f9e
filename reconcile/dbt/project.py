"""The dbt project: parse it, select, compile as a full refresh, read the profile. The only module that imports dbt.

dbt runs in this process (its import is most of a command's cost) and into a separate target path, so that the user's
artefacts, docs and state stay as they are. Compiling runs no hooks and writes nothing to the database.
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import json
import logging
import os
import re
import sys
import tempfile
import threading
from argparse import Namespace
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from reconcile.dbt.builds import last_builds
from reconcile.dbt.model_settings import names_of, settings_of
from reconcile.dbt.rendering import as_a_build, hooks_rendered, marked_literals
from reconcile.dbt.surroundings import Compiled, UnknownSession, build_session, run_words, why_not_as_compiled
from reconcile.dbt.versions import check_release
from reconcile.definition.microbatch import batches_of
from reconcile.definition.model import Build, Definition, Node, UpstreamTable
from reconcile.definition.splice import mentions, splice, spliced_sql
from reconcile.engines.build_session import BuildSession
from reconcile.engines.factory import Connection
from reconcile.errors import ProjectError
from reconcile.report.model import Excluded
from reconcile.state.folder import is_writable, state_folder, target_folder
from reconcile.state.project_state import KEEP_DAYS, open_state
from reconcile.state.store import State

_LEAVES = ("seed", "snapshot")
_MODEL_LIKE = ("view", "table", "incremental", "ephemeral", "materialized_view")
_QUIET = (
    *("--log-level", "none", "--log-level-file", "none", "--no-use-colors", "--no-version-check"),
    "--no-write-json",  # no one reads its artefacts in our target path, and writing a manifest is a third of a parse
)
log = logging.getLogger("reconcile")
_one_dbt = threading.Lock()
BeforeConnect = Callable[[str, Path], None]


@dataclass(frozen=True)
class Options:
    """The options that dbt gets, under dbt's flag names."""

    project_dir: Path = Path(".")
    profiles_dir: Path | None = None
    profile: str | None = None
    target: str | None = None
    select: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    selector: str | None = None
    state: Path | None = None
    vars: str | None = None
    threads: int | None = None
    upstream: str = "deep"
    lock_timeout: float = 10.0
    state_dir: Path | None = None  # where state is kept in files
    keep_days: int = KEEP_DAYS  # of what is kept in the database


@dataclass(frozen=True)
class Project:
    connection: Connection
    definitions: tuple[Definition, ...]
    root: Path
    name: str = ""
    left_out: tuple[Excluded, ...] = ()
    opened_state: State | None = None
    state_dir: Path | None = None

    @property
    def state(self) -> State:
        """What is remembered of the project on this target."""
        return self.opened_state or open_state(self.connection, self.root, self.name, self.state_dir)

    @property
    def excluded(self) -> tuple[Excluded, ...]:
        """The incremental models that are not judged: left out by --exclude, or switched off in their settings."""
        off = (d for d in self.definitions if not d.settings.enabled)
        return self.left_out + tuple(Excluded(d.name, d.unique_id, "meta.reconcile.enabled is false") for d in off)


def load(options: Options, before_connect: BeforeConnect = lambda target, root: None, manifest: Any = None) -> Project:
    """The selected incremental models with their definitions, and the connection of the target.

    ``before_connect`` receives the target and the project's folder before anything connects. ``manifest``: what dbt has
    parsed for that target just now in this process (None: it parses); it is used up, its models become full refreshes.
    Raises ProjectError where there is no project or profile, the SQL does not parse, or nothing is selected.
    """
    root = root_of(options.project_dir)
    with nothing_on_stdout():
        return _load(options, root, before_connect, manifest)


def profile_connection(options: Options) -> Connection:
    """The connection of the options' target; no model is read. Raises ProjectError without a profile or target."""
    from dbt.flags import set_from_args
    from dbt_common.context import set_invocation_context

    root = root_of(options.project_dir)
    with nothing_on_stdout():
        folder = options.profiles_dir or _profiles_dir()
        set_from_args(Namespace(PROFILES_DIR=str(folder), PROJECT_DIR=str(root)), None)
        set_invocation_context(dict(os.environ))  # what env_var() in profiles.yml reads
        return connection_of(options, root)


def _profiles_dir() -> Path:
    if named := os.environ.get("DBT_PROFILES_DIR"):
        return Path(named)
    return Path.cwd() if (Path.cwd() / "profiles.yml").exists() else Path.home() / ".dbt"


def root_of(folder: Path) -> Path:
    root = folder.expanduser().resolve()
    if not (root / "dbt_project.yml").is_file():
        raise ProjectError(f"no dbt_project.yml in {root}: run in a dbt project, or name one with --project-dir")
    return root


@contextlib.contextmanager
def nothing_on_stdout() -> Iterator[None]:
    """dbt and what it loads may print; our stdout is data."""
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _load(options: Options, root: Path, before_connect: BeforeConnect, parsed: Any) -> Project:
    manifest = parsed if parsed is not None else run_command(options, None, "parse", resolve_root=root)
    selected = _select(options, manifest, root)
    models = {
        unique_id: node
        for unique_id, node in manifest.nodes.items()
        if node.resource_type == "model" and node.config.materialized in _MODEL_LIKE and node.language == "sql"
    }
    chosen = [unique_id for unique_id in selected if manifest.nodes[unique_id].config.materialized == "incremental"]
    if not chosen:
        raise ProjectError(_nothing_selected(options, manifest))
    before_connect(connection_of(options, root).target, root)
    never_refreshed = {unique_id for unique_id, node in models.items() if node.config.full_refresh is False}
    # config(full_refresh=false) beats the flag in dbt, and is common: both are set
    for node in models.values():
        node.config.full_refresh = True
    wanted = _closure([unique_id for unique_id in chosen if unique_id in models], models)
    with hooks_rendered() as hooks:
        compiled, moving = _compiled(options, manifest, [models[unique_id] for unique_id in wanted], root)
    nodes = {
        unique_id: replace(_node(result, models), batches=batches_of(models[unique_id], manifest))
        for unique_id, result in compiled.items()
    }
    connection = connection_of(options, root)
    name = manifest.metadata.project_name
    state = open_state(connection, root, name, options.state_dir, options.keep_days)
    leaves = [*manifest.sources.values(), *(n for n in manifest.nodes.values() if n.resource_type in _LEAVES)]
    loads = _Loads(
        {leaf.relation_name: getattr(leaf, "loaded_at_field", None) for leaf in leaves if leaf.relation_name},
        last_builds(
            state,
            target_folder(root),
            connection.target,
            connection_of(replace(options, target=None), root).target,
            {unique_id: node.relation_name for unique_id, node in models.items()},
        ),
    )
    deep = options.upstream == "deep"
    rendered = Compiled(hooks, {unique_id: node.sql for unique_id, node in nodes.items()})
    surrounded = {
        unique_id: _surroundings(models, unique_id, parts, rendered, moving, manifest, root)
        for unique_id in chosen
        if unique_id in models
        for parts in [_closure([unique_id], models) if deep else [unique_id]]
    }
    definitions = tuple(
        replace(
            _definition(manifest.nodes[unique_id], nodes, options, loads, differs, manifest.metadata.adapter_type),
            session=session,
            incremental_sql=partial(_incremental_sql, options, manifest, unique_id, root),
            never_refreshed=unique_id in never_refreshed,
            upstream_tables=_upstream_tables(unique_id, models, never_refreshed) if deep else (),
        )
        for unique_id in sorted(chosen)
        for session, differs in [surrounded.get(unique_id, (BuildSession(), None))]
    )
    left_out = _left_out(options, manifest, chosen, root)
    return Project(connection, definitions, root, name, left_out, state, options.state_dir)


def _surroundings(
    models: Mapping[str, Any],
    unique_id: str,
    parts: Collection[str],
    rendered: Compiled,
    moving: Mapping[str, str],
    manifest: Any,
    root: Path,
) -> tuple[BuildSession, str | None]:
    """The session of a model's build, and why its definition is not what a build stores (None: it is).

    ``parts``: the models whose SQL becomes part of its definition. ``moving``: why the SQL of some is another each run.
    """
    above = {part: models[part] for part in parts}
    why = next((moving[part] for part in parts if part in moving), None)
    why = why or why_not_as_compiled(models[unique_id], above, manifest, root)
    if why is not None:
        return BuildSession(), why
    try:
        return build_session(models[unique_id], above, rendered, manifest, root), None
    except UnknownSession as unknown:
        return BuildSession(), str(unknown)


def _incremental_sql(options: Options, manifest: Any, unique_id: str, root: Path) -> str | None:
    """What the model's next build would run; None where dbt cannot say. dbt runs once at a time in a process."""
    node = manifest.nodes[unique_id]
    with _one_dbt, nothing_on_stdout(), as_a_build():
        try:
            node.config.full_refresh = None
            _forget_compiled(manifest)
            extra = ["--no-populate-cache", "--indirect-selection", "empty", "--select", "fqn:" + ".".join(node.fqn)]
            outcome = run_command(options, manifest, "compile", resolve_root=root, extra=extra)
        except ProjectError as error:
            log.info("%s: the incremental SQL is not known: %s", node.name, error)
            return None
        finally:
            node.config.full_refresh = True
    found = [result.node for result in outcome.results if result.node.unique_id == unique_id]
    return found[0].compiled_code if found else None


def invoke_dbt(arguments: list[str], manifest: Any = None) -> Any:
    """dbt's own ``dbtRunner(manifest).invoke(arguments)``, for a process that invokes it often; its result is dbt's.

    dbt-adapters 1.24 appends the flags of every adapter it makes to one list of its module, and walks the call stack
    for each flag of that list: without this, each invocation costs more than the last. Raises ProjectError without dbt.
    """
    try:
        from dbt import version
        from dbt.adapters.base import impl
        from dbt.cli.main import dbtRunner
        from dbt_common.events.event_manager_client import cleanup_event_logger
    except ImportError as error:
        raise ProjectError(
            f"dbt is not installed beside reconcile ({error}): install dbt-core and an adapter"
        ) from error
    check_release(version.__version__)
    flags = list(impl.DEFAULT_BASE_BEHAVIOR_FLAGS)
    # until it has read its flags, dbt logs to what was stdout at its import, or in the invocation before
    cleanup_event_logger()
    try:
        return dbtRunner(manifest=manifest).invoke(arguments)
    finally:
        impl.DEFAULT_BASE_BEHAVIOR_FLAGS[:] = flags


def run_command(options: Options, manifest: Any, *command: str, resolve_root: Path, extra: Iterable[str] = ()) -> Any:
    path = str(_target_path(options, resolve_root))
    arguments = [*command, *_QUIET, "--target-path", path, "--log-path", path, *extra]  # it makes both folders
    arguments += ["--project-dir", str(resolve_root)]
    for flag, value in (
        ("--profiles-dir", options.profiles_dir and str(options.profiles_dir.resolve())),
        ("--profile", options.profile),
        ("--target", options.target),
        ("--vars", options.vars),
    ):
        if value:
            arguments += [flag, value]
    outcome = invoke_dbt(arguments, manifest)
    if isinstance(outcome.exception, KeyboardInterrupt):
        raise outcome.exception  # Ctrl-C while dbt works is no failure of dbt's
    if outcome.exception is not None:
        raise ProjectError(f"dbt {command[0]} failed: {sentence(outcome.exception)}")
    return outcome.result


def _target_path(options: Options, root: Path) -> Path:
    """Where dbt works for us. dbt must be able to write; of a read-only project nothing of it is needed later."""
    folder = state_folder(root, options.state_dir)
    return (folder if is_writable(folder) else _scratch()) / (options.target or "default")


@cache
def _scratch() -> Path:
    """A folder that ends with the process."""
    made = tempfile.TemporaryDirectory(prefix="reconcile-")
    atexit.register(made.cleanup)
    return Path(made.name)


def sentence(error: BaseException | str) -> str:
    return " ".join(str(error).split())[:600]


def _select(options: Options, manifest: Any, root: Path) -> list[str]:
    extra = ["--resource-type", "model", "--output", "json", "--output-keys", "unique_id", "--quiet"]
    for flag, values in (("--select", options.select), ("--exclude", options.exclude)):
        if values:
            extra += [flag, *values]
    if options.selector:
        extra += ["--selector", options.selector]
    if options.state:
        extra += ["--state", str(options.state.resolve())]
    found = run_command(options, manifest, "list", resolve_root=root, extra=extra)
    return [json.loads(line)["unique_id"] for line in found or []]


def _left_out(options: Options, manifest: Any, chosen: list[str], root: Path) -> tuple[Excluded, ...]:
    """The incremental models that --exclude took out of the selection."""
    if not options.exclude:
        return ()
    found = _select(replace(options, exclude=()), manifest, root)
    nodes = [manifest.nodes[unique_id] for unique_id in sorted(set(found) - set(chosen))]
    why = f"--exclude {' '.join(options.exclude)}"
    return tuple(Excluded(n.search_name, n.unique_id, why) for n in nodes if n.config.materialized == "incremental")


def _nothing_selected(options: Options, manifest: Any) -> str:
    incremental = sorted(
        node.search_name
        for node in manifest.nodes.values()
        if node.resource_type == "model" and node.config.materialized == "incremental"
    )
    if not incremental:
        return "the project has no incremental models: there is nothing to reconcile"
    names = [word.strip("+@") for word in options.select]
    close = [match for name in names for match in difflib.get_close_matches(name, incremental, 1)]
    hint = f"did you mean {close[0]}? " if close else ""
    said = " ".join(options.select) or options.selector or "everything"
    return (
        f"the selection ({said}) holds no incremental model: {hint}incremental models are {', '.join(incremental[:8])}"
    )


def _closure(chosen: list[str], models: Mapping[str, Any]) -> list[str]:
    found: dict[str, None] = {}

    def visit(unique_id: str) -> None:
        if unique_id in models and unique_id not in found:
            found[unique_id] = None
            for parent in models[unique_id].depends_on.nodes:
                visit(parent)

    for unique_id in chosen:
        visit(unique_id)
    return list(found)


def _upstream_tables(
    unique_id: str, models: Mapping[str, Any], never_refreshed: Collection[str]
) -> tuple[UpstreamTable, ...]:
    """The incremental models above this one; dbt replaces any other table in every build."""
    return tuple(
        UpstreamTable(models[above].search_name, models[above].relation_name, above in never_refreshed)
        for above in _closure([unique_id], models)
        if above != unique_id and models[above].config.materialized == "incremental"
    )


def _compiled(options: Options, manifest: Any, nodes: list[Any], root: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """dbt's result for each model, and of those whose SQL no run repeats the reason, in words.

    A model that reads what differs from run to run is compiled twice: a literal that differs is marked as such.
    """
    with as_a_build():
        found = _compile(options, manifest, nodes, root)
    moving = {
        unique_id: f"dbt could not compile {result.node.name}: {sentence(result.message)}"
        for unique_id, result in found.items()
        if result.message and not result.node.compiled_code
    }
    words = {node.unique_id: said for node in nodes if (said := _run_words(node, manifest))}
    if not words:
        return found, moving
    before = {unique_id: found[unique_id].node.compiled_code for unique_id in words.keys() & found.keys()}
    with as_a_build("build", another=True):
        again = _compile(options, manifest, [node for node in nodes if node.unique_id in words], root)
    for unique_id, sql in before.items():
        other = again[unique_id].node.compiled_code if unique_id in again else None
        marked = marked_literals(sql or "", other or "", " or ".join(words[unique_id]))
        found[unique_id].node.compiled_code = marked or sql
        if marked is None:
            word, path = next(iter(words[unique_id].items()))
            moving[unique_id] = f"the SQL of {found[unique_id].node.name} is another one in every run: {word} ({path})"
    return found, moving


def _run_words(node: Any, manifest: Any) -> dict[str, str]:
    """``run_words`` of a model and of the ephemeral models that become part of its SQL."""
    found = run_words(node, manifest)
    for parent in (manifest.nodes.get(unique_id) for unique_id in node.depends_on.nodes):
        if parent is not None and parent.resource_type == "model" and parent.config.materialized == "ephemeral":
            found = _run_words(parent, manifest) | found
    return found


def _compile(options: Options, manifest: Any, nodes: list[Any], root: Path) -> dict[str, Any]:
    _forget_compiled(manifest)
    names = ["fqn:" + ".".join(node.fqn) for node in nodes]
    extra = ["--full-refresh", "--no-populate-cache", "--indirect-selection", "empty", "--select", *names]
    outcome = run_command(options, manifest, "compile", resolve_root=root, extra=extra)
    return {result.node.unique_id: result for result in outcome.results}


def _forget_compiled(manifest: Any) -> None:
    """dbt puts the SQL of ephemeral models into a node once only: a node to compile again must not look compiled."""
    for node in manifest.nodes.values():
        if getattr(node, "compiled", False):
            node.compiled, node.extra_ctes_injected, node.extra_ctes = False, False, []


def _node(result: Any, models: Mapping[str, Any]) -> Node:
    node = result.node
    return Node(
        unique_id=node.unique_id,
        name=node.name,
        relation_name=node.relation_name or "",
        sql=node.compiled_code or "",
        # dbt inlines ephemeral models itself; their parents are reached through them
        upstream=tuple(parent for parent in _through_ephemeral(node, models)),
        materialized=node.config.materialized,
        contract=_contract(node),
    )


def _through_ephemeral(node: Any, models: Mapping[str, Any]) -> Iterator[str]:
    for parent in node.depends_on.nodes:
        if parent in models and models[parent].config.materialized == "ephemeral":
            yield from _through_ephemeral(models[parent], models)
        elif parent in models:
            yield parent


def _contract(node: Any) -> dict[str, str]:
    if not node.config.contract.enforced:
        return {}
    return {column.name: column.data_type for column in node.columns.values() if column.data_type}


@dataclass(frozen=True)
class _Loads:
    """What models read that is no model: relation -> dbt's loaded_at_field, which tells when a row was loaded; and
    when models were last built."""

    loaded_at: Mapping[str, str | None]
    built_at: Mapping[str, Build]

    def before_build(self, unique_id: str) -> dict[str, str] | None:
        """A predicate a source: only what was loaded before the model's last build began. None where unknown."""
        built_at = self.built_at.get(unique_id)
        if built_at is None or not any(self.loaded_at.values()):
            return None
        instant = f"timestamp with time zone '{built_at.began.isoformat()}'"
        return {relation: f"({field}) <= {instant}" for relation, field in self.loaded_at.items() if field}


def _definition(
    node: Any, nodes: Mapping[str, Node], options: Options, loads: _Loads, differs: str | None, adapter: str
) -> Definition:
    settings = settings_of(node)
    unique_key = tuple(_column_of(name, adapter) for name in names_of(node.config.unique_key or []))
    key = settings.key or unique_key or tuple(getattr(node, "primary_key", None) or ())
    found = Definition(
        unique_id=node.unique_id,
        name=node.search_name,
        relation_name=node.relation_name or "",
        key=key,
        sql=None,
        contract=_contract(node),
        settings=settings,
        path=node.original_file_path,
        version=None if node.version is None else str(node.version),
        fqn=tuple(node.fqn),
        declared_in=node.patch_path.partition("://")[2] if node.patch_path else None,
    )
    if node.language != "sql":
        return replace(found, unverifiable="a Python model has no SQL to evaluate")
    own = nodes.get(node.unique_id)
    if differs is not None:
        return replace(found, unverifiable=differs)
    if own is None or not own.sql:
        return replace(found, unverifiable="dbt could not compile it as a full refresh")
    if mentions(own.sql, own.relation_name):
        return replace(found, unverifiable="its full-refresh SQL reads its own table: it is no function of its sources")
    return _spliced(found, own, nodes, options.upstream == "deep", loads)


def _spliced(found: Definition, own: Node, nodes: Mapping[str, Node], deep: bool, loads: _Loads) -> Definition:
    """A definition with its SQL: that of its model, and with ``deep`` that of every model above."""
    sql = splice(own, nodes, deep=deep)
    if deep:
        read = {relation: field for relation, field in loads.loaded_at.items() if mentions(sql, relation)}
        found = replace(found, over=lambda narrowed: splice(own, nodes, sources=narrowed), sources=read)
    before_build = loads.before_build(own.unique_id) if deep else None
    # a source that is declared need not exist: only what the model reads is narrowed
    before_build = {relation: told for relation, told in (before_build or {}).items() if mentions(sql, relation)}
    as_of = splice(own, nodes, sources=before_build) if before_build else None
    built_at = loads.built_at[own.unique_id].began.isoformat(timespec="seconds") if as_of else None
    parts = spliced_sql(own, nodes, deep=deep)

    def respliced(changed: Mapping[str, str]) -> Definition:
        other = {name: replace(node, sql=changed.get(name, node.sql)) for name, node in nodes.items()}
        return _spliced(found, other[own.unique_id], other, deep, loads)

    return replace(
        found,
        sql=sql,
        as_of_sql=as_of,
        built_at=built_at,
        parts=parts,
        builds={name: loads.built_at.get(name) for part in parts for name in part.built_by},
        respliced=respliced,
    )


def _column_of(unique_key: str, adapter: str) -> str:
    """The column that a part of ``unique_key`` names. dbt writes it into SQL as it is, and Postgres folds it."""
    name = unique_key.strip()
    if adapter != "postgres":
        return unique_key
    if re.fullmatch(r'"(?:[^"]|"")+"', name):
        return name[1:-1].replace('""', '"')
    return re.sub("[A-Z]", lambda letter: letter[0].lower(), name) if name.isidentifier() else unique_key


def connection_of(options: Options, root: Path) -> Connection:
    import yaml
    from dbt.config.runtime import load_profile

    try:
        variables = yaml.safe_load(options.vars) if options.vars else {}
        profile = load_profile(str(root), variables, options.profile, options.target, options.threads)
    except Exception as error:
        raise ProjectError(f"the dbt profile cannot be used: {sentence(error)}") from error
    credentials = profile.credentials
    return Connection(credentials.type, profile.target_name, profile.threads, credentials, options.lock_timeout)
