"""From YAML files to the catalog: every problem with its code, file, line and key."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from catalog.connections import Database, SigningKey, Target
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.explain import explain, found_at
from catalog.literal_secrets import KeyPath, literal_secrets, literal_secrets_of_report
from catalog.model import ID_PATTERN, LONGEST_ID
from catalog.naming import example
from catalog.places import catalog_folder
from catalog.problem import Problem, problem_from, refuse_errors
from catalog.suggest import did_you_mean
from catalog.yaml_file import read_mapping, shown

Model = TypeVar("Model", bound=BaseModel)

#: Names that `flows/exports.py` uses itself.
RESERVED = frozenset(keyword.kwlist) | {"run", "re", "cache", "annotations", "export_flow", "custom_flow", "has_module"}


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything in the catalog that loads; what does not is in `problems`."""

    folder: Path
    exports: Mapping[str, Export]
    databases: Mapping[str, Database]
    targets: Mapping[str, Target]
    problems: tuple[Problem, ...]

    def path_of(self, export_id: str) -> Path:
        """Where the export's definition stands, or would."""
        return self.folder / "exports" / f"{export_id}.yaml"

    def require(self, export_id: str) -> None:
        """Raises ExportError EXPORT_UNKNOWN when there is no file of that name."""
        known = _stems(self.folder / "exports")
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
        refuse_errors(problem for problem in self.problems if problem.export == export_id)
        return self.exports[export_id]

    def database_of(self, export: Export) -> Database:
        """The export's database. Raises ExportError when it is missing or does not load."""
        return self.databases.get(export.database) or load_database(export.database, self.folder)

    def target(self, name: str) -> Target:
        """One target. Raises ExportError when it is missing or does not load."""
        return self.targets.get(name) or load_target(name, self.folder)


def load_catalog(folder: Path | None = None) -> Catalog:
    """Read the whole catalog. Raises ExportError only when there is no such folder."""
    root = folder or catalog_folder()
    if not (root / "exports").is_dir():
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"{root} holds no catalog: it has no folder `exports`",
            "point EXPORTS_CATALOG at a folder with exports/, databases/ and targets/",
        )
    problems = [found for kind in ("databases", "targets", "exports") for found in _misnamed(root / kind)]
    databases = _load_all(root / "databases", Database, problems)
    targets = _load_all(root / "targets", Target, problems)
    exports: dict[str, Export] = {}
    names = _Names(root)
    for path in sorted((root / "exports").glob("*.yaml")):
        found = _export_problems(path, names)
        if isinstance(found, Export):
            exports[path.stem] = found
        else:
            problems.extend(found)
    return Catalog(root, exports, databases, targets, tuple(problems))


def read_export(path: Path, folder: Path) -> Export | list[Problem]:
    """The definition in one file, as an export of the catalog in `folder`, or what is wrong with it."""
    return _export_problems(path, _Names(folder))


def load_database(name: str, folder: Path | None = None) -> Database:
    """One database's connection. Raises ExportError when there is none of that name, or it is invalid."""
    return _load_one(name, Database, (folder or catalog_folder()) / "databases")


def load_target(name: str, folder: Path | None = None) -> Target:
    """One target. Raises ExportError when there is none of that name, or it is invalid."""
    return _load_one(name, Target, (folder or catalog_folder()) / "targets")


def load_signing_key(name: str, folder: Path | None = None) -> SigningKey:
    """One private key's references. Raises ExportError when there is none of that name, or it is invalid."""
    return _load_one(name, SigningKey, (folder or catalog_folder()) / "keys")


def key_file(name: str, folder: Path | None = None) -> Path:
    """One public key's file. Raises ExportError KEY_INVALID when it is missing or holds something else."""
    path = (folder or catalog_folder()) / "keys" / f"{name}.asc"
    try:
        content = path.read_bytes()
    except OSError as error:
        known = {found.stem for found in path.parent.glob("*.asc")}
        raise ExportError(
            Code.KEY_INVALID,
            f"there is no keys/{name}.asc{did_you_mean(name, known)}"
            if isinstance(error, FileNotFoundError)
            else f"keys/{name}.asc cannot be read: {error.strerror}",
            "put the public key of whoever is to read the file there, as `gpg --armor --export` writes it",
            key="file.encryption.pgp",
        ) from error
    if b"-----BEGIN PGP PUBLIC KEY BLOCK-----" not in content or b"PRIVATE KEY BLOCK" in content:
        raise ExportError(
            Code.KEY_INVALID,
            f"keys/{name}.asc holds no public key in ASCII, or more than that",
            "put what `gpg --armor --export` writes there; a private key has no place in the catalog",
            key="file.encryption.pgp",
        )
    return path


