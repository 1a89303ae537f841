"""Runs that are ended in the middle: by a person, by a signal, with their worker; and a run without its server."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from gated_source import GatedSource
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Cancelling, Crashed, Scheduled
from prefect_server import QUIET, deployment_of, events_of, free_port
from receivers import Webhook
from workshop import Workshop

from deployments.prefect_api import post, prefect_api
from deployments.project import load_project
from manage.server import server, worker

CURSOR = {"cursor": {"column": "updated_at", "lag": "0s", "lookback": "0s"}}


def telling(webhook: Webhook) -> dict[str, Any]:
    return {"report": {"to": [f"json://{webhook.place}"]}}


def in_the_middle(workshop: Workshop, gated: GatedSource, export_id: str) -> tuple[str, int]:
    """A run that a worker has begun and that waits for its source: its id and process."""
    run_id = workshop.json("run", export_id, "--detach")["run_id"]
    return run_id, at_the_gate(workshop, gated, run_id)


def at_the_gate(workshop: Workshop, gated: GatedSource, run_id: str) -> int:
    workshop.wait_for(lambda: gated.readers() == 1)
    return workshop.ledger.attempts_of_run(run_id)[0].pid


def state_of(run_id: str) -> tuple[StateType, str]:
    with prefect_api() as client:
        state = client.read_flow_run(UUID(run_id)).state
    assert state is not None
    return state.type, state.message or ""


def relaunched(workshop: Workshop, export_id: str, run_id: str) -> dict[str, Any]:
    """The report of the run after `exports relaunch` and a worker, its second attempt."""
    assert workshop.json("relaunch", export_id, "--run", run_id)["run_id"] == run_id
    return workshop.wait_for(lambda: workshop.ended(export_id, run_id, attempts=2))


def test_a_run_that_is_cancelled_in_the_middle_goes_on_when_it_is_relaunched(
    prefect: Workshop, gated: GatedSource, prefect_worker: None, webhook: Webhook
) -> None:
    export_id = prefect.incremental(**CURSOR, **telling(webhook))
    with gated.closed():
        run_id, _ = in_the_middle(prefect, gated, export_id)
        with prefect_api() as client:
            client.set_flow_run_state(UUID(run_id), Cancelling())
        cancelled = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
        assert (cancelled["status"], cancelled["error_code"]) == ("failed", "CANCELLED") and cancelled["relaunchable"]
    assert webhook.titles() == [f"[exports] {export_id} failed: CANCELLED"]
    report = relaunched(prefect, export_id, run_id)
    assert report["status"] == "succeeded" and report["rows"] == 3 and report["window"] == cancelled["window"]
    assert len(prefect.files()) == 1


def test_a_run_that_is_terminated_says_so_and_goes_on_when_it_is_relaunched(
    prefect: Workshop, gated: GatedSource, prefect_worker: None, webhook: Webhook
) -> None:
    export_id = prefect.incremental(**CURSOR, **telling(webhook))
    with gated.closed():
        run_id, process = in_the_middle(prefect, gated, export_id)
        os.kill(process, signal.SIGTERM)
        stopped = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
        assert (stopped["status"], stopped["error_code"]) == ("failed", "STOPPED") and stopped["relaunchable"]
        assert prefect.json("ledger", export_id)[0]["error_code"] == "STOPPED"
    assert webhook.titles() == [f"[exports] {export_id} failed: STOPPED"]
    report = relaunched(prefect, export_id, run_id)
    assert report["status"] == "succeeded" and report["rows"] == 3 and len(prefect.files()) == 1


def begun_by_schedule(workshop: Workshop, gated: GatedSource, export_id: str) -> tuple[str, int]:
    """A scheduled run in the middle of its work: its id and process."""
    run_id = due(export_id)
    return run_id, at_the_gate(workshop, gated, run_id)


def due(export_id: str) -> str:
    """A run that the schedule has just made."""
    with prefect_api() as client:
        run = client.create_flow_run_from_deployment(deployment_of(export_id).id, state=Scheduled())
    return str(run.id)


@contextmanager
def a_worker(home: Path, api: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(home)}
    with worker(api, load_project().work_pool, environment, home / "worker.log") as process:
        yield process


def has_beaten(run_id: str) -> bool:
    """Whether Prefect has got a heartbeat of the run."""
    resource = {"id": [f"prefect.flow-run.{run_id}"]}
    wanted = {"filter": {"event": {"name": ["prefect.flow-run.heartbeat"]}, "resource": resource}}
    with prefect_api() as client:
        return bool(post(client, "/events/filter", wanted)["events"])


def died_with_its_worker(
    workshop: Workshop, gated: GatedSource, export_id: str, home: Path, api: str
) -> tuple[str, int]:
    """A scheduled run whose whole machine died in the middle of it, unseen by Prefect: its id and process."""
    with gated.closed(), a_worker(home, api) as doomed:
        dead, process = begun_by_schedule(workshop, gated, export_id)
        at_work = workshop.json("report", export_id, "--run", dead)
        assert (at_work["status"], at_work["error_code"]) == ("running", None)
        # One that dies before Prefect has heard of it at all is found by the next run alone.
        workshop.wait_for(lambda: has_beaten(dead))
        doomed.kill()
        os.kill(process, signal.SIGKILL)
        doomed.wait()
        # A busy machine takes its time to end a process that was killed.
        workshop.wait_for(lambda: not workshop.ledger.is_at_work(export_id))
    return dead, process


def test_what_a_dead_machine_left_is_delivered_by_the_next_run_at_once(
    prefect: Workshop, gated: GatedSource, prefect_url: str, prefect_home: Path, webhook: Webhook
) -> None:
    export_id = prefect.incremental(**CURSOR, **telling(webhook))
    prefect.run("apply")
    dead, process = died_with_its_worker(prefect, gated, export_id, prefect_home, prefect_url)
    gated.add(4, "2026-01-04 08:00")
    assert state_of(dead)[0] is StateType.RUNNING, "Prefect has not noticed"
    vanished = prefect.json("report", export_id, "--run", dead)
    assert (vanished["status"], vanished["error_code"]) == ("failed", "PROCESS_VANISHED") and vanished["relaunchable"]
    with a_worker(prefect_home, prefect_url):
        survivor = due(export_id)
        report = prefect.wait_for(lambda: prefect.ended(export_id, survivor))
    assert report["status"] == "succeeded" and [file["rows"] for file in report["files"]] == [4, 0]
    (note,) = report["notes"]
    assert note.startswith(f"took over from run {dead}, which died at work on ") and str(process) in note
    (turn,) = prefect.ledger.attempts_of_run(survivor)
    waited = turn.began_at - datetime.fromisoformat(report["started_at"])
    assert waited < timedelta(seconds=5), "a lock outlived its holder"
    kind, message = state_of(dead)
    assert kind is StateType.CRASHED and message.startswith("PROCESS_VANISHED: ") and survivor in message
    buried = prefect.json("report", export_id, "--run", dead)
    assert (buried["status"], buried["error_code"]) == ("failed", "PROCESS_VANISHED")
    assert buried["delivered_by"] == survivor and buried["relaunchable"] is False
    assert len(prefect.files()) == 2
    # Of the dead one the survivor tells, or the watch that was started by its crash: the first who comes to it.
    told = prefect.wait_for(lambda: webhook.got if len(webhook.got) == 2 else None)
    by_title = {message["title"]: message["message"] for message in told}
    assert by_title.keys() == {
        f"[exports] {export_id} succeeded: {report['files'][0]['name']} and 1 more",
        f"[exports] {export_id} failed: PROCESS_VANISHED",
    }
    of_dead = by_title[f"[exports] {export_id} failed: PROCESS_VANISHED"]
    assert f"run: {dead}\n" in of_dead and survivor in of_dead
    (event,) = prefect.wait_for(lambda: events_of(f"prefect.flow-run.{dead}"))
    assert event["payload"]["run_id"] == dead and event["resource"]["export.error-code"] == "PROCESS_VANISHED"
    roles = {found["prefect.resource.role"]: found["prefect.resource.id"] for found in event["related"]}
    assert roles["flow-run"] == f"prefect.flow-run.{dead}" != roles["found-by"]
    assert roles["deployment"] == f"prefect.deployment.{deployment_of(export_id).id}"


def unfinished(export_id: str, crashed: str) -> list[str]:
    """The export's runs, and those of the watch that were to tell of the crashed one, that should have ended."""
    alive = FlowRunFilterState(
        type=FlowRunFilterStateType(any_=[kind for kind in StateType if kind not in TERMINAL_STATES])
    )
    due, export = FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)), deployment_of(export_id).id
    with prefect_api() as client:
        runs = client.read_flow_runs(flow_run_filter=FlowRunFilter(state=alive, expected_start_time=due))
    ours = [run for run in runs if run.deployment_id == export or run.parameters.get("crashed_run") == crashed]
    return [f"{run.name}: {run.state_name}" for run in ours]


