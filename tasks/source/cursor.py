"""The window's bounds in the cursor column's own type and form."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa

from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.rows.columns import Column
from tasks.source.query import CursorRange

#: A date or timestamp as SQLite stores it in a text.
_STORED = re.compile(r"\d{4}-\d\d-\d\d(?:(?P<separator>[ T])\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?P<zone>Z|[+-]\d\d:?\d\d)?)?")
#: Epochs by magnitude: what is below the number is in seconds, milliseconds, microseconds (years 1973 to 5138).
_EPOCHS = [(1e11, 1), (1e14, 1_000), (1e17, 1_000_000)]

#: What stands behind `timestamp` or `DATETIME`: digits of a second's fraction.
_PRECISION = re.compile(r"\((\d)\)")

#: Halved from the one to the other, it finds the minute in which a change of the clock began.
_LONGEST_CHANGE, _SHORTEST_STEP = timedelta(hours=2), timedelta(seconds=1)

Form = Callable[[datetime], Any]


def typed_range(cursor: Column, bounds: Bounds, timezone: ZoneInfo, digits: int = 6) -> CursorRange:
    """The bounds for a column whose type the database enforces; `timezone` is what times without one mean.

    The column keeps `digits` of a second's fraction, and so do the bounds.
    Raises ExportError CURSOR_TYPE when the column holds no dates or times.
    """
    if isinstance(cursor.arrow, pa.TimestampType):
        if cursor.arrow.tz is not None:
            return _converted(bounds, lambda moment: floored(moment, digits))
        return _converted(bounds, lambda moment: floored(_local(moment, timezone), digits))
    if pa.types.is_date(cursor.arrow):
        return _converted(bounds, lambda moment: _day(moment, timezone))
    raise _wrong_type(cursor, cursor.type_text)


def xid_range(bounds: Bounds) -> CursorRange:
    """The bounds of a window in mode `xid`: they are transaction ids already."""
    assert bounds.high is not None, "an incremental window has an upper bound"
    return CursorRange(None if bounds.low is None else int(bounds.low), int(bounds.high))


def fraction_digits(cursor: Column, dialect: str) -> int:
    """How many digits of a second's fraction the column keeps, by its declared type; at most 6."""
    if declared := _PRECISION.search(cursor.type_text):
        return min(int(declared[1]), 6)
    return 0 if dialect in ("mysql", "mariadb") else 6


def floored(moment: datetime, digits: int) -> datetime:
    """The moment with that many digits of its fraction.

    A row stamped just after a finer bound may be rounded to below it, and would be in no window. Cut like this, what is
    stamped later is never stored below, and windows still meet.
    """
    return moment.replace(microsecond=moment.microsecond - moment.microsecond % 10 ** (6 - digits))


def stored_range(
    cursor: Column, largest: Any, forms: Collection[str], bounds: Bounds, timezone: ZoneInfo
) -> CursorRange:
    """The bounds for a SQLite column, in the form that its largest value has, so that their order is that of time.

    Raises ExportError CURSOR_TYPE when that value is no date or time, or when the values have several `forms`.
    """
    if len(forms) > 1:
        # `2026-01-01 23:00` sorts before `2026-01-01T08:00`: bounds of either form would lose rows of the other.
        raise _wrong_type(cursor, "dates and times in more than one form")
    return _converted(bounds, _stored_form(cursor, largest, timezone))


def _day(moment: datetime, timezone: ZoneInfo) -> date:
    # A day is settled when it is over: the bound's own day waits for the next window.
    return _local(moment, timezone).date()


def _local(moment: datetime, timezone: ZoneInfo) -> datetime:
    """The moment on the zone's clock, such that a later moment is never an earlier time.

    While the hour that comes twice runs for the first time, its beginning stands still: a row of that hour may yet
    come, and a clock that went back would deliver rows twice and lose others.
    """
    local = moment.astimezone(timezone)
    if local.fold == 1 or not _comes_twice(local):
        return local.replace(tzinfo=None, fold=0)
    begin, step = local, _LONGEST_CHANGE
    while step >= _SHORTEST_STEP:
        if _comes_twice(begin - step):
            begin -= step
        step /= 2
    return begin.replace(second=0, microsecond=0, tzinfo=None)


def _comes_twice(local: datetime) -> bool:
    return local.utcoffset() != local.replace(fold=1).utcoffset()


def _stored_form(cursor: Column, largest: Any, timezone: ZoneInfo) -> Form:
    if isinstance(largest, int | float) and not isinstance(largest, bool) and largest >= 1e8:
        for below, per_second in _EPOCHS:
            if largest < below:
                return lambda moment: _epoch(moment, per_second, type(largest))
    if largest is not None and not isinstance(largest, str):
        raise _wrong_type(cursor, type(largest).__name__)
    found = _STORED.fullmatch(largest) if largest is not None else _STORED.fullmatch("2026-01-01 00:00:00")
    if found is None:
        raise _wrong_type(cursor, "text that is no date")
    separator, zone = found["separator"], found["zone"]
    if separator is None:
        return lambda moment: _day(moment, timezone).isoformat()
    if zone is None:
        return lambda moment: _stamp(_local(moment, timezone), separator)
    if zone not in ("Z", "+00:00", "+0000", "-00:00"):
        raise _wrong_type(cursor, f"text with the offset {zone}, which does not sort by time")
    # Without the suffix: `10:00:00.5Z` sorts before `10:00:00Z`, but neither before `10:00:00`.
    return lambda moment: _stamp(moment.astimezone(UTC), separator)


def _stamp(moment: datetime, separator: str) -> str:
    # Whole seconds without a fraction: as text, `10:00:00` comes before `10:00:00.000000`.
    text = moment.replace(tzinfo=None).isoformat(sep=separator, timespec="microseconds")
    return text.rstrip("0").rstrip(".")


def _epoch(moment: datetime, per_second: int, kind: type) -> int | float:
    # Through whole microseconds: a float of seconds would lose the last digits.
    elapsed = moment - datetime(1970, 1, 1, tzinfo=UTC)
    microseconds = (elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds
    if kind is float:
        return microseconds * per_second / 1_000_000
    return -(-microseconds * per_second // 1_000_000)


def _converted(bounds: Bounds, form: Form) -> CursorRange:
    assert bounds.high is not None, "an incremental window has an upper bound"
    low = None if bounds.low is None else form(datetime.fromisoformat(bounds.low))
    return CursorRange(low, form(datetime.fromisoformat(bounds.high)))


def _wrong_type(cursor: Column, found: str) -> ExportError:
    return ExportError(
        Code.CURSOR_TYPE,
        f"the cursor column {cursor.name!r} holds {found}, not a date or timestamp",
        "name a column that says when a row was last changed",
        key="cursor.column",
    )
