"""One real Prefect server for all tests, and a catalog of its own for each."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock
from uuid import UUID

import pytest
import trustme
from prefect import flow_engine
from prefect.client.schemas.responses import DeploymentResponse
from prefect.flow_engine import run_flow
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_API_SSL_CERT_FILE, PREFECT_API_URL, temporary_settings
from workshop import Workshop

from deployments.companions import keep_companions
from deployments.prefect_api import post, prefect_api, tagged_deployments
from deployments.project import load_project
from deployments.workspace import open_workspace
from flows.exports import export_flow
from manage.server import server, worker

QUIET = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}

NIGHTLY = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}


def deployment_of(export_id: str) -> DeploymentResponse:
    """What Prefect holds of an export."""
    with prefect_api() as client:
        return client.read_deployment_by_name(f"{export_id}/{export_id}")


def status_of(workshop: Workshop, export_id: str) -> str:
    """The export's status, as the command lists it."""
    return next(entry["status"] for entry in workshop.json("list") if entry["id"] == export_id)


def turn_until(prefect: Workshop, export_id: str, status: str, turn: Callable[[], object]) -> None:
    """Turn a switch in Prefect until the export has that status.

    What Prefect's scheduler makes in the very moment in which a schedule is switched off, it leaves waiting.
    """

    def turned() -> bool:
        turn()
        return status_of(prefect, export_id) == status

    prefect.wait_for(turned)


def run_again(workshop: Workshop, run_id: str, export_id: str) -> dict[str, Any]:
    """What a worker does with a run that was retried: the same flow run, in this process."""
    with prefect_api() as client:
        run = client.read_flow_run(UUID(run_id))
    run_flow(export_flow(export_id), flow_run=run, parameters=run.parameters, return_type="state")
    report: dict[str, Any] = workshop.json("report", export_id, "--run", run_id)
    return report


def events_of(resource: str) -> list[dict[str, Any]]:
    """What Prefect's server was told of the ends of runs that concern a resource."""
    wanted = {"filter": {"event": {"name": ["export.finished"]}, "any_resource": {"id": [resource]}}, "limit": 50}
    with prefect_api() as client:
        found: list[dict[str, Any]] = post(client, "/events/filter", wanted)["events"]
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def prefect_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="session")
def prefect_url(prefect_home: Path) -> Iterator[str]:
    """The API URL of the tests' Prefect server; inside, this process's client uses it too."""
    environment = {**QUIET, "PREFECT_HOME": str(prefect_home), "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
    # Each client reads a list of authorities: this server needs none of them, and the world's are 150.
    authorities = prefect_home / "authorities.pem"
    trustme.CA().cert_pem.write_to_path(authorities)
    # As in Prefect's asynchronous engine: the thread of a run that has ended may sleep out its second by itself.
    heart = partial(flow_engine._send_heartbeats, join_on_exit=False)
    with (
        server(free_port(), environment, prefect_home / "server.log") as api,
        temporary_settings({PREFECT_API_URL: api, PREFECT_API_SSL_CERT_FILE: str(authorities)}),
        mock.patch.object(flow_engine, "_send_heartbeats", heart),
    ):
        # They stand as long as the server does, so that each test sees its own exports' differences alone.
        with open_workspace() as workspace:
            keep_companions(workspace)
        yield api
        # What was logged last is sent while there is a server to take it.
        APILogHandler().flush()


@pytest.fixture
def prefect_worker(prefect: Workshop, prefect_url: str, prefect_home: Path) -> Iterator[None]:
    """A process worker on the project's pool, with the catalog, ledger and spool of the test."""
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(prefect_home)}
    with worker(prefect_url, load_project().work_pool, environment, prefect_home / "worker.log"):
        yield


@pytest.fixture
def prefect(workshop: Workshop, prefect_url: str) -> Iterator[Workshop]:
    """A workshop with the tests' Prefect server; its exports' deployments are gone afterwards."""
    yield workshop
    with open_workspace() as workspace:
        for deployment in tagged_deployments(workspace.client, workspace.project.tag):
            workspace.client.delete_deployment(deployment.id)
        keep_companions(workspace)
