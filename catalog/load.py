"""From YAML files to the catalog: every problem with its code, file, line and key."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from catalog.connections import Database, Target
from catalog.definition import ID_PATTERN, Export
from catalog.errors import Code, ExportError
from catalog.places import catalog_folder
from catalog.suggest import did_you_mean
from catalog.yaml_file import line_of, read_mapping, shown

Model = TypeVar("Model", bound=BaseModel)

#: Names that `flows/exports.py` uses itself.
RESERVED = frozenset(keyword.kwlist) | {"run", "re", "cache", "annotations", "export_flow"}
_REFERENCE = re.compile(r"\{\{.*?\}\}")
_SECRET_KEY = re.compile(r"pass|secret|token|credential|_key$|^key$", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"://[^/@\s]*?:(?P<password>[^@/\s]+)@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of `exports check`."""

    export: str | None
    severity: Literal["error", "warning"]
    code: Code
    message: str
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    key: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as `exports check --json` prints it."""
        return {
            "export": self.export,
            "severity": self.severity,
            "code": str(self.code),
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            "line": self.line,
            "key": self.key,
        }

    def as_error(self) -> ExportError:
        """The finding as the exception that stops an action."""
        return ExportError(
            self.code, self.message, self.hint, export=self.export, file=self.file, line=self.line, key=self.key
        )


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything in the catalog that loads; what does not is in `problems`."""

    folder: Path
    exports: Mapping[str, Export]
    databases: Mapping[str, Database]
    targets: Mapping[str, Target]
    problems: tuple[Problem, ...]

    def require(self, export_id: str) -> None:
        """Raises ExportError EXPORT_UNKNOWN when there is no file of that name."""
        known = {path.stem for path in (self.folder / "exports").glob("*.yaml")}
        if export_id not in known:
            raise ExportError(
                Code.EXPORT_UNKNOWN,
                f"there is no export {export_id!r}{did_you_mean(export_id, known)}",
                "`exports list` shows them all",
                export=export_id,
            )

    def export(self, export_id: str) -> Export:
        """One definition. Raises ExportError when there is none, or it does not load."""
        self.require(export_id)
        for problem in self.problems:
            if problem.export == export_id and problem.severity == "error":
                raise problem.as_error()
        return self.exports[export_id]

    def database_of(self, export: Export) -> Database:
        """The export's database. Raises ExportError when it is missing or does not load."""
        return _named(self, self.databases, "databases", export.database)


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read the whole catalog. Raises ExportError only when there is no such folder."""
    root = folder or catalog_folder()
    if not (root / "exports").is_dir():
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"{root} holds no catalog: it has no folder `exports`",
            "point EXPORTS_CATALOG at a folder with exports/, databases/ and targets/",
        )
    problems: list[Problem] = []
    databases = _load_all(root / "databases", Database, problems)
    targets = _load_all(root / "targets", Target, problems)
    exports: dict[str, Export] = {}
    for path in sorted((root / "exports").glob("*.yaml")):
        found = _export_problems(path, databases=_stems(root / "databases"), targets=_stems(root / "targets"))
        if isinstance(found, Export):
            exports[path.stem] = found
        else:
            problems.extend(found)
    return Catalog(root, exports, databases, targets, tuple(problems))


def load_export(export_id: str, folder: Path | None = None) -> Export:
    """One definition. Raises ExportError when there is none of that id, or it is invalid."""
    return load_catalog(folder).export(export_id)


def load_database(name: str, folder: Path | None = None) -> Database:
    """One database's connection. Raises ExportError when there is none of that name, or it is invalid."""
    return _load_one(name, Database, (folder or catalog_folder()) / "databases")


def load_target(name: str, folder: Path | None = None) -> Target:
    """One target. Raises ExportError when there is none of that name, or it is invalid."""
    return _load_one(name, Target, (folder or catalog_folder()) / "targets")


def data_type_of(export: Export, database: Database | None) -> str | None:
    """What the export's rows are: its own word, or what the database says of its table."""
    if export.data_type is not None or database is None or export.table is None:
        return export.data_type
    return database.tables.get(export.table)


def _stems(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.yaml")}


def _load_all(folder: Path, model: type[Model], problems: list[Problem]) -> dict[str, Model]:
    loaded: dict[str, Model] = {}
    for path in sorted(folder.glob("*.yaml")):
        found = _connection_problems(path, model)
        if isinstance(found, list):
            problems.extend(found)
        else:
            loaded[path.stem] = found
    return loaded


def _load_one(name: str, model: type[Model], folder: Path) -> Model:
    path = folder / f"{name}.yaml"
    if not path.is_file():
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"there is no {folder.name}/{name}.yaml{did_you_mean(name, _stems(folder))}",
            f"write it, or name one of: {', '.join(sorted(_stems(folder))) or 'none yet'}",
        )
    found = _connection_problems(path, model)
    if isinstance(found, list):
        raise found[0].as_error()
    return found