def test_a_run_whose_machine_died_is_crashed_within_three_minutes_told_of_once_and_nothing_is_left_hanging(
    prefect: Workshop, gated: GatedSource, prefect_url: str, prefect_home: Path, webhook: Webhook
) -> None:
    export_id = prefect.incremental(**CURSOR, **telling(webhook))
    prefect.run("apply")
    dead, _ = died_with_its_worker(prefect, gated, export_id, prefect_home, prefect_url)
    assert state_of(dead)[0] is StateType.RUNNING
    prefect.wait_for(lambda: state_of(dead)[0] is StateType.CRASHED, seconds=180)
    assert state_of(dead)[1].startswith("PROCESS_VANISHED: ")
    report = prefect.json("report", export_id, "--run", dead)
    assert (report["status"], report["error_code"]) == ("failed", "PROCESS_VANISHED") and report["relaunchable"]
    with a_worker(prefect_home, prefect_url):
        prefect.wait_for(lambda: webhook.got)
        survivor = due(export_id)
        delivered = prefect.wait_for(lambda: prefect.ended(export_id, survivor))
        prefect.wait_for(lambda: not unfinished(export_id, dead))
    assert delivered["status"] == "succeeded" and delivered["rows"] == 3 and len(prefect.files()) == 2
    assert [title.split(": ")[0] for title in webhook.titles()] == [
        f"[exports] {export_id} failed",
        f"[exports] {export_id} succeeded",
    ]
    assert f"run: {dead}\n" in webhook.got[0]["message"] and "PROCESS_VANISHED: " in webhook.got[0]["message"]
    (event,) = events_of(f"prefect.flow-run.{dead}")
    assert event["resource"]["prefect.resource.id"] == f"export.{export_id}"
    assert prefect.json("report", export_id, "--run", dead)["delivered_by"] == survivor
    assert prefect.ledger.outstanding(export_id) == [] and not prefect.ledger.is_at_work(export_id)


