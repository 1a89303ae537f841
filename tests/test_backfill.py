"""`exports backfill`: a span of time once more, beside the schedule and never in its way."""

from __future__ import annotations

import pytest
from prefect.states import Pending, Running
from prefect_server import NIGHTLY, deployment_of, run_again, status_of
from workshop import Workshop

from deployments.prefect_api import prefect_api

SPAN = ["--since", "2026-01-02T00:00", "--until", "2026-01-03T08:00:00Z"]
FILE = {"name": "orders_{date:%Y%m%d}.csv"}


@pytest.fixture
def export_id(prefect: Workshop) -> str:
    """An export that has run on this day already."""
    prefect.sqlite()
    export_id = prefect.incremental(columns=["id"], file=FILE)
    assert prefect.json("run", export_id)["rows"] == 3
    return export_id


def test_a_backfill_has_a_name_of_its_own_and_leaves_the_watermark(prefect: Workshop, export_id: str) -> None:
    newest, before = prefect.ledger.newest(export_id), set(prefect.files())
    reports = [prefect.json("backfill", export_id, *SPAN) for _ in range(2)]
    for report in reports:
        (file,) = report["files"]
        assert report["status"] == "succeeded" and prefect.text(file["name"]) == "id\n2\n"
        assert report["run_id"][:8] in file["name"] and file["name"].startswith("orders_20")
        assert report["window"] == {"since": "2026-01-02T00:00:00+00:00", "until": "2026-01-03T08:00:00+00:00"}
    assert len(prefect.files()) == 3 and before < set(prefect.files())
    assert prefect.ledger.newest(export_id) == newest
    assert [entry["kind"] for entry in prefect.json("ledger", export_id)] == ["backfill", "backfill", "scheduled"]
    assert prefect.run("backfill", export_id, *SPAN).stdout.startswith("export:")


def test_a_failed_backfill_stops_nothing_and_goes_on_by_itself(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(columns=["id"])
    prefect.drop.rmdir()
    failed = prefect.json("backfill", export_id, *SPAN, exit_code=1)
    assert failed["error_code"] == "TARGET_DENIED" and failed["relaunchable"]
    prefect.drop.mkdir()
    assert [file["rows"] for file in prefect.json("run", export_id)["files"]] == [3]
    assert prefect.json("report", export_id, "--run", failed["run_id"])["delivered_by"] is None
    prefect.run("relaunch", export_id, "--run", failed["run_id"])
    report = run_again(prefect, failed["run_id"], export_id)
    assert report["status"] == "succeeded" and [file["rows"] for file in report["files"]] == [1]
    assert len(prefect.files()) == 2


def test_a_backfill_runs_beside_a_run_that_is_in_progress(prefect: Workshop, export_id: str) -> None:
    with prefect_api() as client:
        busy = client.create_flow_run_from_deployment(deployment_of(export_id).id, state=Pending())
        client.set_flow_run_state(busy.id, Running())
    assert status_of(prefect, export_id) == "in_progress"
    prefect.json("run", export_id, exit_code=3)
    assert prefect.json("backfill", export_id, *SPAN)["rows"] == 1


def test_a_backfill_of_a_scheduled_export_uses_what_is_frozen(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(columns=["id"], schedule=NIGHTLY)
    prefect.run("activate", export_id)
    prefect.incremental(export_id, columns=["customer"], schedule=NIGHTLY)
    report = prefect.json("backfill", export_id, *SPAN)
    # A moment without a zone is meant in the schedule's: midnight in Brussels.
    assert report["window"]["since"] == "2026-01-01T23:00:00+00:00"
    assert prefect.text(report["files"][0]["name"]) == "id\n2\n" and status_of(prefect, export_id) == "scheduled"
    detached = prefect.json("backfill", export_id, *SPAN, "--detach")
    assert detached["status"] == "scheduled" and detached["export"] == export_id


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        ("2026-01-03T00:00", "2026-01-03T00:00", "not before"),
        ("2026-01-03T00:00", "2026-01-02T00:00", "not before"),
        ("2026-01-03T00:00", "2099-01-01T00:00", "rows may still come"),
        ("yesterday", "2026-01-03", "yesterday is no moment"),
    ],
)
def test_a_span_that_means_nothing_is_refused_before_a_run_begins(
    prefect: Workshop, export_id: str, since: str, until: str, said: str
) -> None:
    error = prefect.json("backfill", export_id, "--since", since, "--until", until, exit_code=1)["error"]
    assert error["code"] == "DEFINITION_INVALID" and said in error["message"]
    assert len(prefect.json("runs", export_id)) == 1


def test_a_backfill_needs_a_span_and_a_time_column(prefect: Workshop, export_id: str) -> None:
    prefect.run("backfill", export_id, "--since", "2026-01-02", exit_code=2)
    full = prefect.export(prefect.id("full"), file={"name": "full.csv"})
    assert "incremental" in prefect.json("backfill", full, *SPAN, exit_code=1)["error"]["message"]
    xid = prefect.export(prefect.id("xid"), type="incremental", cursor={"mode": "xid"}, file={"name": "x_{run}.csv"})
    error = prefect.json("backfill", xid, *SPAN, exit_code=1)["error"]
    assert error["code"] == "DEFINITION_INVALID" and "no time column" in error["message"]
