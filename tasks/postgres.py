"""PostgreSQL through psycopg: which values arrive as the server's own text, and what a result's columns are."""

from __future__ import annotations

from typing import Any

from psycopg import Connection as PsycopgConnection
from psycopg.adapt import Loader
from sqlalchemy import Connection, CursorResult, Select

from tasks.columns import Column, column_of

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
