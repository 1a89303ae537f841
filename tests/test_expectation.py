"""Which files are late when: by the definition, the clock, and what was delivered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from plain_run import run_plainly
from prefect.server.schemas.schedules import CronSchedule
from workshop import Workshop

from catalog.definition import Export
from catalog.errors import ExportError
from catalog.expectation import deadline_before, is_late

ZONE = ZoneInfo("Europe/Brussels")
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NIGHTLY, WEEKDAYS = "0 2 * * *", "0 2 * * 1-5"


def expecting(cron: str, clock: str | None = "06:00") -> Export:
    return Export.model_validate(
        {
            "id": "orders",
            "name": "Orders",
            "type": "periodic_full",
            "database": "crm",
            "table": "orders",
            "file": {"name": "orders.csv"},
            "target": "drop",
            "schedule": {"cron": cron, "timezone": "Europe/Brussels"},
            "expect_by": clock,
        }
    )


def local(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


# 2026-11-20 is a Friday.
@pytest.mark.parametrize(
    ("cron", "now", "deadline"),
    [
        (NIGHTLY, "2026-11-20T06:00", "2026-11-20T06:00"),
        (NIGHTLY, "2026-11-20T23:59", "2026-11-20T06:00"),
        (NIGHTLY, "2026-11-21T05:59", "2026-11-20T06:00"),
        (WEEKDAYS, "2026-11-20T07:00", "2026-11-20T06:00"),
        (WEEKDAYS, "2026-11-21T05:00", "2026-11-20T06:00"),
        (WEEKDAYS, "2026-11-21T07:00", None),
        (WEEKDAYS, "2026-11-22T07:00", None),
        (WEEKDAYS, "2026-11-23T05:59", None),
        (WEEKDAYS, "2026-11-23T06:00", "2026-11-23T06:00"),
        ("0 * * * *", "2026-11-20T06:30", "2026-11-20T06:00"),
        ("0 6 * * *", "2026-11-20T06:00", "2026-11-20T06:00"),
        ("0 0 * * *", "2026-11-20T06:00", "2026-11-20T06:00"),
        ("0 0 1 * *", "2026-11-20T07:00", None),
        ("0 2,22 * * *", "2026-11-20T23:00", "2026-11-20T06:00"),
        # The clocks go forward, and back.
        ("30 2 * * *", "2026-03-29T07:00", "2026-03-29T06:00"),
        ("30 2 * * *", "2026-10-25T07:00", "2026-10-25T06:00"),
    ],
)
def test_days_on_which_a_run_comes_before_the_deadline_count(cron: str, now: str, deadline: str | None) -> None:
    found = deadline_before(expecting(cron), local(now), scheduled_since=LONG_AGO, expected_since=LONG_AGO)
    assert (found and found.at) == (local(deadline) if deadline else None)
    assert found is None or found.day == local(deadline or "").replace(hour=0)


@pytest.mark.parametrize("cron", [NIGHTLY, "30 2 * * *", "0 3 * * *"])
@pytest.mark.parametrize("day", ["2026-03-29", "2026-10-25"])
def test_the_run_of_a_night_in_which_the_clocks_change_counts_wherever_prefect_has_it(cron: str, day: str) -> None:
    found = deadline_before(expecting(cron), local(f"{day}T07:00"), scheduled_since=LONG_AGO, expected_since=LONG_AGO)
    runs = CronSchedule(cron=cron, timezone="Europe/Brussels").get_dates(n=1, start=local(f"{day}T00:00"))
    (run,) = asyncio.run(runs)
    assert found is not None and found.since.timestamp() <= run.timestamp() <= found.at.timestamp()


@pytest.mark.parametrize(
    ("scheduled_since", "expected_since", "counts"),
    [
        ("2026-11-20T01:59", "2026-11-20T01:59", True),
        ("2026-11-20T02:01", "2026-11-01T00:00", False),
        ("2026-11-01T00:00", "2026-11-20T05:59", True),
        ("2026-11-01T00:00", "2026-11-20T06:01", False),
    ],
)
def test_what_was_not_on_yet_is_not_late(scheduled_since: str, expected_since: str, counts: bool) -> None:
    since = {"scheduled_since": local(scheduled_since), "expected_since": local(expected_since)}
    found = deadline_before(expecting(NIGHTLY), local("2026-11-20T07:00"), **since)
    assert (found is not None) == counts


def test_what_expects_nothing_is_never_late() -> None:
    now = local("2026-11-20T07:00")
    assert deadline_before(expecting(NIGHTLY, None), now, scheduled_since=LONG_AGO, expected_since=LONG_AGO) is None


@pytest.mark.parametrize(("delivered", "late"), [(None, True), ("05:59", False), ("06:00", False), ("06:01", True)])
def test_a_file_is_late_when_it_came_after_the_deadline_or_not_at_all(delivered: str | None, late: bool) -> None:
    found = deadline_before(
        expecting(NIGHTLY), local("2026-11-20T07:00"), scheduled_since=LONG_AGO, expected_since=LONG_AGO
    )
    assert found is not None and is_late(found, local(f"2026-11-20T{delivered}") if delivered else None) == late


def test_what_is_delivered_of_a_day(workshop: Workshop) -> None:
    workshop.sqlite()
    begun, noon = datetime.now(UTC), datetime(2026, 3, 2, 12, tzinfo=UTC)
    export_id = workshop.incremental(
        file={"name": "orders_{date:%Y%m%d%H}.csv", "empty": "skip"}, cursor={"lookback": "0s"}
    )
    day = (noon.replace(hour=0), noon.replace(hour=18))

    def delivered() -> datetime | None:
        return workshop.ledger.first_delivery(export_id, *day)

    run_plainly(workshop, export_id, noon - timedelta(days=1))
    assert delivered() is None, "yesterday's file is not today's"
    run_plainly(workshop, export_id, noon)
    assert workshop.ledger.windows(export_id)[0].state == "EMPTY"
    first = delivered()
    assert first is not None and begun < first < datetime.now(UTC), "nothing new is delivered too"
    run_plainly(workshop, export_id, noon + timedelta(hours=1))
    assert delivered() == first


def test_a_window_that_one_target_has_not_got_is_not_delivered(workshop: Workshop) -> None:
    workshop.sqlite()
    other = workshop.folder / "other"
    workshop.target("other", str(other))
    export_id, noon = workshop.export(target=["drop", "other"]), datetime(2026, 3, 2, 12, tzinfo=UTC)
    with pytest.raises(ExportError, match="other"):
        run_plainly(workshop, export_id, noon)
    day = (noon - timedelta(hours=1), noon)
    assert workshop.files() and workshop.ledger.first_delivery(export_id, *day) is None
    other.mkdir()
    run_plainly(workshop, export_id, noon, workshop.ledger.windows(export_id)[0].run_id)
    assert workshop.ledger.first_delivery(export_id, *day) is not None


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"expect_by": "6:00"}, "'6:00' is no time of day"),
        ({"expect_by": "24:00"}, "'24:00' is no time of day"),
        ({"expect_by": 360}, "'360' is no time of day: write it as \"06:00\""),
        ({"schedule": None}, "`expect_by` is for exports with `schedule: {cron: ...}`"),
        ({"schedule": {"cron": "0 7 * * *"}}, "`expect_by` 06:00 is before each day's first run, at 07:00"),
        ({"schedule": {"cron": "*/15 8-18 * * *"}}, "at 08:00 or later"),
    ],
)
def test_what_can_never_be_met_is_refused(workshop: Workshop, keys: dict[str, Any], message: str) -> None:
    workshop.sqlite()
    export_id = workshop.export(**{"expect_by": "06:00", "schedule": {"cron": NIGHTLY}, **keys})
    (problem,) = [found for found in workshop.json("check", export_id, exit_code=1) if found["severity"] == "error"]
    assert message in problem["message"], problem
