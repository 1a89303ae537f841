"""The database's own clock: a window in mode `lag` ends in its past, and what lies ahead of it is told of."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import text

from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.connect import Source

_NOW = {
    "postgresql": "SELECT clock_timestamp()",
    "mysql": "SELECT UTC_TIMESTAMP(6)",
    "mariadb": "SELECT UTC_TIMESTAMP(6)",
}


def now_of(source: Source) -> datetime:
    """What the database's clock shows; where it has none of its own, as SQLite, that of this machine."""
    return _asked(source) or datetime.now(UTC)


def refuse_unsettled(source: Source, bounds: Bounds) -> None:
    """The database's clock has passed the window's end, so that no new row can be stamped within it.

    Databases without a clock of their own are asked nothing. Raises ExportError CLOCK_BEHIND otherwise.
    """
    now = _asked(source)
    if now is not None and bounds.until is not None and now < bounds.until:
        raise ExportError(
            Code.CLOCK_BEHIND,
            f"the clock of database {source.name} shows {now:%Y-%m-%d %H:%M:%S} UTC, and the window ends at "
            f"{bounds.until:%Y-%m-%d %H:%M:%S} UTC: rows may still be stamped within it",
            "set the clocks of this machine and of the database right, or make `cursor.lag` longer",
        )


def _asked(source: Source) -> datetime | None:
    statement = _NOW.get(source.dialect)
    if statement is None:
        return None
    now: datetime = source.connection.execute(text(statement)).scalar_one()
    return now if now.tzinfo else now.replace(tzinfo=UTC)
