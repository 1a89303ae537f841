"""Activate, unschedule, relaunch: the actions that move an export from one status to another."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any
from uuid import UUID

from prefect.client.schemas import OrchestrationResult
from prefect.client.schemas.responses import DeploymentResponse, SetStateStatus
from prefect.exceptions import ObjectNotFound
from prefect.states import AwaitingRetry, Scheduled

from catalog.definition import CUSTOM_KEYS, Export
from catalog.errors import Code, ExportError
from catalog.problem import refuse_errors
from catalog.receipt import settled_words
from deployments.apply import deploy, ensure_work_pool, own_deployment
from deployments.checking import check
from deployments.companions import keep_companions
from deployments.compile import SCHEDULE_SLUG
from deployments.flow_runs import waiting_runs
from deployments.ledger_view import starting_bounds
from deployments.listing import list_one
from deployments.plan import frozen_export, keep_start
from deployments.runs import find_run, report_of
from deployments.standard import rewrite_as_standard
from deployments.status import Status
from deployments.workspace import Workspace
from flows.custom_code import customisations

#: Prefect looks each 5 s at the deployments that were changed in the last 6, reads their schedules, and writes their
#: runs a moment later: a few in a thousand that were unscheduled in between would run once more.
_SCHEDULER_COMES_BY = timedelta(seconds=15)
_SCHEDULER_WRITES = timedelta(seconds=1)


def require_status(workspace: Workspace, export_id: str, action: str, allowed: set[Status]) -> Status:
    """The export's status. Raises ExportError STATUS_REFUSED when the action is not allowed on it."""
    status = list_one(workspace, workspace.known(export_id)).status
    if status not in allowed:
        hints: dict[Status, str] = {
            "scheduled": f"`exports unschedule {export_id}` first",
            "in_progress": "wait until its run has ended",
            "draft": f"`exports activate {export_id}` first",
            "finished": f"copy it, or `exports relaunch {export_id}` if it failed",
        }
        raise ExportError(
            Code.STATUS_REFUSED,
            f"export {export_id} is {status.replace('_', ' ')}, and {action} is for {' or '.join(sorted(allowed))}",
            hints[status],
            export=export_id,
        )
    return status


def activate(workspace: Workspace, export_id: str, since: str | None = None) -> UUID | None:
    """Check, register, deploy and switch on; a one shot gets its run, whose id is returned.

    `since` (`start`, `now` or an ISO moment) says where an incremental export begins whose source or
    cursor is another than that of its earlier windows. Raises ExportError for whatever stands against it.
    """
    export = workspace.export(export_id)
    require_status(workspace, export_id, "activate", {"draft"})
    if export.type != "one_shot" and export.schedule is None:
        raise ExportError(
            Code.SCHEDULE_INVALID,
            f"export {export_id} has no schedule to activate",
            f'add `schedule: {{cron: "0 2 * * *"}}`, or run it once with `exports run {export_id}`',
            export=export_id,
        )
    if since is not None and not _begins(workspace, export):
        why = "its watermark goes on" if export.cursor else "it has no cursor"
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"--since has no meaning for {export_id}: {why}",
            "leave --since out; it is for the first window, and after a change of source or cursor",
            export=export_id,
        )
    refuse_errors(check(workspace.catalog, [export.id], activating=True))
    ensure_work_pool(workspace.client, workspace.project)
    deployment = register_and_deploy(workspace, beginning_at(workspace, export, since))
    keep_companions(workspace)
    return switch_on(workspace, deployment, export)


