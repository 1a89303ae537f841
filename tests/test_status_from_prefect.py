"""Status is read from Prefect, never kept twice: what somebody does there shows in the next `exports list`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import AwaitingRetry, Pending, Running
from prefect_server import NIGHTLY, deployment_of, run_again, status_of, turn_until
from workshop import Workshop

from deployments.prefect_api import prefect_api

Turn = Callable[[SyncPrefectClient, DeploymentResponse, bool], object]


def turn_deployment(client: SyncPrefectClient, deployment: DeploymentResponse, on: bool) -> None:
    (client.resume_deployment if on else client.pause_deployment)(deployment.id)


def turn_schedule(client: SyncPrefectClient, deployment: DeploymentResponse, on: bool) -> None:
    client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=on)


@pytest.mark.parametrize("turn", [turn_deployment, turn_schedule])
def test_each_switch_pauses_and_resumes(prefect: Workshop, turn: Turn) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    with prefect_api() as client:
        for on in (False, True, False, True):
            switch = partial(turn, client, deployment_of(export_id), on)
            turn_until(prefect, export_id, "scheduled" if on else "draft", switch)
            assert (prefect.json("list", "--search", export_id)[0]["next_run"] is not None) is on
            allowed = "unschedule" if on else "activate"
            refused = prefect.json("activate" if on else "unschedule", export_id, exit_code=3)["error"]
            assert refused["code"] == "STATUS_REFUSED" and allowed in refused["hint"]


@pytest.mark.parametrize("paused", [False, True])
def test_a_run_that_was_started_there_is_seen_from_its_first_state_on(prefect: Workshop, paused: bool) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    deployment = deployment_of(export_id)
    with prefect_api() as client:
        turn_deployment(client, deployment, not paused)
        run = client.create_flow_run_from_deployment(deployment.id)
        assert status_of(prefect, export_id) == "scheduled", "it waits for a worker"
        for state in (Pending(), Running()):
            client.set_flow_run_state(run.id, state)
            assert status_of(prefect, export_id) == "in_progress"
        assert str(run.id) in {found["run_id"] for found in prefect.json("runs", export_id)}


def test_a_retry_there_counts_as_a_relaunch(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.incremental(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    prefect.drop.rmdir()
    failed = prefect.json("run", export_id, exit_code=1)
    assert failed["attempts"] == 1 and failed["relaunchable"]
    with prefect_api() as client:
        client.set_flow_run_state(UUID(failed["run_id"]), AwaitingRetry(), force=False)
    assert status_of(prefect, export_id) == "in_progress"
    refused = prefect.json("relaunch", export_id, "--run", failed["run_id"], exit_code=3)["error"]
    assert "is running" in refused["message"], "it has been relaunched already"
    prefect.drop.mkdir()
    report = run_again(prefect, failed["run_id"], export_id)
    assert (report["status"], report["attempts"], report["window"]) == ("succeeded", 2, failed["window"])
    assert status_of(prefect, export_id) == "scheduled"
