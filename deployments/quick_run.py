"""One run of an export in this process, as part of its deployment, so that the dashboard can retry it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse, SetStateStatus
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Pending, Scheduled

from catalog.problem import refuse_errors
from catalog.receipt import RunReport
from deployments.apply import ensure_work_pool
from deployments.checking import check
from deployments.lifecycle import beginning_at, register_and_deploy, require_status
from deployments.runs import report_of
from deployments.status import Status
from deployments.workspace import Workspace
from flows.exports import export_flow

#: How often it is looked whether a worker has ended a run.
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time to deliver once more, `[since, until)`; `slot` is the logical time of its run, None for now."""

    since: datetime
    until: datetime
    slot: datetime | None = None

    def parameters(self) -> dict[str, str]:
        """The span as a run's parameters."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


def start_run(workspace: Workspace, export_id: str, *, detach: bool, span: Span | None = None) -> str:
    """Make one extra run and return its id; unless `detach`, it is pending and no worker will take it.

    A scheduled export runs with its frozen definition; a draft is registered and deployed, paused, first. With a
    `span` it is a backfill, which may also run beside another run.
    Raises ExportError STATUS_REFUSED when the export is finished or, without a span, in progress.
    """
    return str(_begin(workspace, export_id, span, detach=detach).id)


def run_here(workspace: Workspace, export_id: str, span: Span | None = None) -> RunReport:
    """Run the export in this process to its end and report it."""
    client = workspace.client
    run = _begin(workspace, export_id, span, detach=False)
    if run.state is not None and run.state.type is StateType.PENDING:
        # As often as on a worker: a run that beats less often is taken for dead.
        with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: workspace.project.heartbeat_seconds}):
            run_flow(export_flow(export_id), flow_run=run, parameters=run.parameters, return_type="state")
    else:
        _wait_for_worker(client, run)
    run = client.read_flow_run(run.id)
    return report_of(client, workspace.ledger, export_id, run)


def _wait_for_worker(client: SyncPrefectClient, run: FlowRun) -> None:
    while True:
        state = client.read_flow_run(run.id).state
        if state is not None and state.is_final():
            return
        time.sleep(_LOOK_SECONDS)


def _begin(workspace: Workspace, export_id: str, span: Span | None, *, detach: bool) -> FlowRun:
    client = workspace.client
    deployment = _to_run(workspace, export_id, span)
    parameters = span.parameters() if span else {}
    slot = span.slot if span else None
    # A worker only takes Scheduled runs: Pending keeps this one for ourselves.
    state: State[Any] = Scheduled(scheduled_time=slot) if detach or slot else Pending()
    run = client.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=state)
    return _claim(client, run) if slot and not detach else run


def _claim(client: SyncPrefectClient, run: FlowRun) -> FlowRun:
    """Keep a run for ourselves that was made as scheduled, as only a first state of that kind gives it another logical
    time than now. Should a worker have been quicker, Prefect refuses, and the run is the worker's."""
    answer: OrchestrationResult[Any] = client.set_flow_run_state(run.id, Pending())
    return client.read_flow_run(run.id) if answer.status is SetStateStatus.ACCEPT else run


def _to_run(workspace: Workspace, export_id: str, span: Span | None) -> DeploymentResponse:
    allowed: set[Status] = {"draft", "scheduled"} if span is None else {"draft", "scheduled", "in_progress"}
    status = require_status(workspace, export_id, "run" if span is None else "backfill", allowed)
    deployment = workspace.deployment(export_id)
    if status == "draft" or deployment is None:
        export = workspace.export(export_id)
        refuse_errors(check(workspace.catalog, [export.id]))
        ensure_work_pool(workspace.client, workspace.project)
        deployment = register_and_deploy(workspace, beginning_at(workspace, export, None))
    return deployment