def beginning_at(workspace: Workspace, export: Export, since: str | None) -> Export:
    """The definition with the start of its first window set from `since`, where one is to be allotted.

    Raises ExportError SOURCE_CHANGED when the source or cursor changed since the last window and `since` is None.
    """
    if export.cursor is None or not _begins(workspace, export):
        return export
    if since is None:
        standing = workspace.deployment(export.id)
        if workspace.ledger.newest(export.id) is not None and not _is_deployed(workspace, standing, export):
            raise ExportError(
                Code.SOURCE_CHANGED,
                f"the source or cursor of {export.id} is not the one its watermark was taken from",
                f"say where it begins, with `exports apply --since` or `exports activate {export.id} --since`: "
                "start, now, or a moment as 2026-11-01T00:00",
                export=export.id,
            )
        return keep_start(export, standing)
    start = starting_bounds(export, since)
    if export.cursor.mode == "xid":
        # Its bounds are no moments that a definition could hold.
        workspace.ledger.open_generation(export.id, start)
        return export
    return export.model_copy(update={"cursor": export.cursor.model_copy(update={"start": start.since})})


def _begins(workspace: Workspace, export: Export) -> bool:
    """Whether no earlier window says where the export's next one begins."""
    newest = workspace.ledger.newest(export.id)
    previous = workspace.ledger.definition(newest.definition) if newest else None
    return export.cursor is not None and (previous is None or previous.source_key != export.source_key)


def _is_deployed(workspace: Workspace, standing: DeploymentResponse | None, export: Export) -> bool:
    """Whether the deployment has this source and cursor already, so that its beginning has been said."""
    if standing is None:
        return False
    try:
        frozen = frozen_export(standing)
    except ExportError:
        return False
    return frozen.source_key == export.source_key and workspace.ledger.definition(frozen.hash) is not None


def register_and_deploy(workspace: Workspace, export: Export, *, live: bool = False) -> DeploymentResponse:
    """Put the definition into the ledger and its deployment into Prefect; a new one is paused unless `live`.

    The work pool must be there. Raises ExportError DEFINITION_DUPLICATE.
    """
    standing = own_deployment(workspace.client, export.id, workspace.project.tag)
    workspace.ledger.register(export)
    return deploy(workspace.client, workspace.compile(export), standing, live=live)


def switch_on(workspace: Workspace, deployment: DeploymentResponse, export: Export) -> UUID | None:
    """Let the deployment make runs; a one shot's single run is made here and its id returned."""
    client = workspace.client
    for schedule in deployment.schedules:
        if schedule.slug == SCHEDULE_SLUG and not schedule.active:
            client.update_deployment_schedule(deployment.id, schedule.id, active=True)
    if deployment.paused:
        client.resume_deployment(deployment.id)
    if export.type != "one_shot":
        return None
    at = export.schedule.at if export.schedule else None
    due = datetime.now(UTC) if at is None else export.in_zone(at)
    run = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=due))
    return run.id


def lost_by_unscheduling(workspace: Workspace, export_id: str) -> list[str]:
    """What an export that is scheduled loses for good when it is unscheduled, one sentence each: its customisations.

    Raises ExportError STATUS_REFUSED when it is not scheduled.
    """
    require_status(workspace, export_id, "unschedule", {"scheduled"})
    running = _deployed(workspace, export_id)
    return customisations(running) if running is not None and running.standard_equivalent is not None else []


def unschedule(workspace: Workspace, export_id: str, *, convert: bool = False) -> int:
    """Schedule off and every run that has not started removed; returns how many. The watermark stays.

    An `incremental_custom` export becomes its standard equivalent for good, in catalog and deployment, and only with
    `convert`. Raises ExportError STATUS_REFUSED without it, or when the export is not scheduled; and when all is done
    but the change of its YAML, because that does not load or cannot be written, what stands against it.
    """
    lost = lost_by_unscheduling(workspace, export_id)
    if lost and not convert:
        raise ExportError(
            Code.STATUS_REFUSED,
            f"export {export_id} is incremental_custom: unscheduling turns it into a standard incremental export for "
            f"good, and it loses: {'; '.join(lost)}",
            f"say that this is wanted: `exports unschedule {export_id} --yes`, or `convert` in the form",
            export=export_id,
        )
    client, deployment, running = workspace.client, workspace.deployment(export_id), _deployed(workspace, export_id)
    assert deployment is not None, "an export without deployment is a draft"
    for schedule in deployment.schedules:
        if schedule.active:
            client.update_deployment_schedule(deployment.id, schedule.id, active=False)
    removed = _remove_all_waiting(workspace, deployment)
    standard = running.standard_equivalent if running is not None else None
    if standard is not None:
        # Nothing runs any more: whatever the file is like, an export can be stopped.
        refusal = _rewrite_as_standard(workspace, export_id)
        register_and_deploy(workspace, standard)
        if refusal is not None:
            raise refusal
    return removed


