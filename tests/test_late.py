"""Files that are not there by `expect_by`: the watch is started at those times, and tells of each once a day."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.states import Pending, Scheduled
from prefect_server import NIGHTLY, deployment_of, turn_until
from receivers import Webhook
from workshop import Workshop

from deployments.prefect_api import post, prefect_api
from deployments.project import load_project
from flows.exports import export_flow
from flows.watch import watch
from tasks import notify

WATCH = f"{load_project().name}-watch"
ZONE = ZoneInfo(NIGHTLY["timezone"])
#: A day on which everything here is to happen, since nothing of the past can be late.
DAY = datetime.now(ZONE).date() + timedelta(days=1)


def at(clock: str) -> datetime:
    return datetime.combine(DAY, time.fromisoformat(clock), ZONE)


def run_at(deployment_name: str, moment: datetime) -> State[Any]:
    """What a worker does with a run of that time, which may be still to come; returns its last state."""
    with prefect_api() as client:
        made = client.create_flow_run_from_deployment(
            deployment_of(deployment_name).id, state=Scheduled(scheduled_time=moment.astimezone(UTC))
        )
        client.set_flow_run_state(made.id, Pending(), force=True)
        run = client.read_flow_run(made.id)
        flow = watch if deployment_name == WATCH else export_flow(deployment_name)
        run_flow(flow, flow_run=run, parameters=run.parameters, return_type="state")
        state = client.read_flow_run(made.id).state
    assert state is not None
    return state


def events_of_late(export_id: str) -> list[dict[str, Any]]:
    wanted = {"event": {"name": ["export.late"]}, "any_resource": {"id": [f"export.{export_id}"]}}
    with prefect_api() as client:
        found: list[dict[str, Any]] = post(client, "/events/filter", {"filter": wanted})["events"]
    return found


def runs_ahead(export_id: str) -> list[FlowRun]:
    """The runs that Prefect's scheduler has made of DAY and the day after."""
    span = FlowRunFilterExpectedStartTime(after_=at("02:00"), before_=at("02:00") + timedelta(days=1))
    with prefect_api() as client:
        return client.read_flow_runs(
            deployment_filter=DeploymentFilter(name=DeploymentFilterName(any_=[export_id])),
            flow_run_filter=FlowRunFilter(expected_start_time=span),
        )


def activated(workshop: Workshop, export_id: str) -> str:
    """The export, once Prefect's scheduler knows it."""
    workshop.run("activate", export_id)
    workshop.wait_for(lambda: len(runs_ahead(export_id)) == 2)
    return export_id


@pytest.fixture
def nightly(prefect: Workshop, webhook: Webhook) -> str:
    """An active export whose file is expected by 06:00; reports are wanted of successes alone."""
    prefect.sqlite()
    report = {"to": [f"json://{webhook.place}"], "on": ["succeeded"]}
    export_id = prefect.export(name="All orders", schedule=NIGHTLY, expect_by="06:00", report=report)
    return activated(prefect, export_id)


def test_a_late_file_is_told_of_once_a_day(prefect: Workshop, nightly: str, webhook: Webhook) -> None:
    prefect.drop.rmdir()
    assert run_at(nightly, at("02:01")).is_failed()
    state, late = run_at(WATCH, at("06:00")), f"no file by {DAY} 06:00 Europe/Brussels"
    assert state.is_failed() and (state.message or "").startswith(f"FILE_LATE: {nightly}: {late}")
    (message,) = webhook.got
    assert message["title"] == f"[exports] {nightly} late: {late}" and message["type"] == "failure"
    said = message["message"]
    assert said.startswith(f"All orders\n\nexport: {nightly}\n") and "\ndelivered: -\n" in said
    assert ": Failed: TARGET_DENIED: " in said and f"exports runs {nightly}" in said
    (event,) = prefect.wait_for(lambda: events_of_late(nightly))
    assert event["payload"]["expected_by"] == at("06:00").isoformat() and event["payload"]["delivered_at"] is None
    assert event["related"][0]["prefect.resource.id"] == f"prefect.deployment.{deployment_of(nightly).id}"
    assert run_at(WATCH, at("09:00")).is_completed() and len(webhook.got) == 1
    assert run_at(WATCH, at("06:00") + timedelta(days=1)).is_failed() and len(webhook.got) == 2


