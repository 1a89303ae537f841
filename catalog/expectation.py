"""When a file has to be there, and whether it is late. Pure: the clock is an argument."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time, timedelta

from catalog.definition import Export
from catalog.schedule import occurrences


@dataclass(frozen=True, slots=True)
class Deadline:
    """A file of `day` is to be there `at`, of a run that comes due since `since`; all in the export's zone."""

    export: Export
    day: datetime
    since: datetime
    at: datetime

    @property
    def words(self) -> str:
        """`2026-11-25 06:00 Europe/Brussels`."""
        return f"{self.at:%Y-%m-%d %H:%M} {self.export.timezone.key}"


def deadline_before(
    export: Export, now: datetime, *, scheduled_since: datetime, expected_since: datetime
) -> Deadline | None:
    """The newest deadline of the export up to `now`, if a file was to be expected by then.

    That of the day before counts until this day's has come, so that none is passed over while nobody could look.
    Only days count on which the schedule comes due before it, and was switched on (`scheduled_since`) by then. What
    was not expected yet (`expected_since`) cannot be late.
    """
    if export.expect_by is None or export.schedule is None or export.schedule.cron is None:
        return None
    zone, clock = export.timezone, time.fromisoformat(export.expect_by)
    today = now.astimezone(zone).date()
    days = (today, today - timedelta(days=1))
    at = next(moment for day in days if (moment := datetime.combine(day, clock, zone)) <= now)
    day = datetime.combine(at.date(), time.min, zone)
    if at <= expected_since:
        return None
    since = max(day, scheduled_since.astimezone(zone))
    due = next(occurrences(export.schedule.cron, zone, since - timedelta(microseconds=1)), None)
    return Deadline(export, day, since, at) if due is not None and due <= at else None


def is_late(deadline: Deadline, delivered_at: datetime | None) -> bool:
    """Whether the deadline passed before the day's first file was delivered; None: none has been."""
    return delivered_at is None or delivered_at > deadline.at