def _remove_all_waiting(workspace: Workspace, deployment: DeploymentResponse) -> int:
    """Remove the runs that wait, and those that Prefect's scheduler is making from a schedule it read before."""
    removed = remove_waiting(workspace, deployment.name)
    if deployment.updated is not None and datetime.now(UTC) - deployment.updated < _SCHEDULER_COMES_BY:
        # There is nothing to be asked that would tell when it has written them.
        sleep(_SCHEDULER_WRITES.total_seconds())
        removed += remove_waiting(workspace, deployment.name)
    return removed


def _rewrite_as_standard(workspace: Workspace, export_id: str) -> ExportError | None:
    """Convert the export's YAML; what stands against that, where it has to stay as it is."""
    try:
        rewrite_as_standard(workspace.catalog, export_id)
    except ExportError as error:
        return ExportError(
            error.code,
            f"{export_id} is unscheduled and its deployment a standard incremental one, but its YAML stays as it is: "
            f"{error.message}",
            f"mend it; as a standard export it has `type: incremental` and neither {' nor '.join(CUSTOM_KEYS)}",
            export=export_id,
            file=error.file,
            line=error.line,
            key=error.key,
        )
    finally:
        workspace.reread()
    return None


def _deployed(workspace: Workspace, export_id: str) -> Export | None:
    """What its runs use, unless somebody has changed that by hand into what is no definition."""
    try:
        return workspace.frozen(export_id)
    except ExportError:
        return None


def remove_waiting(workspace: Workspace, export_id: str) -> int:
    """Remove every run of the export that has not started; returns how many."""
    client, removed = workspace.client, 0
    while runs := waiting_runs(client, export_id, workspace.project.tag):
        for run in runs:
            with suppress(ObjectNotFound):
                client.delete_flow_run(run.id)
        removed += len(runs)
    return removed


def relaunch(workspace: Workspace, export_id: str, run_id: str | None = None) -> str:
    """The same flow run again, exactly as Retry in the dashboard does it; returns its id.

    Raises ExportError STATUS_REFUSED when the run did not fail, its window was delivered by another run, or it is one
    of a deleted export that had this id.
    """
    client = workspace.client
    run = find_run(client, export_id, workspace.project.tag, run_id)
    report = report_of(client, workspace.ledger, export_id, run)
    standing = workspace.deployment(export_id)
    refusal = None
    if standing is None or run.deployment_id != standing.id:
        refusal = f"run {report.run_id} is of an export {export_id} that was deleted"
    elif report.status != "failed":
        refusal = f"run {report.run_id} {'has succeeded' if report.status == 'succeeded' else f'is {report.status}'}"
    elif report.delivered_by is not None:
        refusal = f"the window of run {report.run_id} was {settled_words(report.delivered_by)}"
    else:
        answer: OrchestrationResult[Any] = client.set_flow_run_state(run.id, AwaitingRetry(), force=False)
        if answer.status is not SetStateStatus.ACCEPT:
            refusal = f"Prefect did not accept the retry of run {report.run_id}"
    if refusal is not None:
        raise ExportError(
            Code.STATUS_REFUSED,
            f"{refusal}: there is nothing to relaunch",
            f"`exports runs {export_id}` shows which runs failed",
            export=export_id,
        )
    return report.run_id
