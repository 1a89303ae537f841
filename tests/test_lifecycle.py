"""Deployments and statuses, as Prefect holds them afterwards."""

import dataclasses
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

import pytest
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.exceptions import ObjectNotFound
from prefect.states import Completed, Pending, Running, Scheduled
from prefect_server import NIGHTLY, deployment_of, status_of, turn_until
from workshop import Workshop

from deployments.apply import deploy
from deployments.prefect_api import prefect_api
from deployments.project import load_project
from deployments.workspace import open_workspace


def test_a_definition_becomes_a_flow_and_a_deployment_of_its_own(prefect: Workshop) -> None:
    prefect.sqlite()
    prefect.database("crm", f"sqlite:///{prefect.folder / 'crm.sqlite'}", tables={"orders": "linked_data"})
    export_id = prefect.export(schedule=NIGHTLY, file={"name": "o_{date:%Y%m%d}.csv"})
    prefect.run("activate", export_id)
    deployment, project, export = deployment_of(export_id), load_project(), prefect.load(export_id)
    assert deployment.entrypoint == f"flows.exports.{export_id}" and deployment.version == export.hash
    assert deployment.parameters == {"since": None, "until": None, "definition": export.frozen()}
    assert set(deployment.tags) == {
        "export",
        project.tag,
        "database:crm",
        "type:periodic_full",
        "data-type:linked_data",
        f"version:{export.hash[:12]}",
    }
    assert deployment.pull_steps == project.pull_steps and deployment.work_pool_name == project.work_pool
    assert "```yaml\nname: " in (deployment.description or "") and "table: orders" in (deployment.description or "")
    (schedule,) = deployment.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone, schedule.active) == (*NIGHTLY.values(), True)
    assert list(deployment.parameter_openapi_schema["properties"]) == ["since", "until", "definition"]
    assert prefect.ledger.definition(export.hash) == export