def test_a_run_that_is_taken_for_dead_and_is_at_work_is_shown_as_running_again(
    prefect: Workshop, gated: GatedSource, prefect_worker: None, webhook: Webhook
) -> None:
    export_id = prefect.incremental(**CURSOR, **telling(webhook))
    with gated.closed():
        run_id, _ = in_the_middle(prefect, gated, export_id)
        with prefect_api() as client:
            client.set_flow_run_state(UUID(run_id), Crashed(message="no heartbeat"))
        prefect.wait_for(lambda: state_of(run_id)[0] is StateType.RUNNING)
    report = prefect.wait_for(lambda: prefect.ended(export_id, run_id))
    assert report["status"] == "succeeded" and report["rows"] == 3
    prefect.wait_for(lambda: not unfinished(export_id, run_id))
    assert [title.split(": ")[0] for title in webhook.titles()] == [f"[exports] {export_id} succeeded"]


def test_a_run_that_died_with_its_worker_can_be_relaunched_though_prefect_calls_it_running(
    prefect: Workshop, gated: GatedSource, prefect_url: str, prefect_home: Path
) -> None:
    export_id = prefect.incremental(**CURSOR)
    prefect.run("apply")
    dead, _ = died_with_its_worker(prefect, gated, export_id, prefect_home, prefect_url)
    prefect.json("relaunch", export_id, "--run", dead)
    waiting = prefect.json("report", export_id, "--run", dead)
    assert (waiting["status"], waiting["error_code"]) == ("running", None), "its dead attempt says nothing of the next"
    with a_worker(prefect_home, prefect_url):
        report = prefect.wait_for(lambda: prefect.ended(export_id, dead, attempts=2))
    assert report["status"] == "succeeded" and report["rows"] == 3 and len(prefect.files()) == 1
    assert report["notes"][0].startswith("took over from an earlier attempt, which died at work on ")


def test_a_run_goes_on_while_its_prefect_server_is_away(workshop: Workshop, gated: GatedSource, tmp_path: Path) -> None:
    home, port = tmp_path / "home", free_port()
    environment = {**QUIET, "PREFECT_HOME": str(home)}
    export_id = workshop.incremental(**CURSOR)
    with ExitStack() as stack, gated.closed():
        with server(port, environment, home / "server.log") as api:
            stack.enter_context(temporary_settings({PREFECT_API_URL: api}))
            stack.enter_context(a_worker(home, api))
            run_id, process = in_the_middle(workshop, gated, export_id)
        gated.open()
        workshop.wait_for(lambda: list(workshop.drop.glob("[!.]*")))
        os.kill(process, 0)
        stack.enter_context(server(port, environment, home / "server.log"))
        report = workshop.wait_for(lambda: workshop.ended(export_id, run_id))
    assert report["status"] == "succeeded" and report["attempts"] == 1 and report["rows"] == 3
    assert len(workshop.files()) == 1
