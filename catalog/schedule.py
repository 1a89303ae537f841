"""Cron expressions and time zones: checked when a definition is read, and run ahead for `check`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from catalog.suggest import did_you_mean


def check_timezone(name: str) -> None:
    """Raises ValueError when `name` is no IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones())
        raise ValueError(f"{name!r} is no time zone{hint or '; write one as Europe/Brussels or UTC'}") from None


def check_cron(expression: str) -> None:
    """Raises ValueError when `expression` is not five cron fields that ever come true."""
    if len(expression.split()) != 5:
        raise ValueError(f"{expression!r} is no cron expression: it has five fields, as in `0 2 * * *`")
    try:
        CronSim(expression, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from None


def occurrences(cron: str, timezone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The moments after `after` at which the schedule comes due, endlessly, in its own zone."""
    yield from CronSim(cron, after.astimezone(timezone))
