"""Settings that would let a model be judged, written into the yml files of its project: ``reconcile doctor --fix``."""

from __future__ import annotations

import difflib
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconcile.atomic_files import write_whole
from reconcile.compare.align import Prepared
from reconcile.dbt.yaml_edit import Entry, NotEditable, Step, flow, has_path, nested, with_setting
from reconcile.definition.model import Definition, ModelSettings
from reconcile.engines.base import Engine
from reconcile.errors import ProjectError, ReconcileError
from reconcile.model_check.build_clock import as_of_last_build
from reconcile.model_check.prepare_definition import NotSettled, prepare_definition

_NEW_FILE = "_reconcile.yml"


@dataclass(frozen=True)
class MissingSetting:
    """A setting of ``meta.reconcile`` that a model lacks: ``name`` is ignore or key, ``values`` are columns.

    ``project`` is the name of the project at ``root``; a model of a package has its settings in dbt_project.yml.
    """

    root: Path
    project: str
    definition: Definition
    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class FileEdit:
    """A yml file with settings added: its text ``before`` (None: there is no file) and ``after``."""

    path: Path
    before: str | None
    after: str

    def diff(self, root: Path) -> str:
        """The edit as ``diff -u`` has it, with paths from the project's root."""
        name = self.path.relative_to(root).as_posix()
        old = "/dev/null" if self.before is None else f"a/{name}"
        before, after = ((text or "").splitlines(keepends=True) for text in (self.before, self.after))
        lines = difflib.unified_diff(before, after, old, f"b/{name}")
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)

    def write(self) -> None:
        """Write the file, with the rights that it had. Raises ProjectError."""
        path = self.path.resolve()
        try:
            if self.before is not None and _read(path) != self.before:
                raise ProjectError(f"{self.path} changed meanwhile: run `reconcile doctor --fix` again")
            mode = path.stat().st_mode if self.before is not None else None
            write_whole(path, self.after)
            if mode is not None:
                path.chmod(stat.S_IMODE(mode))
        except OSError as error:
            raise ProjectError(f"cannot write {self.path}: {error.strerror}") from error


@dataclass(frozen=True)
class ByHand:
    """A setting that cannot be written, why, and the line to write by hand."""

    name: str
    place: str
    why: str
    line: str

    def __str__(self) -> str:
        return f"{self.name}: {self.place} cannot be edited, because {self.why}; write by hand: {self.line}"


def missing_setting(engine: Engine, definition: Definition) -> tuple[str, tuple[str, ...]] | None:
    """The setting that lets a model be judged that is not, or gives a key to one without: its name and values.

    Only a setting with which the model can be judged. None where there is none.
    """
    if definition.sql is None or definition.unverifiable is not None:
        return None
    try:
        columns = [column.name for column in engine.table_columns(definition.relation_name) or ()]
        key = _proven_key(engine, definition, columns) if columns else None
        if key is not None:
            return ("key", key) if _settles(engine, definition, key=key) else None
        _prepared(engine, definition)
    except NotSettled as unsettled:
        ignored = definition.settings.ignore | set(unsettled.columns)
        settles = unsettled.columns and _settles(engine, definition, ignore=ignored)
        return ("ignore", unsettled.columns) if settles else None
    except ReconcileError:
        return None
    return None


def _proven_key(engine: Engine, definition: Definition, columns: Sequence[str]) -> tuple[str, ...] | None:
    """The key that the database keeps unique, of a model without one; or its key as its columns are spelled."""
    if definition.settings.key is not None:
        return None
    if not definition.key:
        return next(iter(engine.unique_keys(definition.relation_name)), None)
    if set(definition.key) <= set(columns) or not all(part.isidentifier() for part in definition.key):
        return None
    spelled = [[name for name in columns if name.lower() == part.lower()] for part in definition.key]
    return tuple(names[0] for names in spelled) if all(len(names) == 1 for names in spelled) else None


def _settles(
    engine: Engine, definition: Definition, key: tuple[str, ...] | None = None, ignore: frozenset[str] | None = None
) -> bool:
    settings = definition.settings
    other = replace(settings, key=key or settings.key, ignore=settings.ignore if ignore is None else ignore)
    definition = replace(definition, key=key or definition.key, settings=other)
    try:
        return _prepared(engine, definition) is not None
    except ReconcileError:
        return False


def _prepared(engine: Engine, definition: Definition) -> Prepared | None:
    with engine.built_as(definition.session):
        return prepare_definition(engine, as_of_last_build(engine, definition))


def edits(missing: Sequence[MissingSetting]) -> tuple[list[FileEdit], list[ByHand]]:
    """The files to write, each once, and what cannot be written. Nothing is written yet."""
    files: dict[Path, FileEdit] = {}
    by_hand = []
    for setting in missing:
        path = _file_of(setting)
        try:
            edit = files.get(path) or _opened(path)
            steps = _steps(setting, edit.after)
            if _set_elsewhere(setting.definition.settings) and not has_path(edit.after, steps[:-1]):
                raise NotEditable("meta.reconcile of the model is set in another file and would be replaced whole")
            files[path] = replace(edit, after=with_setting(edit.after, steps, setting.values))
        except (NotEditable, OSError, UnicodeDecodeError) as error:
            why = str(error.strerror) if isinstance(error, OSError) else str(error)
            place = path.relative_to(setting.root).as_posix()
            line = flow(nested(_steps(setting, ""), setting.values)).removeprefix("{").removesuffix("}")
            by_hand.append(ByHand(setting.definition.name, place, why, line))
    return list(files.values()), by_hand


def _set_elsewhere(settings: ModelSettings) -> bool:
    plain = ModelSettings(ignore=settings.never_updated, never_updated=settings.never_updated)
    return settings != plain


def _opened(path: Path) -> FileEdit:
    if not path.exists():
        return FileEdit(path, None, "version: 2\nmodels:\n")
    if not path.stat().st_mode & stat.S_IWUSR:
        raise NotEditable("it is read-only")
    text = _read(path)
    return FileEdit(path, text, text)


def _read(path: Path) -> str:
    return path.read_bytes().decode("utf-8")  # line ends as they are


def _of_package(setting: MissingSetting) -> bool:
    return setting.definition.unique_id.split(".")[1] != setting.project


def _file_of(setting: MissingSetting) -> Path:
    definition = setting.definition
    if _of_package(setting):
        return setting.root / "dbt_project.yml"
    if definition.declared_in is not None:
        return setting.root / definition.declared_in
    return (setting.root / definition.path).parent / _NEW_FILE


def _steps(setting: MissingSetting, text: str) -> list[Step]:
    """Where the setting is, or belongs, in a yml file of this text."""
    definition = setting.definition
    if _of_package(setting):
        return ["models", *definition.fqn, "+meta", "reconcile", setting.name]
    model: list[Step] = ["models", Entry("name", definition.declared_name)]
    if definition.version is not None:
        model += ["versions", Entry("v", definition.version)]
    if has_path(text, [*model, "meta", "reconcile"]):  # dbt's older place
        return [*model, "meta", "reconcile", setting.name]
    return [*model, "config", "meta", "reconcile", setting.name]
