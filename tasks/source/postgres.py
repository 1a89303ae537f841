"""PostgreSQL through psycopg: which values arrive as the server's own text, and what a result's columns are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
from psycopg import Connection as PsycopgConnection
from psycopg.adapt import Loader
from sqlalchemy import Connection, CursorResult, Select

from tasks.rows.columns import Column, column_of
from tasks.rows.values import text_of

#: What psycopg turns into a Python value that holds it exactly; everything else stays the server's text,
#: dates and times too: they may be infinite, or before the year 1 and after 9999.
_EXACT = {
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "bytea",
}


class _TextLoader(Loader):
    """The server's own text."""

    def load(self, data: Any) -> str:
        return bytes(data).decode()


class _BooleanLoader(Loader):
    """`true` and `false`, where the server writes `t` and `f`."""

    def load(self, data: Any) -> str:
        return "true" if bytes(data) == b"t" else "false"


def prepare_reading(connection: Connection, form: str) -> None:
    """Let this connection give texts for every type (form `text`), or for those no Python value holds exactly."""
    raw = psycopg_connection(connection)
    for info in raw.adapters.types:
        if form == "text" or info.name not in _EXACT:
            raw.adapters.register_loader(info.oid, _TextLoader)
        if info.array_oid:
            raw.adapters.register_loader(info.array_oid, _TextLoader)
    if form == "text":
        raw.adapters.register_loader("bool", _BooleanLoader)


def psycopg_connection(connection: Connection) -> PsycopgConnection[Any]:
    """The driver's own connection below SQLAlchemy's."""
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, PsycopgConnection), "PostgreSQL is read through psycopg"
    return raw


def statement_text(connection: Connection, statement: Select[Any]) -> str:
    """The statement with its values written in, for what takes no parameters, as COPY."""
    compiled = statement.compile(connection, compile_kwargs={"literal_binds": True})
    # psycopg's own percent signs are doubled.
    return str(compiled).replace("%%", "%")


def describe(result: CursorResult[Any]) -> tuple[Column, ...]:
    """The columns of a result, from what the server says of each: its type with precision and scale."""
    description: Any = result.cursor.description if result.cursor is not None else None
    return tuple(column_of(found.name, _named(found.type_display)) for found in description)


def _named(type_display: str) -> str:
    # psycopg shows the number of a type that is not PostgreSQL's own.
    return "user-defined" if type_display.isdigit() else type_display


def with_moments(rows: Sequence[Sequence[Any]], columns: Sequence[Column]) -> Sequence[Sequence[Any]]:
    """The rows with Python's dates and times in the place of the server's texts, where these say exactly the same.

    What Python has no value for, as infinity or a year before 1, stays the text.
    """
    readers = [(index, reader) for index, column in enumerate(columns) if (reader := _reader(column)) is not None]
    if not readers:
        return rows
    made = [list(row) for row in rows]
    for row in made:
        for index, reader in readers:
            if isinstance(row[index], str):
                row[index] = _moment(row[index], reader)
    return made


def _reader(column: Column) -> Callable[[str], Any] | None:
    if column.arrow is None or column.kind != "temporal":
        return None
    if pa.types.is_date(column.arrow):
        return date.fromisoformat
    return time.fromisoformat if pa.types.is_time(column.arrow) else datetime.fromisoformat


def _moment(written: str, reader: Callable[[str], Any]) -> Any:
    try:
        found = reader(written)
    except ValueError:
        return written
    return found if text_of(found) == written else written
