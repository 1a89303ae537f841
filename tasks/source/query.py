"""The SQL of an export: pure, from the definition, the columns that are there, and the window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    String,
    Text,
    and_,
    bindparam,
    case,
    cast,
    column,
    func,
    literal_column,
    null,
    or_,
    select,
    table,
    text,
)

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.suggest import did_you_mean
from tasks.rows.columns import Column, Xid8

#: How a text begins that sorts by time, as SQLite's GLOB has it.
DAY = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


@dataclass(frozen=True, slots=True)
class CursorRange:
    """The window's bounds as values of the cursor column's own type; `low` None is the beginning.

    In mode `xid` they are transaction ids of 64 bits.
    """

    low: Any
    high: Any


def build_select(export: Export, columns: Sequence[Column], cursor: CursorRange | None) -> Select[Any]:
    """The statement that reads the window; `columns` are the table's, or the query's own.

    No result types are given, so that values arrive as the driver gives them. Renamed columns keep their own names
    here, and are renamed in the file: databases cut long labels off.
    Raises ExportError COLUMN_MISSING with the nearest name.
    """
    names = [found.name for found in columns]
    wanted = export.column_names or tuple((name, name) for name in names)
    for name, _ in wanted:
        require_column(name, names, "columns")
    chosen: list[ColumnElement[Any]] = [column(name) for name, _ in wanted]
    return _filtered(select(*chosen), export, names, _range(export, names, cursor))


def select_keys(
    export: Export, columns: Sequence[Column], key: Sequence[str], cursor: CursorRange, *, as_text: bool
) -> Select[Any]:
    """The statement that reads the key and the cursor of every row in the range; `as_text` lets the database write."""
    names = [found.name for found in columns]
    return _filtered(select(*_key_cells(export, names, key, as_text)), export, names, _range(export, names, cursor))


def select_with_keys(
    export: Export, columns: Sequence[Column], key: Sequence[str], cursor: CursorRange, *, as_text: bool
) -> Select[Any]:
    """As `build_select`, with the cells of `select_keys` after the chosen columns."""
    names = [found.name for found in columns]
    return build_select(export, columns, cursor).add_columns(*_key_cells(export, names, key, as_text))


def _key_cells(export: Export, names: Sequence[str], key: Sequence[str], as_text: bool) -> list[ColumnElement[Any]]:
    cells: list[ColumnElement[Any]] = [*(column(name) for name in key), _cursor_column(export, names)]
    # Numbered labels: the same column may stand among the chosen ones under its own name.
    return [(cast(cell, Text) if as_text else cell).label(f"exports_key_{index}") for index, cell in enumerate(cells)]


def count_in_ranges(export: Export, columns: Sequence[Column], ranges: Sequence[CursorRange]) -> Select[Any]:
    """The statement that counts the rows of each range, in one pass over what lies between the first and the last."""
    names = [found.name for found in columns]
    counts = [
        func.sum(case((and_(*_range(export, names, one, f"_{index}")), 1), else_=0)) for index, one in enumerate(ranges)
    ]
    lows, highs = [one.low for one in ranges], [one.high for one in ranges]
    whole = CursorRange(None if None in lows else min(lows), max(highs))
    return _filtered(select(*counts), export, names, _range(export, names, whole))


def count_strays(export: Export, columns: Sequence[Column], beyond: Any, *, as_text: bool) -> Select[Any]:
    """The statement that counts rows whose cursor is NULL, and those where it is larger than `beyond` (None: none).

    The third column is the largest cursor of these; `as_text` lets the database write it.
    """
    names = [found.name for found in columns]
    stamped = _cursor_column(export, names)
    counts, missing = [func.count() - func.count(stamped), func.count(stamped)], stamped.is_(None)
    if beyond is None:
        # Without max(): before PostgreSQL 15 there is none of an xid8.
        return _filtered(select(*counts, null()), export, names, [missing])
    largest = cast(func.max(stamped), Text) if as_text else func.max(stamped)
    return _filtered(select(*counts, largest), export, names, [or_(missing, stamped > bindparam("beyond", beyond))])


def describe_cursor(export: Export, columns: Sequence[Column]) -> Select[Any]:
    """The statement that returns the cursor column alone and no rows."""
    names = [found.name for found in columns]
    return _filtered(select(_cursor_column(export, names)), export, names, []).limit(0)


def largest_cursor(export: Export, columns: Sequence[Column]) -> Select[Any]:
    """The statement that reads the cursor's largest value."""
    names = [found.name for found in columns]
    return _filtered(select(func.max(_cursor_column(export, names))), export, names, [])


