"""`exports backfill --slots`: the schedule's own windows once more, a file each; and `--dry-run`, which only looks."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from prefect_server import NIGHTLY, status_of
from workshop import Workshop

from catalog.receipt import RunReport
from catalog.schedule import slots_within
from deployments.prefect_api import prefect_api
from deployments.quick_run import run_here

BRUSSELS = ZoneInfo("Europe/Brussels")
FILE = {"name": "orders_{date:%Y%m%d}.csv"}
SPAN = ["--since", "2026-01-01T02:00", "--until", "2026-01-04T02:00", "--slots"]


def spans(cron: str, since: str, until: str) -> list[tuple[str, str]]:
    """The slots' spans of one month in Brussels, as day and hour in UTC."""
    moments = (datetime.fromisoformat(text).replace(tzinfo=BRUSSELS) for text in (since, until))
    return [(f"{low:%d %H:%M}", f"{high:%d %H:%M}") for low, high in slots_within(cron, BRUSSELS, *moments)]


def test_slots_are_whole_windows_of_the_schedule() -> None:
    nights = [("31 01:00", "01 01:00"), ("01 01:00", "02 01:00")]
    assert spans("0 2 * * *", "2025-12-31T02:00", "2026-01-02T02:00") == nights
    # What lies before the first slot and behind the last is in no window of this span.
    assert spans("0 2 * * *", "2025-12-30T02:01", "2026-01-03T01:59") == nights
    assert spans("0 2 * * *", "2026-01-01T02:00", "2026-01-01T23:00") == []
    assert spans("0 2 * * *", "2026-01-01T02:00", "2026-01-01T02:00") == []


@pytest.mark.parametrize(
    ("cron", "since", "until", "expected"),
    [
        # 29 March: from 02:00 to 03:00 there is nothing; what is due then comes at 03:00, which is 01:00 in UTC.
        ("30 2 * * *", "2026-03-28T02:30", "2026-03-30T02:30", [("28 01:30", "29 01:00"), ("29 01:00", "30 00:30")]),
        ("0 * * * *", "2026-03-29T01:00", "2026-03-29T04:00", [("29 00:00", "29 01:00"), ("29 01:00", "29 02:00")]),
        # 25 October: the hour from 02:00 comes twice; a nightly run once, an hourly one each time.
        ("30 2 * * *", "2026-10-24T02:30", "2026-10-26T02:30", [("24 00:30", "25 00:30"), ("25 00:30", "26 01:30")]),
        (
            "0 * * * *",
            "2026-10-25T01:00",
            "2026-10-25T03:00",
            [("24 23:00", "25 00:00"), ("25 00:00", "25 01:00"), ("25 01:00", "25 02:00")],
        ),
    ],
)
def test_where_clocks_change_slots_follow_each_other_without_a_gap(
    cron: str, since: str, until: str, expected: list[tuple[str, str]]
) -> None:
    assert spans(cron, since, until) == expected


@pytest.fixture
def export_id(prefect: Workshop) -> str:
    prefect.sqlite()
    # A lag keeps a run behind its own time, at which a slot ends: what counts is that this is long past.
    return prefect.incremental(columns=["id"], file=FILE, schedule=NIGHTLY, cursor={"lag": "1m"})


def test_each_slot_is_a_run_with_a_file_of_its_own_day(prefect: Workshop, export_id: str) -> None:
    reports = prefect.json("backfill", export_id, *SPAN)
    assert [report["status"] for report in reports] == ["succeeded"] * 3
    windows = [(report["window"]["since"][:16], report["window"]["until"][:16]) for report in reports]
    assert windows == [(f"2026-01-0{day}T01:00", f"2026-01-0{day + 1}T01:00") for day in (1, 2, 3)]
    for day, report in zip((2, 3, 4), reports, strict=True):
        (file,) = report["files"]
        assert file["name"] == f"orders_2026010{day}_backfill_{report['run_id'][:8]}.csv"
        assert prefect.text(file["name"]) == f"id\n{day - 1}\n"
    assert prefect.ledger.newest(export_id) is None, "the watermark stays where it is"
    assert prefect.json("run", export_id)["rows"] == 3
    assert len(prefect.run("backfill", export_id, *SPAN).stdout.split("export: ")) == 4


def test_a_dry_run_shows_windows_names_and_rows_and_delivers_nothing(prefect: Workshop, export_id: str) -> None:
    planned = prefect.json("backfill", export_id, *SPAN, "--dry-run")
    assert [entry["rows"] for entry in planned] == [1, 1, 1]
    assert planned[0] == {
        "window": {"since": "2026-01-01T01:00:00+00:00", "until": "2026-01-02T01:00:00+00:00"},
        "folder": "",
        "files": ["orders_20260102_backfill_xxxxxxxx.csv"],
        "rows": 1,
    }
    whole = prefect.json("backfill", export_id, *SPAN[:4], "--dry-run")
    assert [entry["rows"] for entry in whole] == [3]
    shown = prefect.run("backfill", export_id, *SPAN, "--dry-run")
    assert len(shown.stdout.splitlines()) == 3 and "3 runs, 3 rows; nothing was delivered" in shown.stderr
    assert prefect.files() == {} and prefect.ledger.windows(export_id) == [] and prefect.json("plan") != []


