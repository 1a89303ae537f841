"""Prefect's moments as everybody else's: its own class of them can lose its zone in arithmetic."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import overload


@overload
def in_utc(moment: datetime) -> datetime: ...
@overload
def in_utc(moment: None) -> None: ...
@overload
def in_utc(moment: datetime | None) -> datetime | None: ...
def in_utc(moment: datetime | None) -> datetime | None:
    """The moment as the standard library's datetime in UTC; None stays None."""
    return datetime.fromtimestamp(moment.timestamp(), UTC) if moment else None
