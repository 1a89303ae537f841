"""Cron expressions, time zones and moments: checked when a definition is read, and run ahead for `check`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from heapq import merge
from itertools import groupby, pairwise, takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from catalog.suggest import did_you_mean

_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
#: Prefect does not know the first two, and takes a range of one value for all values.
_NOT_FOR_PREFECT = re.compile(r"\b([0-7]L|LW|(?P<one>\w+)-(?P=one))\b", re.IGNORECASE)
#: By field: steps from its last value, a range of one value too, and from a weekday, where Prefect ends on another.
_STEPS_NOT_FOR_PREFECT = tuple(
    map(re.compile, (r"\b59/\d+", r"\b23/\d+", r"\b31/\d+", r"\b12/\d+", r"(?<![-\w])\w+/\d+"))
)
_FEBRUARY, _MARCH, _SHORTEST_MONTH = 2, 3, 28


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
        fields = CronSim(expression, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"{expression!r} is no cron expression: {error}") from None
    if part := _not_for_prefect(expression, fields):
        raise ValueError(f"{expression!r} cannot be used: Prefect does not read {part} as cron does")


def _not_for_prefect(expression: str, fields: CronSim) -> str | None:
    steps = (steps.search(field) for steps, field in zip(_STEPS_NOT_FOR_PREFECT, expression.split(), strict=True))
    if found := _NOT_FOR_PREFECT.search(expression) or next(filter(None, steps), None):
        return found[0]
    if CronSim.LAST in fields.days and max(fields.days) > _SHORTEST_MONTH:
        return "L beside a day after the 28th"
    if "#" in expression and expression.split()[2] != "*":
        return "# beside days of the month"
    return None


def check_moment(moment: datetime) -> None:
    """Raises ValueError in the calendar's first and last years: in another zone, their ends are beyond it."""
    if not 1 < moment.year < 9999:
        raise ValueError(f"{moment.isoformat()} is not between the years 2 and 9998")


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


def left_out_by_prefect(cron: str) -> list[date]:
    """The days of 2027 and 2028, each standing for its like, on which Prefect does not start the run that is due.

    Past the last day due in February, its croniter counts on to the next day in the list, though February has none of
    that number: after 15 February `1,15,30` comes to the 30th, which it takes for 2 March. Seen with Prefect 3.8.8.
    """
    fields = CronSim(cron, datetime(2026, 1, 1))
    if not {_FEBRUARY, _MARCH} <= fields.months:
        return []
    days = {day for day in fields.days if day > 0}
    found: list[date] = []
    for last in (date(2027, _FEBRUARY, 28), date(2028, _FEBRUARY, 29)):
        beyond = min((day for day in days if day > last.day), default=last.day)
        if last.day not in days:
            found += [date(last.year, _MARCH, day) for day in sorted(days) if day < beyond - last.day]
    return found


def slots_within(
    cron: str, timezone: ZoneInfo, since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The spans `[previous slot, slot)` of the schedule that lie whole within `[since, until]`, in UTC and in order.

    A slot is a moment at which the schedule comes due. They follow each other without a gap, also where clocks change.
    """
    # Cron knows whole minutes, and a slot exactly at `since` is the beginning of the first span.
    due = (moment.astimezone(UTC) for moment in occurrences(cron, timezone, since - timedelta(microseconds=1)))
    return pairwise(takewhile(lambda moment: moment <= until, due))