def test_of_an_edited_draft_a_backfill_is_planned_as_it_will_run(prefect: Workshop, export_id: str) -> None:
    assert prefect.json("run", export_id)["rows"] == 3
    other = {"cron": "0 4 * * *", "timezone": "Europe/Brussels"}
    name = {"name": "new_{date:%Y%m%d}.csv"}
    prefect.incremental(export_id, columns=["id"], file=name, schedule=other, cursor={"lag": "1m"}, where="id < 3")
    span = ["--since", "2026-01-01T04:00", "--until", "2026-01-04T04:00", "--slots"]
    planned = prefect.json("backfill", export_id, *span, "--dry-run")
    assert [entry["rows"] for entry in planned] == [1, 1, 0]
    assert planned[0]["files"] == ["new_20260102_backfill_xxxxxxxx.csv"]
    assert [report["rows"] for report in prefect.json("backfill", export_id, *span)] == [1, 1, 0]


def test_what_a_dry_run_counts_is_what_is_delivered(prefect: Workshop, export_id: str) -> None:
    more = "(4, 'd', 1, '2026-01-02 01:00:00'), (5, 'e', 1, '2026-01-02 00:59:59')"
    prefect.sqlite(script=f"INSERT INTO orders VALUES {more}")
    planned = prefect.json("backfill", export_id, *SPAN, "--dry-run")
    assert [entry["rows"] for entry in planned] == [2, 2, 1]
    assert [report["rows"] for report in prefect.json("backfill", export_id, *SPAN)] == [2, 2, 1]


def test_handed_to_a_worker_each_slot_waits_as_a_run(prefect: Workshop, export_id: str) -> None:
    detached = prefect.json("backfill", export_id, *SPAN, "--detach")
    assert [entry["status"] for entry in detached] == ["scheduled"] * 3
    with prefect_api() as client:
        times = [client.read_flow_run(UUID(entry["run_id"])).expected_start_time for entry in detached]
    assert [f"{moment:%d %H}" for moment in times if moment] == ["02 01", "03 01", "04 01"]
    assert status_of(prefect, export_id) == "scheduled"


def test_a_run_that_a_worker_took_first_is_waited_for(
    prefect: Workshop, export_id: str, prefect_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the worker had been quicker: the run stays scheduled, so that it is its to take.
    monkeypatch.setattr("deployments.quick_run._claim", lambda client, run: run)
    night = ["--since", "2026-01-01T02:00", "--until", "2026-01-02T02:00"]
    reports = prefect.json("backfill", export_id, *night, "--slots")
    assert [report["status"] for report in reports] == ["succeeded"] and len(prefect.files()) == 1


def test_one_that_fails_does_not_stop_the_others(prefect: Workshop, export_id: str) -> None:
    prefect.sqlite(script="DELETE FROM orders WHERE id = 2;")
    prefect.incremental(export_id, columns=["id"], file={**FILE, "empty": "fail"}, schedule=NIGHTLY)
    reports = prefect.json("backfill", export_id, *SPAN, exit_code=1)
    assert [report["status"] for report in reports] == ["succeeded", "failed", "succeeded"]
    assert reports[1]["error"]["code"] == "EMPTY_RESULT" and "error" not in reports[0]


def test_what_ran_is_reported_though_the_rest_cannot_begin(
    prefect: Workshop, export_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(*arguments: Any) -> RunReport:
        report = run_here(*arguments)
        # A draft is checked before each run, and somebody changes the table meanwhile.
        prefect.sqlite(script="ALTER TABLE orders RENAME COLUMN id TO number")
        return report

    monkeypatch.setattr("deployments.backfill.run_here", spoil)
    ran, stopped = prefect.json("backfill", export_id, *SPAN, exit_code=1)
    assert ran["status"] == "succeeded" and len(prefect.files()) == 1
    assert stopped.keys() == {"error"} and stopped["error"]["code"] == "COLUMN_MISSING"


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2026-01-01T03:00", "2026-01-02T01:00", "no window of the schedule `0 2 * * *` lies whole"),
        ("2026-01-03T02:00", "2026-01-01T02:00", "not before"),
        ("2026-01-03T02:00", "2099-01-01T02:00", "rows may still come"),
    ],
)
def test_slots_that_cannot_all_be_delivered_are_refused_before_the_first(
    prefect: Workshop, export_id: str, since: str, until: str, said: str
) -> None:
    span = ["--since", since, "--until", until, "--slots"]
    for more in ([], ["--dry-run"], ["--detach"]):
        error = prefect.json("backfill", export_id, *span, *more, exit_code=1)["error"]
        assert error["code"] == "DEFINITION_INVALID" and said in error["message"]
    assert prefect.json("runs", export_id, exit_code=None) == [] and prefect.files() == {}


def test_more_slots_than_anybody_wants_are_refused(prefect: Workshop, export_id: str) -> None:
    prefect.incremental(export_id, schedule={**NIGHTLY, "cron": "* * * * *"})
    span = ["--since", "2025-01-01T00:00", "--slots", "--dry-run", "--until"]
    assert len(prefect.json("backfill", export_id, *span, "2025-01-01T16:40")) == 1000
    error = prefect.json("backfill", export_id, *span, "2025-01-01T16:41", exit_code=1)["error"]
    assert error["code"] == "DEFINITION_INVALID" and "more than 1,000 windows" in error["message"]


def test_slots_need_a_schedule(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    error = prefect.json("backfill", export_id, *SPAN, exit_code=1)["error"]
    assert error["code"] == "SCHEDULE_INVALID" and "no schedule" in error["message"]
