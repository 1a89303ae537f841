"""In which forms SQLite holds the cursor, at a cost that follows the window where an index serves the column.

A row of another form than the bounds is lost when its text sorts below the window though its time does not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from catalog.definition import Export
from catalog.windows import Bounds
from tasks.connect import Source
from tasks.rows.columns import Column
from tasks.source.query import DAY, CursorRange, cursor_forms
from tasks.source.relation import qualified

#: No clock of the world is further behind UTC: what it shows sorts no further below its time.
_BEHIND = timedelta(hours=12)

# From each day to the next through the index: what follows the day is seen of every row, at a step for each day.
# A text without it is itself the step, since longer ones of its day come after it; max() never steps back.
_SEPARATORS = """
WITH RECURSIVE exports_jump(value) AS (
    SELECT min({column}) FROM {table} WHERE {column} >= ''
    UNION ALL
    SELECT (SELECT min({column}) FROM {table} WHERE {column} > CASE
                WHEN length(exports_jump.value) < 11 THEN exports_jump.value
                ELSE max(exports_jump.value, substr(exports_jump.value, 1, 11) || char(1114111)) END)
    FROM exports_jump WHERE typeof(exports_jump.value) = 'text'
)
SELECT CASE WHEN typeof(value) <> 'text' THEN 'number' WHEN value GLOB '{day}*' THEN substr(value, 11, 1)
            ELSE 'no day' END
FROM exports_jump WHERE value IS NOT NULL
UNION SELECT 'number' WHERE EXISTS (SELECT 1 FROM {table} WHERE {column} < '')
"""


def forms_of(source: Source, export: Export, columns: Sequence[Column], bounds: Bounds) -> Collection[str]:
    """The forms, as `cursor_forms` names them: of every row, but for the zone, which is looked at around the window.

    A text with a zone lies within half a day of its time in UTC: where it could be taken for older than the window
    that it belongs to, it is looked at.
    """
    if bounds.low is not None and _is_indexed(source, export):
        separators = set(source.connection.exec_driver_sql(_sql(source, export, _SEPARATORS)).scalars())
        if separators == {"number"}:
            return separators
        if len(separators) <= 1:
            return source.connection.execute(cursor_forms(export, columns, _days(bounds))).scalars().all()
        if export.where is None:
            return separators
    return source.connection.execute(cursor_forms(export, columns)).scalars().all()


def _is_indexed(source: Source, export: Export) -> bool:
    if export.table is None:
        return False
    asked = _sql(source, export, "EXPLAIN QUERY PLAN SELECT min({column}) FROM {table} WHERE {column} > ''")
    steps = source.connection.exec_driver_sql(asked).all()
    return len(steps) == 1 and steps[0].detail.startswith("SEARCH") and steps[0].detail.endswith(">?)")


def _sql(source: Source, export: Export, pattern: str) -> str:
    assert export.table is not None and export.cursor is not None and export.cursor.column is not None, "both are named"
    quote = source.connection.dialect.identifier_preparer.quote_identifier
    return pattern.format(table=qualified(export.table), column=quote(export.cursor.column), day=DAY)


def _days(bounds: Bounds) -> CursorRange:
    assert bounds.low is not None and bounds.high is not None, "a window without beginning is read whole"
    first = (datetime.fromisoformat(bounds.low) - _BEHIND).date()
    # What sorts above the window is in a later one, and looked at by that.
    after = datetime.fromisoformat(bounds.high).date() + timedelta(days=1)
    return CursorRange(first.isoformat(), after.isoformat())
