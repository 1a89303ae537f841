"""A schedule is read here as Prefect, which starts the runs, reads it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from catalog.schedule import check_cron, left_out_by_prefect, occurrences

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
        ("59/1 2 * * *", "59/1"),
        ("0 23/2 * * *", "23/2"),
        ("0 2 31/5 * *", "31/5"),
        ("0 2 1 6,12/3 *", "12/3"),
        ("0 2 * * 1/2", "1/2"),
        ("0 2 15,30,L * *", "L beside a day after the 28th"),
        ("0 2 15 * 5#3", "# beside days of the month"),
    ],
)
def test_what_prefect_reads_otherwise_than_cron_is_refused(cron: str, part: str) -> None:
    with pytest.raises(ValueError, match=f"Prefect does not read {part} as cron does"):
        check_cron(cron)


@pytest.mark.parametrize("cron", ["5/20 * * * *", "0 8-18/2 * * *", "0 2 2/10 * *", "0 2 1 2/5 *", "0 2 * * 1-5/2"])
def test_other_steps_are_read_alike(cron: str) -> None:
    check_cron(cron)
    ours = [moment.astimezone(UTC) for moment in islice(occurrences(cron, ZoneInfo("UTC"), NEW_YEAR), 30)]
    assert ours == by_prefect(cron, 30, zone="UTC")


@given(
    st.sets(st.integers(1, 31), min_size=1).map(sorted),
    st.sampled_from(["*", "2,3", "1-3", "2", "3", "1,3", "*/2"]),
    st.sampled_from([2027, 2028]),
)
@example([1, 31], "*", 2027)
@example([1, 30], "*", 2028)
@example([1, 28, 31], "*", 2027)
@example([1, 29, 31], "*", 2028)
@example([1, 31], "1,3", 2027)
@settings(max_examples=60, deadline=None)
def test_the_days_are_known_on_which_prefect_does_not_start_a_run(days: list[int], months: str, year: int) -> None:
    cron = f"0 2 {','.join(map(str, days))} {months} *"
    begin, end = datetime(year, 1, 31, 3, tzinfo=UTC), datetime(year, 5, 1, tzinfo=UTC)
    due = {
        moment.date() for moment in takewhile(lambda moment: moment < end, occurrences(cron, ZoneInfo("UTC"), begin))
    }
    started = {moment.date() for moment in by_prefect(cron, len(due) + 1, begin, "UTC") if moment < end}
    assert due - started == {day for day in left_out_by_prefect(cron) if day.year == year and day in due}
    assert started <= due
