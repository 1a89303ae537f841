"""However runs come about and whatever else is going on, each row arrives once, under the name of its own day."""

from __future__ import annotations

import csv
import time
from datetime import UTC, datetime, timedelta
from functools import partialmethod
from itertools import chain
from uuid import UUID

import pytest
from gated_source import GatedSource
from prefect.states import Scheduled
from prefect_server import deployment_of, run_again
from test_runs import add_order
from workshop import Workshop

from deployments.prefect_api import prefect_api
from tasks.ledger import Ledger
from tasks.ledger.lock import hold

CURSOR = {"column": "updated_at", "lag": "0s", "lookback": "0s"}


def due(export_id: str, at: datetime) -> str:
    """A run that the schedule made for that moment; a worker that is there takes it."""
    with prefect_api() as client:
        state = Scheduled(scheduled_time=at)
        return str(client.create_flow_run_from_deployment(deployment_of(export_id).id, state=state).id)


def ids_by_file(workshop: Workshop) -> dict[str, list[int]]:
    """The ids in each dropped file, by name."""
    found = {}
    for path in sorted(workshop.drop.iterdir()):
        with path.open(newline="") as file:
            found[path.name] = [int(row["id"]) for row in csv.DictReader(file)]
    return found


def test_after_four_dead_days_one_relaunch_delivers_four_files_without_asking_the_source(
    prefect: Workshop, request: pytest.FixtureRequest
) -> None:
    database = prefect.sqlite()
    export_id = prefect.incremental(cursor=CURSOR, file={"name": "orders_{date:%Y%m%d}.csv"})
    prefect.run("apply")
    prefect.drop.rmdir()
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    days = [today - timedelta(days=back) for back in (4, 3, 2, 1)]
    dead = []
    for number, day in enumerate(days, start=4):
        dead.append(due(export_id, day))
        report = run_again(prefect, dead[-1], export_id)
        assert report["error_code"] == "TARGET_DENIED" and report["relaunchable"] and report["files"] == []
        add_order(database, number, f"{day:%Y-%m-%d} 08:00:00")
    prefect.drop.mkdir()
    database.rename(database.with_name("away.sqlite"))

    assert prefect.json("relaunch", export_id)["run_id"] == dead[-1]
    request.getfixturevalue("prefect_worker")
    report = prefect.wait_for(lambda: prefect.ended(export_id, dead[-1], attempts=2))
    assert report["status"] == "succeeded" and report["rows"] == 6
    names = [f"orders_{day:%Y%m%d}.csv" for day in days]
    assert [file["name"] for file in report["files"]] == names
    assert ids_by_file(prefect) == dict(zip(names, [[1, 2, 3], [4], [5], [6]], strict=True))
    for run_id in dead[:-1]:
        other = prefect.json("report", export_id, "--run", run_id)
        assert other["delivered_by"] == dead[-1] and other["relaunchable"] is False and other["attempts"] == 1
    database.with_name("away.sqlite").rename(database)
    assert prefect.json("run", export_id)["rows"] == 1, "the row of the last day is in the next window"


def test_a_source_that_is_away_too_does_not_hide_what_stands_in_the_way(prefect: Workshop) -> None:
    database = prefect.sqlite()
    export_id = prefect.incremental(cursor=CURSOR)
    prefect.run("apply")
    prefect.drop.rmdir()
    days = [datetime(2026, 2, number, tzinfo=UTC) for number in (1, 2, 3)]
    run_again(prefect, due(export_id, days[0]), export_id)
    database.rename(database.with_name("away.sqlite"))
    assert run_again(prefect, due(export_id, days[1]), export_id)["error_code"] == "TARGET_DENIED"
    states = [str(window.state) for window in prefect.ledger.windows(export_id)]
    assert states == ["PLANNED", "EXTRACTED"]
    database.with_name("away.sqlite").rename(database)
    prefect.drop.mkdir()
    assert len(run_again(prefect, due(export_id, days[2]), export_id)["files"]) == 3