def cursor_forms(export: Export, columns: Sequence[Column], within: CursorRange | None = None) -> Select[Any]:
    """The statement that reads in which forms SQLite holds the cursor: `number`, `no day`, or what follows the day."""
    names = [found.name for found in columns]
    stored = _cursor_column(export, names)
    zoned = func.substr(stored, 17).op("GLOB")("*[Z+-]*")
    text_form = func.substr(stored, 11, 1).op("||")(case((zoned, "Z"), else_=""))
    # What begins with no day sorts anywhere, and may look like the others from there on.
    dated = case((stored.op("GLOB")(f"{DAY}*"), text_form), else_="no day")
    form = case((func.typeof(stored) == "text", dated), else_="number")
    return _filtered(select(form).distinct(), export, names, [stored.is_not(None), *_range(export, names, within)])


def describe_query(query: str) -> Select[Any]:
    """The statement that returns the query's columns and no rows."""
    return select(text("*")).select_from(_wrapped(query)).where(text("1 = 0"))


def require_column(name: str, names: Sequence[str], key: str) -> None:
    """Raises ExportError COLUMN_MISSING unless the column is there, letter for letter."""
    if name not in names:
        raise ExportError(
            Code.COLUMN_MISSING,
            f"there is no column {name!r}{did_you_mean(name, names)}",
            f"the columns are {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}",
            key=key,
        )


def _cursor_column(export: Export, names: Sequence[str]) -> ColumnElement[Any]:
    assert export.cursor is not None and export.cursor.column is not None, "this mode has a cursor column"
    require_column(export.cursor.column, names, "cursor.column")
    return column(export.cursor.column)


def _range(
    export: Export, names: Sequence[str], cursor: CursorRange | None, suffix: str = ""
) -> list[ColumnElement[bool]]:
    if export.cursor is None or cursor is None:
        return []
    stamped = _stamp(export, names)
    upper = stamped < _bound(export, f"high{suffix}", cursor.high)
    return [upper] if cursor.low is None else [stamped >= _bound(export, f"low{suffix}", cursor.low), upper]


def _stamp(export: Export, names: Sequence[str]) -> ColumnElement[Any]:
    """What is held against the bounds: the cursor column, or the row's own transaction id."""
    if export.cursor is not None and export.cursor.column is None:
        # No column of the table: every row has it.
        return cast(cast(literal_column("xmin"), Text), BigInteger)
    return _cursor_column(export, names)


def _bound(export: Export, name: str, value: Any) -> ColumnElement[Any]:
    if export.cursor is not None and export.cursor.mode == "xid" and export.cursor.column is not None:
        # The bound is cast, not the column: an index on it is used.
        return cast(bindparam(name, str(value), String), Xid8())
    return bindparam(name, value)


def _filtered(
    statement: Select[Any], export: Export, names: Sequence[str], conditions: list[ColumnElement[bool]]
) -> Select[Any]:
    if export.query is not None:
        statement = statement.select_from(_wrapped(export.query))
    else:
        schema, _, name = (export.table or "").rpartition(".")
        statement = statement.select_from(table(name, *(column(found) for found in names), schema=schema or None))
    if export.where is not None:
        # The line end keeps a comment at the end of `where` from swallowing the parenthesis.
        conditions = [text(f"({_as_it_is(export.where)}\n)"), *conditions]  # type: ignore[list-item]
    return statement.where(and_(*conditions)) if conditions else statement


def _wrapped(query: str) -> Any:
    return text(f"({_as_it_is(query)}\n) AS export_query")


def _as_it_is(sql: str) -> str:
    # text() takes `:name` for a parameter; every colon escaped, it gives back exactly what was written.
    return sql.replace(":", "\\:")
