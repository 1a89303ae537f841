"""`exports delete`: a draft goes for good, and whoever takes its id inherits nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plain_run import run_plainly
from prefect.exceptions import ObjectNotFound
from prefect_server import NIGHTLY, deployment_of, status_of
from workshop import Workshop

from catalog.windows import State

JANUARY = datetime(2026, 1, 10, tzinfo=UTC)


def rows_of(workshop: Workshop, run_id: str) -> int:
    return sum(file.rows for file in workshop.ledger.delivered_by_run(run_id))


def test_yaml_and_deployment_go_and_runs_and_windows_stay(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    report = prefect.json("run", export_id)
    deleted = prefect.json("delete", export_id, "--yes")
    assert deleted == {
        "id": export_id,
        "file": str(prefect.catalog_folder / f"exports/{export_id}.yaml"),
        "given_up": 0,
    }
    assert not (prefect.catalog_folder / "exports" / f"{export_id}.yaml").exists()
    with pytest.raises(ObjectNotFound):
        deployment_of(export_id)
    assert export_id not in [entry["id"] for entry in prefect.json("list")]
    assert [entry["run_id"] for entry in prefect.json("ledger", export_id)] == [report["run_id"]]
    assert prefect.json("plan") == []


@pytest.mark.parametrize("schedule", [NIGHTLY, None], ids=["same cursor", "other cursor"])
def test_an_id_used_again_begins_anew(prefect: Workshop, schedule: dict[str, str] | None) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    run_plainly(prefect, export_id, JANUARY)
    prefect.run("delete", export_id, "--yes")
    other = {"cursor": {"column": "updated_at", "mode": "lag", "lag": "1s"}} if schedule is None else {}
    prefect.incremental(export_id, **other)
    # An earlier time than the deleted one's, and the very same: neither is covered by what that one did.
    again = run_plainly(prefect, export_id, JANUARY - timedelta(days=8))
    later = run_plainly(prefect, export_id, JANUARY + timedelta(days=1))
    assert rows_of(prefect, again.run_id) == 1 and rows_of(prefect, later.run_id) == 2


def test_an_id_used_again_begins_where_its_definition_says(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    run_plainly(prefect, export_id, JANUARY)
    prefect.run("delete", export_id, "--yes")
    prefect.incremental(export_id, cursor={"start": "2026-01-02T00:00"})
    assert rows_of(prefect, run_plainly(prefect, export_id, JANUARY + timedelta(days=1)).run_id) == 2


@pytest.mark.parametrize("gone", ["deleted", "pruned"])
def test_where_an_export_was_to_begin_that_never_ran_is_not_inherited(prefect: Workshop, gone: str) -> None:
    prefect.sqlite()
    export_id, other = prefect.incremental(), prefect.incremental(prefect.id("other"))
    prefect.run("ledger", other, "--restart", "now", "--yes")
    if gone == "deleted":
        prefect.run("delete", other, "--yes")
        prefect.incremental(other)
    else:
        (prefect.catalog_folder / "exports" / f"{other}.yaml").unlink()
        prefect.run("copy", export_id, other)
    assert rows_of(prefect, run_plainly(prefect, other, JANUARY).run_id) == 3


def test_the_file_of_a_deleted_export_is_not_the_next_ones_own(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    run_plainly(prefect, export_id, JANUARY)
    run_plainly(prefect, export_id, JANUARY + timedelta(days=1))
    prefect.run("delete", export_id, "--yes")
    prefect.sqlite(script="DELETE FROM orders WHERE id = 1")
    prefect.export(export_id)
    ran = prefect.json("run", export_id, exit_code=1)
    assert ran["error_code"] == "FILE_EXISTS"


def test_a_name_that_a_deleted_export_had_is_free_again(prefect: Workshop) -> None:
    prefect.sqlite()
    daily = {"name": "orders_{date:%Y%m%d}.csv"}
    export_id = prefect.incremental(file=daily)
    run_plainly(prefect, export_id, JANUARY)
    prefect.run("delete", export_id, "--yes")
    for path in prefect.drop.iterdir():
        path.unlink()
    prefect.incremental(export_id, file=daily)
    assert rows_of(prefect, run_plainly(prefect, export_id, JANUARY).run_id) == 3


def test_outstanding_windows_are_given_up_and_said_to_be(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.allot(export_id, "00000000-0000-0000-0000-000000000001", JANUARY)
    refused = prefect.run("delete", export_id, exit_code=2)
    assert "1 outstanding windows are given up" in refused.stderr
    assert [window.state for window in prefect.ledger.windows(export_id)] == [State.PLANNED]
    assert prefect.json("delete", export_id, "--yes")["given_up"] == 1
    assert [window.state for window in prefect.ledger.windows(export_id)] == [State.ABANDONED]
    prefect.incremental(export_id)
    assert rows_of(prefect, run_plainly(prefect, export_id, JANUARY).run_id) == 3
    assert len(prefect.files()) == 1


def test_a_copy_inherits_nothing_from_an_id_that_was_pruned(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id, other = prefect.incremental(), prefect.id("other")
    prefect.incremental(other)
    run_plainly(prefect, other, JANUARY)
    (prefect.catalog_folder / "exports" / f"{other}.yaml").unlink()
    prefect.run("copy", export_id, other)
    assert rows_of(prefect, run_plainly(prefect, other, JANUARY).run_id) == 3


def test_it_is_said_where_runs_and_windows_are_seen_then(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("run", export_id)
    said = prefect.run("delete", export_id, "--yes").stderr
    assert "its runs in the Prefect UI" in said and f"`exports ledger {export_id}`" in said
    assert prefect.json("runs", export_id, exit_code=1)["error"]["code"] == "EXPORT_UNKNOWN"
    assert len(prefect.json("ledger", export_id)) == 1


def test_what_does_not_load_can_be_deleted(prefect: Workshop) -> None:
    path = prefect.catalog_folder / "exports" / f"{prefect.id()}.yaml"
    path.write_text("type: [\n")
    assert prefect.json("delete", prefect.id(), "--yes")["file"] == str(path)
    assert not path.exists()


def test_a_deployment_whose_yaml_is_gone_can_be_deleted(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.run("run", export_id)
    (prefect.catalog_folder / "exports" / f"{export_id}.yaml").unlink()
    assert prefect.json("delete", export_id, "--yes")["file"] is None
    with pytest.raises(ObjectNotFound):
        deployment_of(export_id)


def test_only_a_draft_is_deleted(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    error: dict[str, Any] = prefect.json("delete", export_id, "--yes", exit_code=3)["error"]
    assert error["code"] == "STATUS_REFUSED" and "unschedule" in error["hint"]
    assert status_of(prefect, export_id) == "scheduled"
    assert prefect.json("delete", "nowhere", "--yes", exit_code=1)["error"]["code"] == "EXPORT_UNKNOWN"


def test_the_runs_of_a_deleted_export_are_not_the_next_ones(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("run", export_id)
    prefect.run("delete", export_id, "--yes")
    prefect.export(export_id, type="one_shot", file={"name": "once.csv"})
    prefect.run("apply")
    (line,) = prefect.json("list")
    assert line["status"] == "draft" and line["last_run"] is None
    report = prefect.json("run", export_id)
    (line,) = prefect.json("list")
    assert line["status"] == "finished" and line["last_run"]["run_id"] == report["run_id"]


def test_a_failed_run_of_a_deleted_export_is_not_relaunched_as_the_next_ones(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(target="nowhere")
    prefect.target("nowhere", str(prefect.folder / "nowhere"))
    failed = prefect.json("run", export_id, exit_code=1)["run_id"]
    prefect.run("delete", export_id, "--yes")
    prefect.export(export_id)
    for command in ("plan", "apply"):
        prefect.run(command)
        error = prefect.json("relaunch", export_id, "--run", failed, exit_code=3)["error"]
        assert error["code"] == "STATUS_REFUSED" and "was deleted" in error["message"]
