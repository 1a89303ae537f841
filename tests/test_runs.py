"""Runs through a real Prefect server: what is delivered, what the report says, and how a failed run goes on."""

import sqlite3
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.flow_engine import run_flow
from prefect.states import AwaitingRetry, Pending
from prefect_server import run_again
from workshop import Workshop

from deployments.prefect_api import prefect_api
from flows.exports import export_flow

REPORT_FIELDS = {
    "run_id",
    "export",
    "status",
    "started_at",
    "ended_at",
    "duration_seconds",
    "attempts",
    "files",
    "rows",
    "window",
    "error_code",
    "error_message",
    "relaunchable",
    "delivered_by",
}
FILE_FIELDS = {"name", "path", "target", "rows", "bytes", "sha256", "window"}


def add_order(database: Path, number: int, stamp: str) -> None:
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("INSERT INTO orders VALUES (?, 'new', 1, ?)", (number, stamp))


def test_a_run_delivers_the_file_and_reports_it(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(columns=["id", {"customer": "who"}], where="id < 3", file={"name": "o_{date:%Y}.csv"})
    report = prefect.json("run", export_id)
    assert report.keys() >= REPORT_FIELDS and report["files"][0].keys() >= FILE_FIELDS
    assert report["status"] == "succeeded" and report["attempts"] == 1 and report["rows"] == 2
    assert report["error_code"] is None and report["relaunchable"] is False and report["duration_seconds"] > 0
    assert prefect.files() == {report["files"][0]["name"]: "id,who\n1,Anaïs\n2,\n".encode()}
    assert report == prefect.json("report", export_id)


def test_prefect_shows_the_run_by_its_file_name_its_outcome_and_its_artifact(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    report = prefect.json("run", export_id)
    with prefect_api() as client:
        run = client.read_flow_run(UUID(report["run_id"]))
        key = ArtifactFilterKey(any_=[f"export-{export_id.replace('_', '-')}"])
        (artifact,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=key))
    assert run.name == "orders.csv" and run.state is not None
    assert run.state.message == "orders.csv: 3 rows, 120 B, to drop" == artifact.description
    assert set(run.tags) >= {"export", "database:crm", "type:periodic_full"}
    assert "| orders.csv | 3 | 120 B | drop |" in str(artifact.data) and "## History" in str(artifact.data)


def test_an_incremental_export_delivers_each_row_once(prefect: Workshop) -> None:
    database = prefect.sqlite()
    export_id = prefect.incremental(columns=["id"])
    first = prefect.json("run", export_id)
    add_order(database, 4, "2026-01-04 08:00:00")  # stamped before the watermark: late, and so not seen by mode lag
    second = prefect.json("run", export_id)
    assert first["rows"] == 3 and second["rows"] == 0
    assert first["window"]["since"] is None and second["window"]["since"] == first["window"]["until"]
    assert prefect.text(first["files"][0]["name"]) == "id\n1\n2\n3\n"


def test_a_failed_run_goes_on_under_its_own_window_and_name(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.drop.rmdir()
    failed = prefect.json("run", export_id, exit_code=1)
    assert failed["status"] == "failed" and failed["error_code"] == "TARGET_DENIED" and failed["relaunchable"]
    assert failed["error"]["code"] == "TARGET_DENIED" and "No such file" in failed["error"]["message"]
    (window,) = prefect.ledger.windows(export_id)
    prefect.drop.mkdir()
    assert prefect.json("relaunch", export_id)["run_id"] == failed["run_id"]
    report = run_again(prefect, failed["run_id"], export_id)
    assert report["status"] == "succeeded" and report["attempts"] == 2 and report["rows"] == 3
    assert report["window"] == failed["window"]
    assert list(prefect.files()) == [window.file_name]


def test_the_next_run_delivers_what_is_outstanding_under_its_own_name(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.drop.rmdir()
    failed = [prefect.json("run", export_id, exit_code=1) for _ in range(2)]
    prefect.drop.mkdir()
    report = prefect.json("run", export_id)
    windows = prefect.ledger.windows(export_id)
    assert [file["name"] for file in report["files"]] == [window.file_name for window in reversed(windows)]
    assert sorted(prefect.files()) == sorted(window.file_name for window in windows) and len(windows) == 3
    for run in failed:
        again = prefect.json("report", export_id, "--run", run["run_id"])
        assert again["delivered_by"] == report["run_id"] and again["relaunchable"] is False
    refused = prefect.json("relaunch", export_id, "--run", failed[0]["run_id"], exit_code=3)
    assert refused["error"]["code"] == "STATUS_REFUSED"


def test_a_window_that_a_person_settled_is_said_to_be(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.drop.rmdir()
    failed = prefect.json("run", export_id, exit_code=1)
    prefect.run("ledger", export_id, "--resolve", prefect.ledger.windows(export_id)[0].id, "sent")
    assert "not needed: this window was settled by hand" in prefect.run("report", export_id).stdout
    assert prefect.run("runs", export_id).stdout.endswith("\tsettled by hand\n")
    refused = prefect.json("relaunch", export_id, exit_code=3)["error"]["message"]
    assert refused == f"the window of run {failed['run_id']} was settled by hand: there is nothing to relaunch"


def test_a_retry_of_a_completed_run_delivers_nothing_twice(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    report = prefect.json("run", export_id)
    (name,) = prefect.files()
    (prefect.drop / name).unlink()  # its consumer took it
    with prefect_api() as client:
        client.set_flow_run_state(UUID(report["run_id"]), AwaitingRetry(), force=False)
    again = run_again(prefect, report["run_id"], export_id)
    assert again["status"] == "succeeded" and prefect.files() == {}


def test_a_failed_full_export_is_superseded_when_its_bytes_are_gone(prefect: Workshop) -> None:
    database = prefect.sqlite()
    export_id = prefect.export(file={"name": "o_{run}.csv"})
    database.rename(database.with_name("away.sqlite"))
    failed = prefect.json("run", export_id, exit_code=1)
    assert failed["error_code"] == "SOURCE_UNREACHABLE"
    database.with_name("away.sqlite").rename(database)
    report = prefect.json("run", export_id)
    assert len(report["files"]) == 1 and list(prefect.files()) == [report["files"][0]["name"]]
    states = {window.run_id: str(window.state) for window in prefect.ledger.windows(export_id)}
    assert states == {failed["run_id"]: "SUPERSEDED", report["run_id"]: "COMMITTED"}
    prefect.json("relaunch", export_id, "--run", failed["run_id"])
    assert run_again(prefect, failed["run_id"], export_id)["status"] == "succeeded"
    assert len(prefect.files()) == 2


def test_a_periodic_full_export_replaces_its_own_file_and_no_other(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("run", export_id)
    prefect.sqlite(script="DELETE FROM orders WHERE id = 3;")
    assert prefect.json("run", export_id)["rows"] == 2
    other = prefect.export(prefect.id("other"), columns=["id"])
    failed = prefect.json("run", other, exit_code=1)
    assert failed["error_code"] == "FILE_EXISTS" and failed["relaunchable"] is False
    assert len(prefect.text("orders.csv").splitlines()) == 3


def test_conflict_replace_takes_the_place_of_a_foreign_file(prefect: Workshop) -> None:
    prefect.sqlite()
    (prefect.drop / "orders.csv").write_text("somebody else's")
    export_id = prefect.export(file={"name": "orders.csv", "conflict": "replace"})
    prefect.run("run", export_id)
    assert prefect.text("orders.csv").startswith("id,customer")


def test_a_one_shot_without_target_drops_into_downloads(prefect: Workshop) -> None:
    prefect.sqlite()
    report = prefect.json("run", prefect.export(type="one_shot", target=None))
    (file,) = report["files"]
    assert file["target"] == "downloads" and Path(file["path"]).is_file()
    assert Path(file["path"]).is_relative_to(prefect.folder / ".exports" / "downloads")


def test_a_backfill_delivers_its_span_and_leaves_the_watermark(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(columns=["id"], file={"name": "o_{since:%Y%m%d}_{run}.csv"})
    prefect.run("run", export_id)
    newest = prefect.ledger.newest(export_id)
    with prefect_api() as client:
        deployment = client.read_deployment_by_name(f"{export_id}/{export_id}")
        span = {"since": "2026-01-02T00:00:00Z", "until": "2026-01-03T00:00:00Z"}
        run = client.create_flow_run_from_deployment(deployment.id, parameters=span, state=Pending())
    report = run_again(prefect, str(run.id), export_id)
    assert report["status"] == "succeeded" and prefect.text(report["files"][0]["name"]) == "id\n2\n"
    assert prefect.ledger.newest(export_id) == newest


def test_a_definition_nobody_activated_is_refused(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("run", export_id)
    with prefect_api() as client:
        deployment = client.read_deployment_by_name(f"{export_id}/{export_id}")
        changed = {**deployment.parameters["definition"], "table": "profiles"}
        run = client.create_flow_run_from_deployment(deployment.id, parameters={"definition": changed}, state=Pending())
    report = run_again(prefect, str(run.id), export_id)
    assert report["error_code"] == "DEFINITION_UNREGISTERED" and report["files"] == []


def test_runs_lists_the_newest_first(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    ids = [prefect.json("run", export_id)["run_id"] for _ in range(2)]
    assert [run["run_id"] for run in prefect.json("runs", export_id)] == ids[::-1]
    assert ids[0][:8] in prefect.run("runs", export_id).stdout


@pytest.mark.parametrize("flag", [[], ["--json"]])
def test_a_pipe_gets_data_and_nothing_else(prefect: Workshop, flag: list[str]) -> None:
    prefect.sqlite()
    result = prefect.run("run", prefect.export(), *flag)
    assert result.stderr == "" and result.stdout


def test_a_run_without_rows_says_so_and_its_retry_too(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(where="id > 9", file={"name": "o_{run}.csv", "empty": "skip"})
    report = prefect.json("run", export_id)
    assert (
        report["status"] == "succeeded" and report["files"] == [] and report["message"].startswith("nothing to deliver")
    )
    assert prefect.ledger.windows(export_id)[0].state == "EMPTY" and prefect.files() == {}


def test_a_long_extraction_shows_its_progress(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.report.LONG", 0.0)
    monkeypatch.setattr("tasks.parts.PROGRESS_SECONDS", 0.0)
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("run", export_id)
    with prefect_api() as client:
        key = ArtifactFilterKey(any_=[f"progress-{export_id.replace('_', '-')}"])
        (artifact,) = client.read_artifacts(artifact_filter=ArtifactFilter(key=key))
    assert artifact.data == 100 and artifact.description == "orders.csv: extracted"


def test_a_corrected_definition_delivers_the_window_that_the_wrong_one_could_not(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(columns=["id", "total"])
    prefect.run("run", export_id)
    prefect.sqlite(
        script="ALTER TABLE orders RENAME COLUMN total TO amount; UPDATE orders SET updated_at = '2099-01-01';"
    )
    with prefect_api() as client:  # as a schedule would: the frozen definition, unchecked
        deployment = client.read_deployment_by_name(f"{export_id}/{export_id}")
        run = client.create_flow_run_from_deployment(deployment.id, state=Pending())
    failed = run_again(prefect, str(run.id), export_id)
    assert failed["error_code"] == "COLUMN_MISSING" and failed["relaunchable"] is False
    prefect.incremental(export_id, columns=["id", "amount"])
    report = prefect.json("run", export_id)
    assert report["status"] == "succeeded" and len(report["files"]) == 2
    assert prefect.json("report", export_id, "--run", failed["run_id"])["delivered_by"] == report["run_id"]


def test_an_unreachable_ledger_is_said_in_the_final_state(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("apply")
    with prefect_api() as client:
        deployment = client.read_deployment_by_name(f"{export_id}/{export_id}")
        run = client.create_flow_run_from_deployment(deployment.id, state=Pending())
        monkeypatch.setenv("EXPORTS_LEDGER", "postgresql://nobody@127.0.0.1:1/nowhere")
        run_flow(export_flow(export_id), flow_run=run, parameters=run.parameters, return_type="state")
        state = client.read_flow_run(run.id).state
    assert state is not None and (state.message or "").startswith("LEDGER_UNREACHABLE: the ledger postgresql")
