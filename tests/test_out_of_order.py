"""Odd orders of commands, edits in Prefect's UI, several hands at once, and runs with an odd life."""

import sys
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.states import AwaitingRetry, Cancelled, Failed, Pending, Scheduled
from prefect_server import NIGHTLY, deployment_of, status_of
from workshop import Workshop

from deployments.prefect_api import prefect_api
from manage import output

QUERY = "SELECT * FROM orders WHERE id > 1"


def edited(export_id: str, **definition: Any) -> None:
    """Change the definition in the deployment's parameters, as a person can in Prefect's UI."""
    deployment = deployment_of(export_id)
    parameters = {**deployment.parameters, "definition": {**deployment.parameters["definition"], **definition}}
    with prefect_api() as client:
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))


def test_a_schedule_that_comes_back_does_not_switch_a_draft_on(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    prefect.run("unschedule", export_id)
    prefect.export(export_id)
    prefect.run("apply")
    prefect.export(export_id, schedule=NIGHTLY)
    prefect.run("apply")
    assert status_of(prefect, export_id) == "draft"
    assert prefect.json("activate", export_id)["status"] == "scheduled"


def test_a_deployment_of_somebody_else_is_not_overwritten(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    with prefect_api() as client:
        flow_id = client.create_flow_from_name(export_id)
        theirs = client.create_deployment(
            flow_id, export_id, description="theirs", entrypoint="their.flow", paused=False
        )
    try:
        for command in (["apply"], ["run", export_id]):
            assert prefect.json(*command, exit_code=1)["error"]["code"] == "DEFINITION_DUPLICATE"
        assert deployment_of(export_id).description == "theirs" and not deployment_of(export_id).paused
    finally:
        with prefect_api() as client:
            client.delete_deployment(theirs)


def test_a_run_of_another_export_is_not_taken_for_this_ones(prefect: Workshop) -> None:
    prefect.sqlite()
    one, other = prefect.export(prefect.id("one")), prefect.export(prefect.id("other"), file={"name": "other.csv"})
    prefect.run("apply")
    prefect.drop.rmdir()
    failed = prefect.json("run", one, exit_code=1)
    for command in ("report", "relaunch"):
        error = prefect.json(command, other, "--run", failed["run_id"], exit_code=1)["error"]
        assert error["code"] == "EXPORT_UNKNOWN" and failed["run_id"] in error["message"]


def test_a_waiting_run_is_found_by_its_first_digits(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    run_id = prefect.json("run", export_id, "--detach")["run_id"]
    assert prefect.json("report", export_id, "--run", run_id[:8])["status"] == "scheduled"


def test_the_next_run_is_listed_beside_one_that_waits_for_its_retry(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("apply")
    with prefect_api() as client:
        deployment = deployment_of(export_id)
        failed = client.create_flow_run_from_deployment(deployment.id, state=Pending())
        client.set_flow_run_state(failed.id, Failed(), force=True)
        client.set_flow_run_state(failed.id, AwaitingRetry(), force=False)
        later = datetime.now(UTC) + timedelta(days=1)
        client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=later))
    assert sorted(run["status"] for run in prefect.json("runs", export_id)) == ["running", "scheduled"]


def test_a_run_by_hand_goes_on_after_its_source_changed(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.run("run", export_id)
    prefect.incremental(export_id, table=None, query="SELECT * FROM orders WHERE id > 1", cursor={"key": ["id"]})
    refused = prefect.json("run", export_id, exit_code=1)["error"]
    assert refused["code"] == "SOURCE_CHANGED" and "exports apply --since" in refused["hint"]
    prefect.run("apply", "--since", "2026-01-03T00:00")
    assert prefect.json("run", export_id)["window"]["since"] == "2026-01-03T00:00:00+00:00"


def test_an_edit_before_the_first_run_keeps_the_chosen_beginning(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    prefect.run("run", export_id)
    other = {"table": None, "query": QUERY, "cursor": {"key": ["id"]}, "schedule": NIGHTLY}
    prefect.incremental(export_id, **other)
    prefect.run("activate", export_id, "--since", "2026-01-03T00:00")
    prefect.incremental(export_id, **other, retries=1)
    prefect.run("apply")
    assert prefect.json("show", export_id)["definition"]["cursor"]["start"].startswith("2026-01-03T00:00")


def test_a_beginning_that_would_be_passed_over_is_refused(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    prefect.run("run", export_id)
    for since in ("now", "yesterday-ish"):
        assert "--since" in prefect.json("activate", export_id, "--since", since, exit_code=1)["error"]["message"]
    assert status_of(prefect, export_id) == "draft"


def test_an_edited_one_shot_waits_with_its_new_definition_and_moment(prefect: Workshop) -> None:
    prefect.sqlite()
    one_shot = {"type": "one_shot", "target": None}
    export_id = prefect.export(**one_shot, schedule={"at": "2099-01-01T10:00", "timezone": "Europe/Brussels"})
    prefect.run("activate", export_id)
    prefect.export(
        export_id, **one_shot, where="id > 1", schedule={"at": "2099-01-02T10:00", "timezone": "Europe/Brussels"}
    )
    assert prefect.json("plan")[0]["active"] is True
    prefect.run("apply")
    (waiting,) = prefect.json("runs", export_id)
    with prefect_api() as client:
        run = client.read_flow_run(UUID(waiting["run_id"]))
    assert run.parameters["definition"]["where"] == "id > 1"
    assert run.expected_start_time == datetime(2099, 1, 2, 9, tzinfo=UTC)
    assert status_of(prefect, export_id) == "scheduled"


def test_a_span_left_in_the_deployments_parameters_is_put_right(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    deployment = deployment_of(export_id)
    span = {"since": "2026-01-01T00:00:00Z", "until": "2026-01-02T00:00:00Z"}
    with prefect_api() as client:
        client.update_deployment(deployment.id, DeploymentUpdate(parameters={**deployment.parameters, **span}))
    (difference,) = prefect.json("plan")
    assert difference["change"] == "edited" and difference["details"] == ["since", "until"]
    prefect.run("apply")
    assert deployment_of(export_id).parameters["since"] is None and prefect.json("plan") == []


def test_a_beginning_spoilt_in_prefect_is_put_right(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.run("apply")
    edited(export_id, cursor={**deployment_of(export_id).parameters["definition"]["cursor"], "start": "soon"})
    assert [entry["change"] for entry in prefect.json("plan")] == ["edited"]
    prefect.run("apply")
    assert prefect.json("plan") == []


def test_a_broken_definition_does_not_keep_its_schedule_from_being_switched_off(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    (prefect.catalog_folder / "exports" / f"{export_id}.yaml").write_text("name: [")
    assert prefect.json("unschedule", export_id)["status"] == "draft"
    assert not deployment_of(export_id).schedules[0].active


def test_what_vanishes_from_prefect_meanwhile_is_said(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("apply")
    (prefect.catalog_folder / "exports" / f"{export_id}.yaml").unlink()
    standing = deployment_of(export_id)
    with prefect_api() as client:
        client.delete_deployment(standing.id)
    monkeypatch.setattr("deployments.carry_out.tagged_deployments", lambda *_: [standing])
    assert [entry["change"] for entry in prefect.json("apply")] == ["gone"]


def test_a_run_cancelled_while_it_waited_can_be_relaunched(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    run_id = prefect.json("run", export_id, "--detach")["run_id"]
    with prefect_api() as client:
        client.set_flow_run_state(UUID(run_id), Cancelled())
    report = prefect.json("report", export_id)
    assert (report["status"], report["error_code"], report["attempts"]) == ("failed", "CANCELLED", 0)
    assert report["relaunchable"] and report["duration_seconds"] is None
    prefect.run("report", export_id)
    assert prefect.json("relaunch", export_id)["run_id"] == run_id
    assert prefect.json("report", export_id)["ended_at"] is None


def test_apply_goes_on_where_it_was_interrupted(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as unlucky:
        unlucky.setattr("deployments.carry_out.switch_on", interrupt)
        prefect.run("apply", "--activate", exit_code=None)
    prefect.run("apply", "--activate")
    assert status_of(prefect, export_id) == "scheduled"


def test_a_worker_that_ends_by_itself_is_an_error(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    from contextlib import nullcontext

    class Gone:
        returncode = 1

        def wait(self) -> int:
            return 1

    monkeypatch.setattr("manage.server.worker", lambda *_: nullcontext(Gone()))
    result = prefect.run("start", exit_code=1)
    assert "Error: PROCESS_VANISHED: the worker ended" in result.stderr


def test_since_is_for_what_changed_and_not_for_what_is_new(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.run("run", export_id)
    prefect.incremental(export_id, table=None, query=QUERY, cursor={"key": ["id"]})
    new = prefect.incremental(prefect.id("new"), file={"name": "new_{run}.csv"})
    prefect.run("apply", "--since", "now")
    assert prefect.json("show", export_id)["definition"]["cursor"]["start"] is not None
    assert prefect.json("run", new)["rows"] == 3


def test_data_that_looks_like_markup_is_shown_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output.table(["name"], [["[/b] [red]x :smile:"]])
    assert "[/b] [red]x :smile:" in capsys.readouterr().out


def test_in_a_pipe_a_row_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(["id", "name"], [["orders", "Orders\tof the\r\nnight"], ["forms", "Forms"]])
    assert capsys.readouterr().out == "orders\tOrders of the night\nforms\tForms\n"


def test_a_ledger_that_was_lost_is_a_difference_that_apply_mends(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    (prefect.folder / "state" / "ledger.sqlite").unlink()
    assert [(entry["change"], entry["details"]) for entry in prefect.json("plan")] == [("edited", ["ledger"])]
    prefect.run("apply")
    assert prefect.json("plan") == [] and status_of(prefect, export_id) == "scheduled"
    assert prefect.json("run", export_id)["status"] == "succeeded"


def test_a_preview_after_a_change_of_source_begins_where_the_run_would(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental()
    prefect.run("run", export_id)
    assert prefect.json("preview", export_id)["window"]["since"] is not None
    prefect.incremental(export_id, table=None, query=QUERY, cursor={"key": ["id"]})
    assert prefect.json("preview", export_id)["window"]["since"] is None
