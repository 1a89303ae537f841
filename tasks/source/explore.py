"""What a person can choose from in a database: its tables, and how what is new in one can be known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from sqlalchemy import inspect

from catalog.cursor import Cursor
from catalog.definition import Export
from catalog.errors import ExportError
from tasks.connect import Source
from tasks.rows.columns import Column
from tasks.source.indexes import lacks_cursor_index
from tasks.source.lookback import key_columns
from tasks.source.read import verify

_OF_THE_SERVER = {"information_schema", "mysql", "performance_schema", "sys"}
#: How columns are called that say when a row was last changed, the surest first.
_CHANGED = ("updat", "modif", "chang", "last", "creat", "insert")


@dataclass(frozen=True, slots=True)
class CursorChoice:
    """One way to know what is new: the keys of `cursor`, and in words what it is good for."""

    cursor: dict[str, Any]
    reason: str


def table_names(source: Source) -> list[str]:
    """Tables and views as a definition names them: those of other schemas than the default one with their schema."""
    inspector = inspect(source.connection)
    names: list[str] = []
    for schema in inspector.get_schema_names():
        if schema not in _OF_THE_SERVER and not schema.startswith("pg_"):
            found = [*inspector.get_table_names(schema=schema), *inspector.get_view_names(schema=schema)]
            prefix = "" if schema == inspector.default_schema_name else f"{schema}."
            names += [prefix + name for name in sorted(found)]
    return names


def cursor_choices(source: Source, export: Export, columns: Sequence[Column]) -> list[CursorChoice]:
    """Ways to know what is new in the export's table or query, the surest first, without those that a run refuses."""
    choices: list[CursorChoice] = []
    # The rows of a query have no transaction ids of their own.
    if source.dialect == "postgresql" and export.table is not None:
        for name in [column.name for column in columns if column.type_text == "xid8"]:
            reason = f"exact, by the transaction id that the database stamps into {name}"
            choices.append(CursorChoice({"mode": "xid", "column": name}, reason))
        whole = "exact, by the rows' own transaction ids; each run reads the whole table"
        choices.append(CursorChoice({"mode": "xid"}, whole))
    has_key = _has_key(source, export, columns)
    times = [column.name for column in columns if column.arrow is not None and pa.types.is_timestamp(column.arrow)]
    for name in sorted(times, key=_likelihood):
        if source.dialect == "postgresql":
            reason = f"when the database itself stamps {name}"
            choices.append(CursorChoice({"mode": "guarded", "column": name}, reason))
        lag: dict[str, Any] = {"mode": "lag", "column": name, **({} if has_key else {"lookback": "0s"})}
        late = "late rows are looked for" if has_key else "without a key no late rows are found"
        choices.append(CursorChoice(lag, f"when the application stamps {name}; {late}"))
    return [found for choice in choices if (found := _tried(source, export, choice)) is not None]


def _has_key(source: Source, export: Export, columns: Sequence[Column]) -> bool:
    try:
        key_columns(source, export, columns)
    except ExportError:
        return False
    return True


def _tried(source: Source, export: Export, choice: CursorChoice) -> CursorChoice | None:
    tried = export.model_copy(update={"cursor": Cursor.model_validate(choice.cursor)})
    try:
        verify(source, tried)
    except ExportError:
        # What a run would refuse is no choice, whatever the reason.
        return None
    if lacks_cursor_index(source, tried):
        return CursorChoice(choice.cursor, f"{choice.reason}; without an index each run reads the whole table")
    return choice


def _likelihood(name: str) -> int:
    return next((place for place, part in enumerate(_CHANGED) if part in name.lower()), len(_CHANGED))
