"""How many rows lie in each of several windows, asked of the database."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.definition import Export
from catalog.windows import Bounds
from tasks.connect import Source
from tasks.source.query import count_in_ranges
from tasks.source.read import cursor_ranges, source_columns

#: Databases limit how many columns and values a statement may have.
_SPANS_A_STATEMENT = 200


def count_rows(source: Source, export: Export, windows: Sequence[Bounds]) -> list[int]:
    """The rows of each window, in one pass for many; the windows are in order and have both bounds.

    Raises ExportError for what is wrong with table, columns, cursor or SQL.
    """
    columns = source_columns(source, export)
    whole = Bounds(windows[0].low, windows[-1].high, windows[0].since, windows[-1].until)
    range_of = cursor_ranges(source, export, columns, whole)
    counts: list[int] = []
    for begin in range(0, len(windows), _SPANS_A_STATEMENT):
        ranges = [range_of(window) for window in windows[begin : begin + _SPANS_A_STATEMENT]]
        found = source.connection.execute(count_in_ranges(export, columns, ranges)).one()
        counts += [int(count or 0) for count in found]
    return counts
