"""The Prefect UI as a full face: what a data engineer without a terminal does all day, click by click.

After each step the `exports` command is asked, which reads the same Prefect and so must say the same.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from browser import PrefectUi
from gated_source import GatedSource
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.schedules import CronSchedule
from prefect_server import NIGHTLY, deployment_of, status_of
from workshop import Workshop

from deployments.companions import ACTION
from deployments.prefect_api import prefect_api
from deployments.project import load_project


def listed(prefect: Workshop, export_id: str) -> dict[str, Any]:
    """The export's line of `exports list`."""
    (line,) = prefect.json("list", "--search", export_id)
    return dict(line)


def test_find_by_tag_read_the_definition_pause_and_resume(prefect: Workshop, ui: PrefectUi) -> None:
    prefect.sqlite()
    export_id, other = prefect.id(), prefect.id("other")
    prefect.export(export_id, schedule=NIGHTLY, data_type="linked_data", where="total > 10")
    prefect.export(other, data_type="profile", file={"name": "other.csv"})
    prefect.run("apply")
    assert status_of(prefect, export_id) == "draft", "new exports are deployed paused"

    assert ui.deployments("data-type:linked_data", "type:periodic_full") == [export_id]
    ui.deployment(export_id)
    ui.tab("Description")
    ui.see("everything, each time")
    ui.see("total > 10")

    ui.switch_deployment()
    assert status_of(prefect, export_id) == "scheduled" and status_of(prefect, other) == "draft"
    ui.switch_schedule()
    assert status_of(prefect, export_id) == "draft"
    ui.switch_schedule()
    assert status_of(prefect, export_id) == "scheduled" and listed(prefect, export_id)["next_run"]

    # The UI shows the deployment's switch to whoever has something to resume, or more than three schedules to pause.
    deployment = deployment_of(export_id)
    more = [DeploymentScheduleCreate(schedule=CronSchedule(cron=f"0 {hour} * * *")) for hour in (3, 4, 5)]
    with prefect_api() as client:
        client.create_deployment_schedules(deployment.id, more)
    ui.deployment(export_id)
    ui.switch_deployment()
    assert status_of(prefect, export_id) == "draft" and deployment_of(export_id).paused
    ui.switch_deployment()
    assert status_of(prefect, export_id) == "scheduled"


def test_run_now_follow_the_steps_read_the_report_and_backfill(
    prefect: Workshop, gated: GatedSource, prefect_worker: None, ui: PrefectUi
) -> None:
    export_id = prefect.incremental(cursor={"lookback": "0s"}, schedule=NIGHTLY)
    prefect.run("activate", export_id)
    ui.deployment(export_id)
    with gated.closed():
        run_id = ui.quick_run()
        prefect.wait_for(lambda: gated.readers() == 1)
        assert status_of(prefect, export_id) == "in_progress"
        ui.run(run_id)
        ui.expect_state("Running")
    report = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
    (name,) = prefect.files()
    assert report["status"] == "succeeded" and report["rows"] == 3
    line = listed(prefect, export_id)
    assert line["status"] == "scheduled"
    assert (line["last_run"]["run_id"], line["last_run"]["status"]) == (run_id, "succeeded")

    ui.expect_state("Completed")
    ui.tab("Task Runs")
    for step in ("allot window", *(f"{verb} {name}" for verb in ("extract", "upload", "publish", "commit"))):
        ui.see(step)
    assert ui.state_message() == report["message"]
    text = ui.read_artifact(f"export-{export_id.replace('_', '-')}", report["files"][0]["path"])
    assert report["message"] in text and "History" in text

    ui.deployment(export_id)
    ui.open_form()
    since, until = (datetime(2026, 1, day, 0, 30, tzinfo=UTC) for day in (2, 3))
    ui.type_moment("since", since)
    ui.type_moment("until", until)
    backfill = ui.submit()
    again = prefect.wait_for(lambda: prefect.ended(export_id, backfill))
    assert again["status"] == "succeeded" and again["rows"] == 1 and len(prefect.files()) == 2
    assert again["window"] == {"since": since.isoformat(), "until": until.isoformat()}
    assert [entry["kind"] for entry in prefect.json("ledger", export_id)] == ["backfill", "scheduled"]


def test_a_failed_run_shows_its_code_and_is_retried(prefect: Workshop, prefect_worker: None, ui: PrefectUi) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    prefect.drop.rmdir()
    ui.deployment(export_id)
    run_id = ui.quick_run()
    failed = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
    assert (failed["error_code"], failed["relaunchable"]) == ("TARGET_DENIED", True)
    assert listed(prefect, export_id)["last_run"]["status"] == "failed"
    ui.run(run_id)
    ui.expect_state("Failed")
    assert ui.state_message().startswith("TARGET_DENIED: ")

    prefect.drop.mkdir()
    ui.retry()
    report = prefect.wait_for(lambda: prefect.ended(export_id, run_id, attempts=2))
    ui.expect_state("Completed")
    assert (report["run_id"], report["status"], report["attempts"]) == (run_id, "succeeded", 2)
    assert report["window"] == failed["window"] and len(prefect.files()) == 1
    ended = [run for run in prefect.json("runs", export_id) if run["status"] != "scheduled"]
    assert [run["run_id"] for run in ended] == [run_id], "a retry is the same run, not another one"
    refused = prefect.json("relaunch", export_id, "--run", run_id, exit_code=3)["error"]
    assert refused["code"] == "STATUS_REFUSED", "it was relaunched by that"


def test_copy_and_check_by_their_forms(prefect: Workshop, prefect_worker: None, ui: PrefectUi) -> None:
    prefect.sqlite()
    export_id, copied = prefect.export(), prefect.id("copied")
    prefect.run("apply")
    copy, check = (f"{load_project().name}-{action}" for action in ("copy", "check"))
    assert {copy, check} <= set(ui.deployments(ACTION))

    ui.deployment(copy)
    ui.open_form()
    ui.type_text("id", export_id)
    ui.type_text("new_id", copied)
    ui.run(ui.submit())
    ui.expect_state("Completed")
    assert ui.state_message() == f"{copied} is a draft named '{export_id} (copy)'"
    assert status_of(prefect, copied) == "draft" and ui.read_artifact("exports-copy", "table: orders")

    prefect.export(copied, columns=["id", "nothing"])
    ui.deployment(check)
    ui.open_form()
    ui.add_item("ids", copied)
    ui.run(ui.submit())
    ui.expect_state("Failed")
    assert ui.state_message().startswith("COLUMN_MISSING: ")
    assert ui.read_artifact("exports-check", copied)
    errors = [found for found in prefect.json("check", copied, exit_code=1) if found["severity"] == "error"]
    assert [found["code"] for found in errors] == ["COLUMN_MISSING"]
