"""`exports list`: what is found, in which order, and that a status is what Prefect says at that moment."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.states import AwaitingRetry, Completed, Crashed, Failed, Pending, Running, Scheduled, State
from prefect_server import NIGHTLY, deployment_of, status_of, turn_until
from workshop import Workshop

from deployments.apply import deploy
from deployments.prefect_api import prefect_api
from deployments.workspace import open_workspace


def run_in(export_id: str, *states: State[Any]) -> str:
    """A run of the export that goes through the states; returns its id."""
    with prefect_api() as client:
        run = client.create_flow_run_from_deployment(deployment_of(export_id).id, state=states[0])
        for state in states[1:]:
            client.set_flow_run_state(run.id, state, force=True)
    return str(run.id)


def line_of(workshop: Workshop, export_id: str) -> dict[str, Any]:
    line: dict[str, Any] = next(entry for entry in workshop.json("list") if entry["id"] == export_id)
    return line


def test_list_filters_combine(prefect: Workshop) -> None:
    prefect.sqlite()
    one = prefect.export(prefect.id("one"), name="Alpha orders", data_type="linked_data")
    prefect.export(prefect.id("two"), name="Beta orders", data_type="profile", file={"name": "b.csv"})
    listed = prefect.json("list", "--search", "ORDERS", "--data-type", "linked_data", "--status", "draft")
    assert [entry["id"] for entry in listed] == [one]
    keys = {"id", "name", "type", "database", "table", "data_type", "status", "version", "next_run", "last_run"}
    assert listed[0].keys() >= keys and listed[0]["last_run"] is None
    assert len(prefect.json("list", "--database", "crm", "--type", "periodic_full")) == 2
    prefect.run("list", "--status", "asleep", exit_code=2)
    prefect.run("list", "--type", "nonsense", exit_code=2)


def test_a_filter_that_names_nothing_there_is_says_what_there_is(prefect: Workshop) -> None:
    prefect.sqlite()
    prefect.database("erp", "sqlite:////nowhere.sqlite")
    prefect.export(data_type="linked_data")
    shown = prefect.run("list", "--database", "cmr", "--data-type", "linked_dta", "--json")
    assert shown.stdout == "[]\n"
    assert "no export has the database 'cmr'; did you mean 'crm'? (there are crm, erp)" in shown.stderr
    assert "no export has the data type 'linked_dta'; did you mean 'linked_data'?" in shown.stderr
    # A database that is there, and that no export reads yet, is no mistake.
    shown = prefect.run("list", "--database", "erp")
    assert shown.stdout == "" and shown.stderr == "0 exports\n"


def test_counts_are_those_of_the_other_filters(prefect: Workshop) -> None:
    prefect.sqlite()
    ids = [prefect.export(prefect.id(stem), schedule=NIGHTLY, file={"name": f"{stem}.csv"}) for stem in ("one", "two")]
    prefect.export(prefect.id("other"), type="one_shot", schedule=None, file={"name": "other.csv"})
    prefect.run("activate", ids[0])
    shown = prefect.run("list", "--type", "periodic_full", "--status", "scheduled")
    assert [line.split("\t")[0] for line in shown.stdout.splitlines()] == [ids[0]]
    assert shown.stderr == "2 exports: 1 draft, 1 scheduled\n"


def test_what_runs_soonest_ended_last_or_is_in_progress_comes_first(prefect: Workshop) -> None:
    prefect.sqlite()
    for name in ("a", "b", "c", "d"):
        prefect.export(prefect.id(name), name=name, schedule=NIGHTLY, file={"name": f"{name}.csv"})
    a, b, c, d = (prefect.id(name) for name in ("a", "b", "c", "d"))
    prefect.run("apply")
    run_in(c, Running(), Completed())
    run_in(a, Running(), Failed())
    run_in(b, Running())
    for export_id, days in ((d, 1), (c, 2)):
        run_in(export_id, Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=days)))
    orders = {
        sort: [entry["id"] for entry in prefect.json("list", "--sort", sort)] for sort in ("next", "last", "status")
    }
    assert orders == {"next": [d, c, a, b], "last": [a, c, b, d], "status": [b, c, d, a]}
    assert [entry["id"] for entry in prefect.json("list")] == [a, b, c, d]
    prefect.run("list", "--sort", "size", exit_code=2)


def test_a_schedule_that_was_switched_on_or_off_counts_at_once(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply", "--activate")
    deployment = deployment_of(export_id)
    (schedule,) = deployment.schedules
    for _ in range(2):
        line = line_of(prefect, export_id)
        assert line["status"] == "scheduled" and line["next_run"] is not None
        with prefect_api() as client:
            off = partial(client.update_deployment_schedule, deployment.id, schedule.id, active=False)
            turn_until(prefect, export_id, "draft", off)
            assert line_of(prefect, export_id)["next_run"] is None
            client.update_deployment_schedule(deployment.id, schedule.id, active=True)


def test_a_run_that_waits_schedules_a_paused_export(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    assert status_of(prefect, export_id) == "draft"
    tomorrow = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    run_in(export_id, Scheduled(scheduled_time=tomorrow))
    line = line_of(prefect, export_id)
    assert line["status"] == "scheduled" and datetime.fromisoformat(line["next_run"]) == tomorrow


def test_the_version_is_that_of_the_deployment_whatever_its_tags_say(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    deployed = prefect.load(export_id).hash
    assert line_of(prefect, export_id)["version"] == deployed
    prefect.export(export_id, where="id > 1", schedule=NIGHTLY)
    assert line_of(prefect, export_id)["version"] == deployed != prefect.load(export_id).hash
    deployment = deployment_of(export_id)
    with prefect_api() as client:
        tags = [tag for tag in deployment.tags if not tag.startswith("version:")]
        client.update_deployment(deployment.id, DeploymentUpdate(tags=tags))
    assert line_of(prefect, export_id)["version"] == deployed


def test_a_retry_is_in_progress_and_not_a_next_run(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export()
    prefect.run("apply")
    earlier = run_in(export_id, Running(), Crashed())
    run_in(export_id, Running(), Failed(), AwaitingRetry())
    line = line_of(prefect, export_id)
    assert line["status"] == "in_progress" and line["next_run"] is None
    assert (line["last_run"]["run_id"], line["last_run"]["status"]) == (earlier, "failed")


@pytest.mark.parametrize(("page", "poor"), [(3, 99), (1, 2), (200, 8)])
def test_the_last_run_is_found_behind_the_many_of_others(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch, page: int, poor: int
) -> None:
    monkeypatch.setattr("deployments.overview.PAGE", page)
    monkeypatch.setattr("deployments.overview._POOR", poor)
    prefect.sqlite()
    quiet, never, busy, idle = (
        prefect.export(prefect.id(stem), file={"name": f"{stem}.csv"}) for stem in ("quiet", "never", "busy", "idle")
    )
    prefect.run("apply")
    last = {export_id: run_in(export_id, Running(), Completed()) for export_id in (quiet, idle)}
    for _ in range(7):
        last[busy] = run_in(busy, Running(), Failed())
    run_in(busy, Pending())
    listed = {entry["id"]: entry["last_run"] and entry["last_run"]["run_id"] for entry in prefect.json("list")}
    assert listed == {**last, never: None}


def test_what_a_person_adds_to_the_flow_of_an_export_is_not_taken_for_the_export(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    with open_workspace() as workspace:
        spec = workspace.compile(prefect.load(export_id))
        copied = dataclasses.replace(spec, name=prefect.id("copied"))
        # As Duplicate in Prefect's UI: the same flow and tags, under another name.
        standing = deploy(workspace.client, copied, None)
        flow = workspace.client.read_flow_by_name(export_id)
        duplicate = workspace.client.create_deployment(
            flow_id=flow.id, name="duplicate", tags=spec.tags, parameters=spec.parameters
        )
        workspace.client.delete_deployment(standing.id)
        run = workspace.client.create_flow_run_from_deployment(duplicate, state=Scheduled())
        workspace.client.create_flow_run_from_deployment(duplicate, state=Completed())
    line = line_of(prefect, export_id)
    assert line["status"] == "draft" and line["next_run"] is None and line["last_run"] is None
    ours = run_in(export_id, Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)))
    assert line_of(prefect, export_id)["next_run"] is not None and UUID(ours) != run.id


def test_no_deployment_is_read_of_exports_that_are_as_the_catalog_has_them(
    prefect: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server takes 7 ms for each deployment with a cron schedule."""
    prefect.sqlite()
    ids = [prefect.export(prefect.id(stem), schedule=NIGHTLY, file={"name": f"{stem}.csv"}) for stem in ("one", "two")]
    prefect.run("apply")
    run_in(ids[0], Scheduled(scheduled_time=datetime.now(UTC) + timedelta(days=1)))
    with prefect_api() as client:
        client.resume_deployment(deployment_of(ids[0]).id)
    read: list[str] = []
    monkeypatch.setattr(
        "deployments.overview.tagged_deployments", lambda client, tag, *, names: read.extend(names) or []
    )
    for tags in (1, 100):
        monkeypatch.setattr("deployments.overview._TAGS", tags)
        assert [entry["status"] for entry in prefect.json("list")] == ["scheduled", "draft"] and read == []
