"""Rows that an incremental export's windows miss: their cursor is NULL, or lies in the future."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from catalog.cursor import Cursor
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, instant
from tasks.connect import Source
from tasks.rows.columns import Column
from tasks.rows.values import text_of
from tasks.source.clock import now_of
from tasks.source.indexes import lacks_cursor_index
from tasks.source.query import CursorRange, count_strays

#: What lies ahead of the clock by less is not told of: other machines' clocks differ, columns round, and a clock that
#: is put back shows an hour twice, of which a column without zone does not say which one it means.
_ROOM = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Strays:
    """How many rows have no cursor, and how many one in the future; the latest of these as canonical text."""

    nulls: int = 0
    future: int = 0
    latest: str | None = None


def find_strays(
    source: Source,
    export: Export,
    columns: Sequence[Column],
    range_of: Callable[[Bounds], CursorRange],
    bounds: Bounds,
) -> Strays:
    """Ask for them, within `where`; `range_of` is what `cursor_ranges` gives, `bounds` the window's.

    Raises ExportError CURSOR_NULL or CURSOR_IN_FUTURE when there are some and the definition says `fail`.
    """
    cursor = export.cursor
    if cursor is None or cursor.column is None:
        return Strays()
    beyond = range_of(Bounds(high=_ahead(source, bounds))).high if _looks_ahead(source, export, cursor) else None
    statement = count_strays(export, columns, beyond, as_text=source.dialect == "postgresql")
    nulls, future, latest = source.connection.execute(statement).one()
    if nulls and cursor.nulls == "fail":
        raise ExportError(
            Code.CURSOR_NULL,
            f"{nulls} rows have NULL in the cursor column {cursor.column!r}, so no window would ever hold them",
            "fill the column, or set `cursor.nulls: skip` to leave such rows out",
            key="cursor.nulls",
        )
    found = Strays(nulls, future, None if latest is None else text_of(latest))
    if found.future and cursor.future == "fail":
        raise ExportError(
            Code.CURSOR_IN_FUTURE,
            f"{future} rows have a cursor in the future, up to {found.latest} in column {cursor.column!r}, and no "
            "window would hold them before then",
            "correct them, or set `cursor.future: warn` to let them wait for it",
            key="cursor.future",
        )
    return found


def _looks_ahead(source: Source, export: Export, cursor: Cursor) -> bool:
    if cursor.mode == "xid" or cursor.future == "ignore":
        return False
    # For a warning no run reads a whole table.
    return cursor.future == "fail" or not lacks_cursor_index(source, export)


def _ahead(source: Source, bounds: Bounds) -> str:
    assert bounds.high is not None, "an incremental window has an upper bound"
    return max(instant(now_of(source) + _ROOM), bounds.high)
