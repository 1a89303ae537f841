"""The columns of a result: their names, kinds and exact Arrow types, per database."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal

import pyarrow as pa
from sqlalchemy import inspect
from sqlalchemy.dialects.postgresql import DOMAIN
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.engine import Connection
from sqlalchemy.exc import CompileError, NoSuchTableError, SAWarning
from sqlalchemy.types import UserDefinedType

from catalog.errors import Code, ExportError
from catalog.model import repeated
from catalog.suggest import did_you_mean


class Xid8(UserDefinedType[str]):
    """PostgreSQL's transaction id of 64 bits, which SQLAlchemy does not know, and would warn of in every run."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """The type's name in SQL."""
        return "xid8"


ischema_names["xid8"] = Xid8

Kind = Literal["text", "number", "boolean", "bytes", "temporal", "other"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `arrow` is its exact type, None when only the values can say; `type_text` the database's word."""

    name: str
    type_text: str
    kind: Kind
    arrow: pa.DataType | None


_UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

#: Declared or reported type names, without precision, and what they are. Unknown ones are text in canonical form.
_BY_NAME: dict[str, tuple[Kind, pa.DataType]] = {
    "bool": ("boolean", pa.bool_()),
    "boolean": ("boolean", pa.bool_()),
    "tinyint": ("number", pa.int64()),
    "int2": ("number", pa.int16()),
    "smallint": ("number", pa.int16()),
    "int4": ("number", pa.int32()),
    "mediumint": ("number", pa.int32()),
    "int8": ("number", pa.int64()),
    "int": ("number", pa.int64()),
    "integer": ("number", pa.int64()),
    "bigint": ("number", pa.int64()),
    "float4": ("number", pa.float32()),
    "float8": ("number", pa.float64()),
    "real": ("number", pa.float64()),
    "double": ("number", pa.float64()),
    "double precision": ("number", pa.float64()),
    "float": ("number", pa.float64()),
    "date": ("temporal", pa.date32()),
    "datetime": ("temporal", pa.timestamp("us")),
    "timestamp": ("temporal", pa.timestamp("us")),
    "timestamp without time zone": ("temporal", pa.timestamp("us")),
    "timestamptz": ("temporal", _UTC_MICROSECONDS),
    "timestamp with time zone": ("temporal", _UTC_MICROSECONDS),
    "time": ("temporal", pa.time64("us")),
    "time without time zone": ("temporal", pa.time64("us")),
    "bytea": ("bytes", pa.binary()),
    "blob": ("bytes", pa.binary()),
    "binary": ("bytes", pa.binary()),
    "varbinary": ("bytes", pa.binary()),
}
_DECIMAL_NAMES = {"numeric", "decimal"}
_TEXT_NAMES = {
    "text",
    "varchar",
    "bpchar",
    "char",
    "character",
    "character varying",
    "nvarchar",
    "nchar",
    "clob",
    "name",
}
_DECLARED = re.compile(r"(?P<name>[^(]*)(?:\((?P<first>\d+)\s*(?:,\s*(?P<second>-?\d+)\s*)?\))?(?P<rest>.*)")


def column_of(name: str, type_text: str) -> Column:
    """A column from the type's own text, as `numeric(10,2)`, `timestamp with time zone` or `NVARCHAR(160)`.

    Without a text (an expression in a SQLite view) only the values can say.
    """
    if not type_text:
        return Column(name, "", "other", None)
    found = _DECLARED.fullmatch(type_text.lower().strip())
    base = " ".join(f"{found['name']} {found['rest']}".split()) if found else ""
    if base in _DECIMAL_NAMES:
        return Column(name, type_text, "number", _decimal(found))
    if base in _BY_NAME:
        kind, arrow = _BY_NAME[base]
        return Column(name, type_text, kind, arrow)
    return Column(name, type_text, "text" if base in _TEXT_NAMES else "other", pa.string())


def _decimal(found: re.Match[str] | None) -> pa.DataType:
    # Without precision no fixed scale holds every digit, so such a column stays text in typed files.
    if found is None or found["first"] is None:
        return pa.string()
    precision, scale = int(found["first"]), int(found["second"] or 0)
    if not 0 <= scale <= precision or not 1 <= precision <= 76:
        return pa.string()
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def table_columns(connection: Connection, table: str) -> tuple[Column, ...]:
    """The columns of `table` or `schema.table`, in the table's order.

    Raises ExportError COLUMN_MISSING with the nearest name when there is no such table.
    """
    schema, _, name = table.rpartition(".")
    inspector = inspect(connection)
    try:
        with warnings.catch_warnings():
            # It warns of types that it does not know, which are text here.
            warnings.simplefilter("ignore", SAWarning)
            columns = inspector.get_columns(name, schema=schema or None)
    except NoSuchTableError:
        columns = []
    if not columns:
        known = [*inspector.get_table_names(schema=schema or None), *inspector.get_view_names(schema=schema or None)]
        raise ExportError(
            Code.COLUMN_MISSING,
            f"there is no table {table!r}{did_you_mean(name, known)}",
            "name a table as it stands in the database, or schema.table",
            key="table",
        )
    dialect = connection.dialect
    found = tuple(column_of(column["name"], _declared(column["type"], dialect)) for column in columns)
    if dialect.name != "sqlite":
        return found
    quote = dialect.identifier_preparer.quote_identifier
    prefix = f"{quote(schema)}." if schema else ""
    written = connection.exec_driver_sql(f"PRAGMA {prefix}table_xinfo({quote(name)})")
    types = {row[1]: row[2] for row in written}
    return tuple(_as_written(column, types.get(column.name, "")) for column in found)


def refuse_twins(columns: Sequence[Column]) -> None:
    """Raises ExportError QUERY_INVALID when two columns of a query have one name."""
    if twice := repeated(column.name for column in columns):
        raise ExportError(
            Code.QUERY_INVALID,
            f"the query gives two columns the name {twice!r}",
            "name one of them otherwise: SELECT ... AS other_name",
            key="query",
        )


def _as_written(column: Column, type_text: str) -> Column:
    # SQLAlchemy gives SQLite's affinity for types it does not know, and NUMERIC says nothing: STRING and UUID have it.
    known = column_of(column.name, type_text)
    if known.kind == "other" and column.type_text != "NUMERIC":
        return replace(column, type_text=type_text)
    return known


def _declared(kind: Any, dialect: Any) -> str:
    if isinstance(kind, DOMAIN):
        kind = kind.data_type
    # Reflected types know how to write themselves, but for those that SQLAlchemy does not know either.
    try:
        return str(kind.compile(dialect=dialect))
    except CompileError:
        return ""


def guessed(column: Column, values: Sequence[Any]) -> Column:
    """The column with its type taken from its first values, where nothing has declared one."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {datetime} and all(value is None or value.tzinfo for value in values):
        return replace(column, kind="temporal", arrow=_UTC_MICROSECONDS)
    for types, kind, arrow in _GUESSES:
        if kinds and kinds <= types:
            return replace(column, kind=kind, arrow=arrow)
    return replace(column, kind="other" if len(kinds) > 1 else "text", arrow=pa.string())


_GUESSES: list[tuple[set[type], Kind, pa.DataType]] = [
    ({bool}, "boolean", pa.bool_()),
    ({int}, "number", pa.int64()),
    ({int, float}, "number", pa.float64()),
    ({Decimal}, "number", pa.string()),
    ({datetime}, "temporal", pa.timestamp("us")),
    ({date}, "temporal", pa.date32()),
    ({time}, "temporal", pa.time64("us")),
    ({bytes}, "bytes", pa.binary()),
]