def _named(catalog: Catalog, loaded: Mapping[str, Model], kind: str, name: str) -> Model:
    if name in loaded:
        return loaded[name]
    model = Database if kind == "databases" else Target
    return _load_one(name, model, catalog.folder / kind)  # type: ignore[return-value]


def _connection_problems(path: Path, model: type[Model]) -> Model | list[Problem]:
    try:
        content = read_mapping(path)
        _refuse_literal_secrets(path, content)
        return model.model_validate(content)
    except ExportError as error:
        return [_problem_of(error, None)]
    except ValidationError as error:
        return [_explain(path, None, model, detail) for detail in error.errors()]


def _export_problems(path: Path, databases: set[str], targets: set[str]) -> Export | list[Problem]:
    problem = partial(_problem, path, path.stem)
    try:
        content = read_mapping(path)
    except ExportError as error:
        return [_problem_of(error, path.stem)]
    if re.fullmatch(ID_PATTERN, path.stem) is None or path.stem in RESERVED:
        why = "is a word of Python or of this project" if path.stem in RESERVED else "is no id"
        hint = "begin with a letter, then lower-case letters, digits and _; it names the export's flow"
        return [problem((), Code.DEFINITION_INVALID, f"the file name {path.stem!r} {why}", hint)]
    if "id" in content:
        return [problem(("id",), Code.DEFINITION_INVALID, "`id` is not written: it is the file's name", "remove it")]
    try:
        export = Export.model_validate({**content, "id": path.stem})
    except ValidationError as error:
        return [_explain(path, path.stem, Export, detail) for detail in error.errors()]
    found = []
    for key, name, known in (("database", export.database, databases), ("target", export.target, targets)):
        if name is not None and name not in known:
            message = f"there is no {key}s/{name}.yaml{did_you_mean(name, known)}"
            found.append(problem((key,), Code.DEFINITION_INVALID, message, "write it, or name one that is there"))
    return found or export


def _explain(path: Path, export: str | None, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    """One pydantic error in the words of the YAML."""
    where = [part for part in detail["loc"] if part not in _TAGS]
    kind, context = detail["type"], detail.get("ctx", {})
    code = Code.__members__.get(kind) or (
        Code.SCHEDULE_INVALID if where[:1] == ["schedule"] else Code.DEFINITION_INVALID
    )
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        message = f"unknown key {where[-1]!r}{did_you_mean(str(where[-1]), _keys_at(model, where[:-1]))}"
        return _problem(path, export, where, Code.DEFINITION_INVALID, message, _KEYS_HINT)
    if kind == "missing":
        return _problem(path, export, where, code, f"the key `{key}` is missing", "add it", key)
    message = str(context.get("message") or context.get("error") or detail["msg"])
    if kind not in ("value_error", "definition") and kind not in Code.__members__:
        message = f"`{key}`: {message[0].lower()}{message[1:]}"
    elif kind == "value_error" and key:
        message = f"`{key}`: {message}"
    return _problem(path, export, where, code, message, context.get("hint") or _KEYS_HINT)


_KEYS_HINT = "docs/definition.md has every key with an example"
#: What pydantic puts into a location beside keys: the members of a union.
_TAGS = {"str", "dict[constrained-str,constrained-str]", "constrained-str"}


def _keys_at(model: type[BaseModel], where: Iterable[str | int]) -> list[str]:
    for part in where:
        field = model.model_fields.get(str(part))
        nested = _models_in(field.annotation) if field else []
        if not nested:
            return []
        model = nested[0]
    return [name for name in model.model_fields if name != "id"]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _models_in(part)]


def _problem(
    path: Path,
    export: str | None,
    where: Iterable[str | int],
    code: Code,
    message: str,
    hint: str | None,
    key: str | None = None,
) -> Problem:
    parts = list(where)
    named = key or ".".join(str(part) for part in parts) or None
    return Problem(export, "error", code, message, hint, shown(path), line_of(path, parts) or 1, named)


def _problem_of(error: ExportError, export: str | None) -> Problem:
    return Problem(export, "error", error.code, error.message, error.hint, error.file, error.line, error.key)


def _refuse_literal_secrets(path: Path, content: Mapping[str, Any]) -> None:
    options = content.get("options")
    literal: list[tuple[str, ...]] = (
        [("url",)] if _URL_PASSWORD.search(_REFERENCE.sub("", str(content.get("url", "")))) else []
    )
    literal += [
        ("options", str(name))
        for name, value in (options.items() if isinstance(options, dict) else ())
        if _SECRET_KEY.search(str(name)) and isinstance(value, str) and not _REFERENCE.search(value)
    ]
    for key in literal:
        raise ExportError(
            Code.SECRET_LITERAL,
            f"a secret is written out in {shown(path)}",
            "refer to it as {{ $NAME }} or {{ prefect.blocks.secret.NAME }}",
            file=shown(path),
            line=line_of(path, key),
            key=".".join(key),
        )