def test_late_runs_that_start_together_deliver_each_row_once(prefect: Workshop, request: pytest.FixtureRequest) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(cursor=CURSOR)
    prefect.run("apply")
    begin = datetime(2026, 1, 1, 12, tzinfo=UTC)
    late = [due(export_id, begin + timedelta(days=days)) for days in (2, 0, 1)]
    request.getfixturevalue("prefect_worker")
    reports = [prefect.wait_for(lambda run_id=run_id: prefect.ended(export_id, run_id)) for run_id in late]
    assert [report["status"] for report in reports] == ["succeeded"] * 3
    assert sorted(chain(*ids_by_file(prefect).values())) == [1, 2, 3]
    windows = prefect.ledger.windows(export_id)[::-1]
    assert windows[0].bounds.low is None and windows[-1].run_id == late[0], "the latest has the end of the span"
    assert [window.bounds.low for window in windows[1:]] == [window.bounds.high for window in windows[:-1]]
    for run_id, report in zip(late, reports, strict=True):
        if run_id not in {window.run_id for window in windows}:
            assert report["message"].startswith("nothing to do: run ") and report["files"] == []


def test_a_quick_run_beside_a_scheduled_one_waits_and_repeats_nothing(
    prefect: Workshop, gated: GatedSource, prefect_worker: None
) -> None:
    export_id = prefect.incremental(cursor=CURSOR)
    prefect.run("apply")
    with gated.closed():
        scheduled = due(export_id, datetime.now(UTC))
        prefect.wait_for(lambda: gated.readers() == 1)
        quick = due(export_id, datetime.now(UTC))
        prefect.wait_for(lambda: prefect.ledger.window_of_run(quick))
        refused = prefect.json("run", export_id, exit_code=3)["error"]
        assert refused["code"] == "STATUS_REFUSED", "the command asks first; the dashboard does not"
        gated.add(4, "2026-01-04 08:00")
    reports = [
        prefect.wait_for(lambda run_id=run_id: prefect.ended(export_id, run_id)) for run_id in (scheduled, quick)
    ]
    assert [report["status"] for report in reports] == ["succeeded"] * 2
    # Stamped within the first window and committed while it was read: with neither lag nor lookback it is lost.
    assert sorted(chain(*ids_by_file(prefect).values())) == [1, 2, 3]
    assert len(prefect.files()) == 2 and {str(window.state) for window in prefect.ledger.windows(export_id)} == {
        "COMMITTED"
    }


def test_a_run_that_finds_another_at_work_for_too_long_is_busy_and_can_be_relaunched(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(cursor=CURSOR)
    holder = "11111111-1111-1111-1111-111111111111"
    with monkeypatch.context() as impatient, hold(prefect.ledger.engine, export_id, holder):
        impatient.setattr(Ledger, "take_turn", partialmethod(Ledger.take_turn, wait_seconds=0.6))
        busy = prefect.json("run", export_id, exit_code=1)
    assert busy["error_code"] == "EXPORT_BUSY" and holder in busy["error_message"] and busy["relaunchable"]
    assert prefect.files() == {}
    prefect.run("relaunch", export_id)
    report = run_again(prefect, busy["run_id"], export_id)
    assert report["status"] == "succeeded" and report["rows"] == 3 and report["window"] == busy["window"]
    with prefect_api() as client:
        assert client.read_flow_run(UUID(busy["run_id"])).run_count == 2


def test_a_window_ends_at_the_scheduled_time_wherever_the_machine_is(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(cursor={**CURSOR, "lag": "1m"})
    prefect.run("apply")
    at = datetime(2026, 7, 1, 12, tzinfo=UTC)
    with monkeypatch.context() as abroad:
        abroad.setenv("TZ", "America/New_York")
        time.tzset()
        report = run_again(prefect, due(export_id, at), export_id)
    time.tzset()
    assert report["window"]["until"] == "2026-07-01T11:59:00+00:00"
    assert list(prefect.files()) == ["orders_20260701T120000000000.csv"]