def test_who_dies_while_telling_leaves_it_to_be_told(
    prefect: Workshop, nightly: str, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: Any) -> None:
        raise MemoryError

    prefect.drop.rmdir()
    with monkeypatch.context() as patched:
        patched.setattr(notify, "send", die)
        assert run_at(WATCH, at("06:00")).is_failed() and webhook.got == []
    assert (run_at(WATCH, at("06:30")).message or "").startswith(f"FILE_LATE: {nightly}: ")
    assert run_at(WATCH, at("07:00")).is_completed() and len(webhook.got) == 1


def test_a_file_that_is_there_is_not_late(prefect: Workshop, nightly: str, webhook: Webhook) -> None:
    assert run_at(nightly, at("02:00")).is_completed()
    assert run_at(WATCH, at("06:00")).is_completed()
    assert webhook.titles() == [f"[exports] {nightly} succeeded: orders.csv"] and events_of_late(nightly) == []


def test_prefect_knows_of_a_late_file_of_which_nobody_wants_reports(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = activated(prefect, prefect.export(schedule=NIGHTLY, expect_by="06:00"))
    assert (run_at(WATCH, at("06:00")).message or "").startswith("FILE_LATE: ")
    assert len(prefect.wait_for(lambda: events_of_late(export_id))) == 1


@pytest.mark.parametrize("how", ["draft", "unscheduled", "schedule", "deployment"])
def test_what_is_not_scheduled_is_not_watched(prefect: Workshop, nightly: str, webhook: Webhook, how: str) -> None:
    with prefect_api() as client:
        deployment = deployment_of(nightly)
        if how == "draft":
            client.delete_deployment(deployment.id)
            prefect.run("apply")
        elif how == "unscheduled":
            prefect.run("unschedule", nightly)
        elif how == "schedule":
            client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)
        else:
            client.pause_deployment(deployment.id)
    assert run_at(WATCH, at("06:00")).is_completed() and webhook.got == []


def test_a_day_whose_run_prefect_left_out_is_not_watched(prefect: Workshop, nightly: str, webhook: Webhook) -> None:
    deployment = deployment_of(nightly)
    with prefect_api() as client:
        turn_until(prefect, nightly, "draft", lambda: client.pause_deployment(deployment.id))
        assert runs_ahead(nightly) == [], "pausing deletes what waits"
        client.resume_deployment(deployment.id)
    prefect.wait_for(lambda: len(runs_ahead(nightly)) == 2)
    # Like a day whose run would have come during the pause, a day this far ahead has none.
    assert run_at(WATCH, at("06:00") + timedelta(days=20)).is_completed() and webhook.got == []
    assert run_at(WATCH, at("06:00")).is_failed() and len(webhook.got) == 1


def test_a_definition_that_was_changed_by_hand_expects_nothing(
    prefect: Workshop, nightly: str, webhook: Webhook
) -> None:
    with prefect_api() as client:
        deployment = deployment_of(nightly)
        definition = {**deployment.parameters["definition"], "expect_by": "05:00"}
        parameters = {**deployment.parameters, "definition": definition}
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))
    assert run_at(WATCH, at("06:00")).is_completed() and webhook.got == []


def test_the_watch_is_started_at_each_time_by_which_a_file_is_expected(prefect: Workshop, nightly: str) -> None:
    def times() -> list[tuple[str, str]]:
        entries = [entry.schedule for entry in deployment_of(WATCH).schedules if entry.active]
        return sorted((entry.cron, entry.timezone) for entry in entries)

    assert times() == [("0 6 * * *", "Europe/Brussels")], "as soon as it is activated"
    tokyo = {"cron": "0 2 * * *", "timezone": "Asia/Tokyo"}
    for stem, keys in {"same": {"schedule": NIGHTLY, "expect_by": "06:00"}, "other": {"schedule": tokyo}}.items():
        prefect.export(prefect.id(stem), file={"name": f"{stem}.csv"}, **{"expect_by": "07:30", **keys})
    assert (WATCH, ["schedule"]) in [(entry["export"], entry["details"]) for entry in prefect.json("plan")]
    prefect.run("apply")
    assert times() == [("0 6 * * *", "Europe/Brussels"), ("30 7 * * *", "Asia/Tokyo")]
    assert prefect.json("plan") == []
    before = deployment_of(WATCH).schedules
    prefect.export(prefect.id("other"), file={"name": "other.csv"}, schedule=tokyo)
    prefect.run("apply")
    assert deployment_of(WATCH).schedules == [entry for entry in before if entry.schedule.timezone != "Asia/Tokyo"]
    prefect.run("unschedule", nightly)
    for export_id in (nightly, prefect.id("same")):
        prefect.run("delete", export_id, "--yes")
    assert deployment_of(WATCH).schedules == [] == prefect.json("plan")
