"""Files that were expected by a time of day and are not there: found among the active exports, and told of once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
    FlowRunFilterTags,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events import emit_event
from prefect.utilities.urls import url_for

from catalog.expectation import Deadline, deadline_before, is_late
from catalog.report_text import late_body, late_subject
from flows.parameters import definition_in
from flows.report import secret_block
from tasks import notify
from tasks.ledger import Ledger

#: The tag of deployments whose definition expects a file by a time of day.
EXPECT_BY = "expect-by"
#: Prefect's own tag of the runs that its scheduler makes.
_BY_SCHEDULE = "auto-scheduled"
#: The event that automations and webhooks can wait for.
LATE = "export.late"
#: What one call of a filter route returns at most.
_PAGE = 200


@dataclass(frozen=True, slots=True)
class Lateness:
    """A file that was late, when it came after all, if it did, and how the export's newest run stands."""

    deadline: Deadline
    delivered_at: datetime | None
    deployment_id: str
    newest_run: str

    @property
    def words(self) -> str:
        """`orders: no file by 2026-11-25 06:00 Europe/Brussels`."""
        return f"{self.deadline.export.id}: no file by {self.deadline.words}"


def tell_of_late(ledger: Ledger, tag: str, now: datetime) -> list[Lateness]:
    """Tell of every active export of the project with that tag whose file is late, and of which nobody told that day.

    Whom `report` names is told whatever its `on`, and Prefect by an event; twice, where telling was cut short. Raises
    ExportError LEDGER_UNREACHABLE.
    """
    found: list[Lateness] = []
    with get_client(sync_client=True) as client:
        for deployment in _expecting(client, tag):
            late = _late(client, ledger, deployment, now)
            if late is not None:
                export_id, day = late.deadline.export.id, late.deadline.at.date()
                if not ledger.was_told(what := f"late {export_id} {day}"):
                    _tell(late)
                    # Not before: who dies between the two tells twice, and not never.
                    ledger.record_told(export_id, what)
                    found.append(late)
    return found


def _expecting(client: SyncPrefectClient, tag: str) -> Iterator[DeploymentResponse]:
    wanted, offset = DeploymentFilter(tags=DeploymentFilterTags(all_=[tag, "export", EXPECT_BY])), 0
    while True:
        page = client.read_deployments(deployment_filter=wanted, limit=_PAGE, offset=offset)
        yield from page
        offset += len(page)
        if len(page) < _PAGE:
            return


def _late(client: SyncPrefectClient, ledger: Ledger, deployment: DeploymentResponse, now: datetime) -> Lateness | None:
    switched_on = [entry.updated for entry in deployment.schedules if entry.active and entry.updated]
    # Of one that was changed by hand into none, the runs fail, and say so.
    export = definition_in(deployment.parameters)
    registered_at = ledger.registered_at(export.hash) if export else None
    if export is None or registered_at is None or deployment.paused or not switched_on:
        return None
    deadline = deadline_before(export, now, scheduled_since=min(switched_on), expected_since=registered_at)
    if deadline is None:
        return None
    delivered_at = ledger.first_delivery(export.id, deadline.day, deadline.at)
    if not is_late(deadline, delivered_at) or not _came_due(client, deployment, deadline):
        return None
    return Lateness(deadline, delivered_at, str(deployment.id), _newest_run(client, deployment, now))


def _came_due(client: SyncPrefectClient, deployment: DeploymentResponse, deadline: Deadline) -> bool:
    """Whether Prefect had a run of the schedule for the deadline.

    It makes them days ahead. Pausing a deployment, of which no schedule tells, deletes those that wait, and resuming
    it makes only those to come. Where the clocks skip its hour, a run is up to an hour away from when cron has it.
    """
    span = FlowRunFilterExpectedStartTime(after_=deadline.since, before_=deadline.at)
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(expected_start_time=span, tags=FlowRunFilterTags(all_=[_BY_SCHEDULE])),
        limit=1,
    )
    return bool(runs)


def _newest_run(client: SyncPrefectClient, deployment: DeploymentResponse, now: datetime) -> str:
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment.id])),
        flow_run_filter=FlowRunFilter(expected_start_time=FlowRunFilterExpectedStartTime(before_=now)),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
        limit=1,
    )
    if not runs or runs[0].state is None:
        return "none"
    state = runs[0].state
    return f"{runs[0].id}: {state.name}{f': {state.message}' if state.message else ''}"


def _tell(late: Lateness) -> None:
    export, log = late.deadline.export, get_run_logger()
    log.warning(late.words)
    link = url_for("deployment", obj_id=late.deployment_id)
    emit_event(
        LATE,
        resource={"prefect.resource.id": f"export.{export.id}", "prefect.resource.name": export.name},
        related=[
            {"prefect.resource.id": f"prefect.deployment.{late.deployment_id}", "prefect.resource.role": "deployment"}
        ],
        payload={
            "export": export.id,
            "expected_by": late.deadline.at.isoformat(),
            "delivered_at": late.delivered_at.isoformat() if late.delivered_at else None,
            "newest_run": late.newest_run,
            "link": link,
        },
    )
    if export.report is None:
        return
    body = late_body(export.id, export.name, late.deadline.words, late.delivered_at, late.newest_run, link)
    message = notify.Message(late_subject(export.id, late.deadline.words), body, failed=True)
    for warning in notify.send(export.report.to, message, secret_block):
        log.warning(warning)
