"""One run of an export in this process, as part of its deployment, so that the dashboard can retry it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect.client.schemas.objects import State
from prefect.flow_engine import run_flow
from prefect.states import Pending, Scheduled

from catalog.receipt import RunReport
from deployments.checking import refuse_problems
from deployments.lifecycle import beginning_at, register_and_deploy, require_status
from deployments.runs import report_of
from deployments.workspace import Workspace
from flows.exports import export_flow


def start_run(workspace: Workspace, export_id: str, *, detach: bool) -> str:
    """Make one extra run and return its id; unless `detach`, it is pending and no worker will take it.

    A scheduled export runs with its frozen definition; a draft is registered and deployed, paused, first.
    Raises ExportError STATUS_REFUSED when the export is in progress or finished.
    """
    status = require_status(workspace, export_id, "run", {"draft", "scheduled"})
    deployment = workspace.deployment(export_id)
    if status == "draft" or deployment is None:
        export = workspace.export(export_id)
        refuse_problems(workspace.catalog, export, activating=False)
        deployment = register_and_deploy(workspace, beginning_at(workspace, export, None))
    # A worker only takes Scheduled runs: Pending keeps this one for ourselves.
    state: State[Any] = Scheduled() if detach else Pending()
    return str(workspace.client.create_flow_run_from_deployment(deployment.id, state=state).id)


def run_here(workspace: Workspace, export_id: str) -> RunReport:
    """Run the export in this process to its end and report it."""
    run = workspace.client.read_flow_run(UUID(start_run(workspace, export_id, detach=False)))
    run_flow(export_flow(export_id), flow_run=run, parameters=run.parameters, return_type="state")
    return report_of(workspace.client, workspace.ledger, export_id, workspace.client.read_flow_run(run.id))