def refuse_no_id(export_id: str) -> None:
    """Raises ExportError DEFINITION_INVALID for what cannot be the id of an export."""
    if re.fullmatch(ID_PATTERN, export_id) is None or export_id in RESERVED or len(export_id) > LONGEST_ID:
        why = "is a word of Python or of this project" if export_id in RESERVED else "is no id"
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"{export_id!r} {why}",
            f"begin with a letter, then lower-case letters, digits and _, at most {LONGEST_ID}: it names the flow",
        )


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


def _connection_problems(path: Path, model: type[Model]) -> Model | list[Problem]:
    try:
        content = read_mapping(path, quote_text=False)
    except ExportError as error:
        return [problem_from(error, None)]
    secrets = _written_out(path, None, literal_secrets(content))
    if secrets:
        return secrets
    try:
        return model.model_validate(content)
    except ValidationError as error:
        return explain(path, None, model, content, error)


def _written_out(path: Path, export_id: str | None, keys: Iterable[KeyPath]) -> list[Problem]:
    message = f"a secret is written out in {shown(path)}"
    hint = "refer to it as {{ $NAME }} or {{ prefect.blocks.secret.NAME }}"
    return [found_at(path, export_id, key, Code.SECRET_LITERAL, message, hint) for key in keys]


class _Names:
    """What an export can refer to."""

    def __init__(self, folder: Path) -> None:
        self.databases, self.targets = _stems(folder / "databases"), _stems(folder / "targets")


def _export_problems(path: Path, names: _Names) -> Export | list[Problem]:
    problem = partial(found_at, path, path.stem)
    try:
        content = read_mapping(path)
    except ExportError as error:
        return [problem_from(error, path.stem)]
    try:
        refuse_no_id(path.stem)
    except ExportError as error:
        return [problem((), error.code, f"the file name {error.message}", error.hint)]
    if "id" in content:
        return [problem(("id",), Code.DEFINITION_INVALID, "`id` is not written: it is the file's name", "remove it")]
    if secrets := _written_out(path, path.stem, literal_secrets_of_report(content)):
        return secrets
    try:
        export = Export.model_validate({**content, "id": path.stem})
    except ValidationError as error:
        return explain(path, path.stem, Export, content, error)
    found = []
    named = [("target", name, names.targets) for name in export.targets]
    for key, name, known in [("database", export.database, names.databases), *named]:
        if name not in known:
            message = f"there is no {key}s/{name}.yaml{did_you_mean(name, known)}"
            found.append(problem((key,), Code.DEFINITION_INVALID, message, "write it, or name one that is there"))
    return found + _names_too_long(path, export) or export


def _names_too_long(path: Path, export: Export) -> list[Problem]:
    """Only with the export's own id is it known how long a name gets."""
    patterns = [("file.name", export.file.name), *(("folder", part) for part in export.folder.split("/") if part)]
    if export.file.inner_name is not None:
        patterns.append(("file.inner_name", export.file.inner_name))
    found = []
    for key, pattern in patterns:
        try:
            example(pattern, export.id, key=key)
        except ExportError as error:
            found.append(found_at(path, export.id, key.split("."), error.code, error.message, error.hint))
    return found


def _misnamed(folder: Path) -> list[Problem]:
    return [
        Problem(
            path.stem if folder.name == "exports" else None,
            "error",
            Code.DEFINITION_INVALID,
            f"{shown(path)} is not read: the catalog's files end in .yaml",
            f"rename it to {path.stem}.yaml",
            shown(path),
        )
        for path in sorted(folder.glob("*.yml"))
    ]