def test_activate_and_unschedule_move_between_draft_and_scheduled(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    assert status_of(prefect, export_id) == "draft"
    activated = prefect.json("activate", export_id)
    assert activated["status"] == "scheduled" and activated["next_run"] is not None
    assert prefect.json("activate", export_id, exit_code=3)["error"]["code"] == "STATUS_REFUSED"
    waiting = prefect.json("run", export_id, "--detach")
    assert prefect.json("unschedule", export_id)["status"] == "draft"
    with prefect_api() as client, pytest.raises(ObjectNotFound):
        client.read_flow_run(UUID(waiting["run_id"]))
    assert prefect.json("unschedule", export_id, exit_code=3)["error"]["code"] == "STATUS_REFUSED"
    assert prefect.json("activate", export_id)["status"] == "scheduled"


def test_a_run_that_the_scheduler_writes_after_its_schedule_went_off_is_removed_too(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    late: list[str] = []

    def write_late(_seconds: float) -> None:
        late.append(prefect.json("run", export_id, "--detach")["run_id"])

    monkeypatch.setattr("deployments.lifecycle.sleep", write_late)
    assert prefect.json("unschedule", export_id)["status"] == "draft"
    with prefect_api() as client, pytest.raises(ObjectNotFound):
        client.read_flow_run(UUID(late[0]))


@pytest.mark.parametrize("switch", ["deployment", "schedule"])
def test_pausing_in_the_prefect_ui_makes_a_draft(prefect: Workshop, switch: str) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    deployment = deployment_of(export_id)
    with prefect_api() as client:
        if switch == "deployment":
            off = partial(client.pause_deployment, deployment.id)
        else:
            schedule_id = deployment.schedules[0].id
            off = partial(client.update_deployment_schedule, deployment.id, schedule_id, active=False)
        turn_until(prefect, export_id, "draft", off)
    assert prefect.json("plan") == []
    prefect.run("apply")
    assert status_of(prefect, export_id) == "draft", "applying what has not changed must not switch it on again"


def test_statuses_follow_the_runs(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(type="one_shot", target=None)
    assert status_of(prefect, export_id) == "draft"
    run_id = UUID(prefect.json("activate", export_id)["run_id"])
    assert status_of(prefect, export_id) == "scheduled"
    with prefect_api() as client:
        client.set_flow_run_state(run_id, Pending())
        client.set_flow_run_state(run_id, Running())
        assert status_of(prefect, export_id) == "in_progress"
        refused = prefect.json("run", export_id, exit_code=3)["error"]
        assert refused["code"] == "STATUS_REFUSED" and "in progress" in refused["message"]
        client.set_flow_run_state(run_id, Completed(), force=True)
    assert status_of(prefect, export_id) == "finished"
    assert prefect.json("activate", export_id, exit_code=3)["error"]["code"] == "STATUS_REFUSED"


def test_a_one_shot_waits_for_its_moment(prefect: Workshop) -> None:
    prefect.sqlite()
    at = datetime.now(UTC) + timedelta(days=2)
    export_id = prefect.export(type="one_shot", target=None, schedule={"at": at.isoformat()})
    run_id = prefect.json("activate", export_id)["run_id"]
    with prefect_api() as client:
        run = client.read_flow_run(UUID(run_id))
    assert run.expected_start_time is not None and abs((run.expected_start_time - at).total_seconds()) < 1
    assert prefect.json("unschedule", export_id)["removed_runs"] == 1
    assert status_of(prefect, export_id) == "draft"


def test_applying_twice_changes_nothing_the_second_time(prefect: Workshop) -> None:
    prefect.sqlite()
    ids = [prefect.export(prefect.id(stem), schedule=NIGHTLY, file={"name": f"{stem}.csv"}) for stem in ("one", "two")]
    assert [entry["change"] for entry in prefect.json("plan")] == ["new", "new"]
    prefect.run("plan", "--exit-code", exit_code=4)
    assert sorted(entry["export"] for entry in prefect.json("apply")) == sorted(ids)
    before = [deployment_of(export_id) for export_id in ids]
    assert all(deployment.paused for deployment in before)
    assert prefect.json("apply") == [] == prefect.json("plan")
    assert [deployment_of(export_id) for export_id in ids] == before
    prefect.run("plan", "--exit-code", exit_code=0)


def test_an_edited_scheduled_export_is_updated_and_stays_scheduled(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    before = deployment_of(export_id)
    prefect.export(export_id, schedule={**NIGHTLY, "cron": "0 3 * * *"}, where="id > 1")
    (difference,) = prefect.json("plan")
    assert difference == {
        "export": export_id,
        "change": "edited",
        "details": ["schedule", "where"],
        "active": True,
        "kind": "export",
        "changes": [
            {"key": "where", "from": None, "to": "id > 1"},
            {"key": "schedule.cron", "from": "0 2 * * *", "to": "0 3 * * *"},
        ],
        "by_hand": False,
        "renamed_from": None,
    }
    assert "where" not in prefect.json("show", export_id)["definition"]
    prefect.run("apply")
    after = deployment_of(export_id)
    assert after.id == before.id and after.version != before.version and not after.paused
    assert after.schedules[0].id == before.schedules[0].id and after.schedules[0].active
    assert after.schedules[0].schedule.cron == "0 3 * * *"
    assert prefect.json("show", export_id)["definition"]["where"] == "id > 1"
    assert prefect.json("plan") == []


def test_a_draft_edited_by_hand_in_prefect_is_put_right(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("apply")
    with prefect_api() as client:
        client.update_deployment(deployment_of(export_id).id, DeploymentUpdate(description="mine"))
    assert [entry["change"] for entry in prefect.json("plan")] == ["edited"]
    prefect.run("apply")
    assert deployment_of(export_id).description != "mine"


def test_what_left_the_catalog_is_pruned_and_nothing_else(prefect: Workshop) -> None:
    prefect.sqlite()
    gone, stays = prefect.export(prefect.id("gone")), prefect.export(prefect.id("stays"), file={"name": "s.csv"})
    prefect.run("apply")
    with open_workspace() as workspace:
        foreign = workspace.compile(prefect.load(stays))
        name = prefect.id("foreign")
        deploy(workspace.client, dataclasses.replace(foreign, name=name, tags=["export"]), None)
    (prefect.catalog_folder / "exports" / f"{gone}.yaml").unlink()
    assert [(entry["export"], entry["change"]) for entry in prefect.json("plan")] == [(gone, "gone")]
    prefect.run("apply")
    with prefect_api() as client:
        names = {deployment.name for deployment in client.read_deployments(limit=200)}
        client.delete_deployment(client.read_deployment_by_name(f"{name}/{name}").id)
    assert {stays, name} <= names and gone not in names


def test_an_unreadable_definition_is_not_taken_for_one_that_is_gone(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("apply")
    (prefect.catalog_folder / "exports" / f"{export_id}.yaml").write_text("name: [")
    for command in ("plan", "apply"):
        assert prefect.json(command, exit_code=1)["error"]["code"] == "YAML_SYNTAX"
    assert deployment_of(export_id)


def test_a_changed_source_asks_where_to_begin(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule={"cron": "0 2 * * *"})
    prefect.run("run", export_id)
    query = {"table": None, "query": "SELECT * FROM orders WHERE id > 1", "cursor": {"key": ["id"]}}
    prefect.incremental(export_id, schedule={"cron": "0 2 * * *"}, **query)
    for command in (["activate", export_id], ["apply"]):
        assert prefect.json(*command, exit_code=1)["error"]["code"] == "SOURCE_CHANGED"
    prefect.run("activate", export_id, "--since", "2026-01-03T00:00")
    report = prefect.json("run", export_id)
    assert report["rows"] == 1 and report["window"]["since"] == "2026-01-03T00:00:00+00:00"
    assert prefect.ledger.newest(export_id).generation == 2  # type: ignore[union-attr]
    assert prefect.json("plan") == [], "where it began is no difference to the catalog"


def test_scheduled_runs_are_really_made(prefect: Workshop) -> None:
    """SQLAlchemy 2.1 silently stops Prefect's scheduler: the server looks healthy and makes no run."""
    prefect.sqlite()
    export_id = prefect.export(schedule={"cron": "*/5 * * * *"})
    prefect.run("activate", export_id)
    runs = prefect.wait_for(lambda: [run for run in prefect.json("runs", export_id) if run["status"] == "scheduled"])
    assert runs and status_of(prefect, export_id) == "scheduled"


def test_a_worker_runs_what_is_due(prefect: Workshop, prefect_worker: None) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule={"cron": "0 2 * * *"})
    prefect.run("activate", export_id)
    deployment = deployment_of(export_id)
    due = datetime.now(UTC).replace(microsecond=0)
    with prefect_api() as client:
        run = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=due))
    report = prefect.wait_for(lambda: prefect.ended(export_id, str(run.id)))
    assert report["status"] == "succeeded" and report["rows"] == 3
    assert report["window"]["until"] == due.isoformat(), "the window comes from the scheduled time, not the start"
