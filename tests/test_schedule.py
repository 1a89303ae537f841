"""A schedule is read here as Prefect, which starts the runs, reads it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

from catalog.schedule import check_cron, occurrences

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)
NEW_YORK = "America/New_York"


def by_prefect(cron: str, count: int, after: datetime = NEW_YEAR, zone: str = NEW_YORK) -> list[datetime]:
    """The moments at which Prefect's scheduler starts runs, in UTC."""
    found = asyncio.run(CronSchedule(cron=cron, timezone=zone).get_dates(n=count, start=after))
    return [moment.astimezone(UTC) for moment in found]


@pytest.mark.parametrize(
    "cron",
    [
        "0 2 * * *",
        "0 0 L * *",
        "0 0 * * 5#2",
        "30 6 1 jul mon",
        "0 2 1,15 * 5",
        "0 2 */2 * 1",
        "0 2 1,15 * */2",
        "*/20 2-5 * * SUN",
    ],
)
def test_a_schedule_comes_due_when_prefect_starts_its_runs(cron: str) -> None:
    check_cron(cron)
    ours = [moment.astimezone(UTC) for moment in islice(occurrences(cron, ZoneInfo(NEW_YORK), NEW_YEAR), 9)]
    assert ours == by_prefect(cron, 9)


@pytest.mark.parametrize(
    ("cron", "part"),
    [
        ("0 0 * * 5L", "5L"),
        ("0 0 * * 1l,3", "1l"),
        ("0 0 LW * *", "LW"),
        ("1-1 * * * *", "1-1"),
        ("0 2 * * mon-mon", "mon-mon"),
        ("0 2 9,15-15 * *", "15-15"),
    ],
)
def test_what_prefect_reads_otherwise_than_cron_is_refused(cron: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"Prefect does not read {part} as cron does"):
        check_cron(cron)
