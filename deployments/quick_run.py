"""One run of an export in this process, as part of its deployment, so that the dashboard can retry it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings
from prefect.states import Pending, Scheduled

from catalog.receipt import RunReport
from catalog.windows import explicit_bounds
from deployments.apply import ensure_work_pool
from deployments.by_hand import refuse_custom
from deployments.checking import refuse_problems
from deployments.ledger_view import moment_of
from deployments.lifecycle import beginning_at, register_and_deploy, require_status
from deployments.runs import report_of
from deployments.status import Status
from deployments.workspace import Workspace
from flows.exports import export_flow


@dataclass(frozen=True, slots=True)
class Span:
    """A span of time to deliver once more, `[since, until)`."""

    since: datetime
    until: datetime

    def parameters(self) -> dict[str, str]:
        """The span as a run's parameters."""
        return {"since": self.since.isoformat(), "until": self.until.isoformat()}


def span_of(workspace: Workspace, export_id: str, since: str, until: str) -> Span:
    """The span a person asked for.

    Raises ExportError STATUS_REFUSED for a custom export, DEFINITION_INVALID when the export cannot deliver it.
    """
    export = workspace.frozen(export_id) or workspace.export(export_id)
    refuse_custom(export, "backfill")
    span = Span(moment_of(export, since), moment_of(export, until))
    explicit_bounds(export, span.since, span.until, datetime.now(UTC))
    return span


def start_run(workspace: Workspace, export_id: str, *, detach: bool, span: Span | None = None) -> str:
    """Make one extra run and return its id; unless `detach`, it is pending and no worker will take it.

    A scheduled export runs with its frozen definition; a draft is registered and deployed, paused, first. With a
    `span` it is a backfill, which may also run beside another run.
    Raises ExportError STATUS_REFUSED when the export is finished or, without a span, in progress.
    """
    allowed: set[Status] = {"draft", "scheduled"} if span is None else {"draft", "scheduled", "in_progress"}
    status = require_status(workspace, export_id, "run" if span is None else "backfill", allowed)
    deployment = workspace.deployment(export_id)
    if status == "draft" or deployment is None:
        export = workspace.export(export_id)
        refuse_problems(workspace.catalog, export, activating=False)
        ensure_work_pool(workspace.client, workspace.project)
        deployment = register_and_deploy(workspace, beginning_at(workspace, export, None))
    # A worker only takes Scheduled runs: Pending keeps this one for ourselves.
    state: State[Any] = Scheduled() if detach else Pending()
    parameters = span.parameters() if span else {}
    return str(workspace.client.create_flow_run_from_deployment(deployment.id, parameters=parameters, state=state).id)


def run_here(workspace: Workspace, export_id: str, span: Span | None = None) -> RunReport:
    """Run the export in this process to its end and report it."""
    run = workspace.client.read_flow_run(UUID(start_run(workspace, export_id, detach=False, span=span)))
    # As often as on a worker: a run that beats less often is taken for dead.
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: workspace.project.heartbeat_seconds}):
        run_flow(export_flow(export_id), flow_run=run, parameters=run.parameters, return_type="state")
    return report_of(workspace.client, workspace.ledger, export_id, workspace.client.read_flow_run(run.id))
