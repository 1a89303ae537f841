"""Cron expressions and time zones: checked when a definition is read, and run ahead for `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import groupby, pairwise, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from catalog.suggest import did_you_mean

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
#: Prefect does not know the first two, and takes a range of one value for all values.
_NOT_FOR_PREFECT = re.compile(r"\b([0-7]L|LW|(?P<one>\w+)-(?P=one))\b", re.IGNORECASE)


def check_timezone(name: str) -> None:
    """Raises ValueError when `name` is no IANA time zone."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = did_you_mean(name, available_timezones())
        raise ValueError(f"{name!r} is no time zone{hint or '; write one as Europe/Brussels or UTC'}") from None


def check_cron(expression: str) -> None:
    """Raises ValueError when `expression` is not five cron fields that ever come true, and that Prefect reads so."""
    if len(expression.split()) != 5:
        raise ValueError(f"{expression!r} is no cron expression: it has five fields, as in `0 2 * * *`")
    try:
        CronSim(expression, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from None
    if found := _NOT_FOR_PREFECT.search(expression):
        raise ValueError(f"{expression!r} cannot be used: Prefect does not read {found[0]} as cron does")


def check_clock(value: str) -> None:
    """Raises ValueError when `value` is no time of day as `06:00`."""
    if _CLOCK.fullmatch(value) is None:
        raise ValueError(f'{value!r} is no time of day: write it as "06:00", from 00:00 to 23:59 and in quotes')


def earliest_clock(cron: str) -> str:
    """The earliest time of day at which the schedule comes due, as `02:00`."""
    fields = CronSim(cron, datetime(2026, 1, 1))
    return f"{min(fields.hours):02}:{min(fields.minutes):02}"


def occurrences(cron: str, timezone: ZoneInfo, after: datetime) -> Iterator[datetime]:
    """The moments after `after` at which the schedule comes due, endlessly, in its own zone."""
    begin, (minute, hour, day, month, weekday) = after.astimezone(timezone), cron.split()
    if "*" in (day, weekday) or "*" not in day[0] + weekday[0]:
        yield from CronSim(cron, begin)
        return
    # Prefect runs on the days of either field; where one begins with `*`, CronSim on those of both.
    each = (CronSim(f"{minute} {hour} {days}", begin) for days in (f"{day} {month} *", f"* {month} {weekday}"))
    for _, same in groupby(merge(*each, key=datetime.timestamp), key=datetime.timestamp):
        yield next(same)


def slots_within(
    cron: str, timezone: ZoneInfo, since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The spans `[previous slot, slot)` of the schedule that lie whole within `[since, until]`, in UTC and in order.

    A slot is a moment at which the schedule comes due. They follow each other without a gap, also where clocks change.
    """
    # Cron knows whole minutes, and a slot exactly at `since` is the beginning of the first span.
    due = (moment.astimezone(UTC) for moment in occurrences(cron, timezone, since - timedelta(microseconds=1)))
    return pairwise(takewhile(lambda moment: moment <= until, due))
