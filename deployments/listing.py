"""All exports with their status, next and last run, in a few API calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, get_args
from uuid import UUID
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    Operator,
)
from prefect.client.schemas.objects import TERMINAL_STATES, FlowRun, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.client.schemas.sorting import FlowRunSort

from catalog.definition import Export, ExportType
from catalog.load import data_type_of
from catalog.schedule import occurrences
from deployments.prefect_api import PAGE, post, tagged_deployments
from deployments.status import Status, export_status, is_active, run_status
from deployments.workspace import Workspace

_ENDED = FlowRunFilterState(type=FlowRunFilterStateType(any_=list(TERMINAL_STATES)))
_IN_PROGRESS = FlowRunFilterState(
    operator=Operator.or_,  # type: ignore[call-arg]
    type=FlowRunFilterStateType(
        any_=[kind for kind in StateType if kind not in {*TERMINAL_STATES, StateType.SCHEDULED}]
    ),
    name=FlowRunFilterStateName(any_=["AwaitingRetry"]),
)
STATUSES: tuple[Status, ...] = get_args(Status)
#: How many ended runs are read in pages before the exports still missing are asked for one by one.
_RECENT = 5 * PAGE


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of the list. `version` is that of the deployed definition, or of the YAML's for a new draft."""

    id: str
    name: str
    type: ExportType
    database: str
    table: str | None
    data_type: str | None
    status: Status
    version: str
    next_run: datetime | None
    last_run: FlowRun | None

    def to_json(self) -> dict[str, Any]:
        """The line as `exports list --json` prints it."""
        last = self.last_run
        return {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "database": self.database,
            "table": self.table,
            "data_type": self.data_type,
            "status": self.status,
            "version": self.version,
            "next_run": self.next_run.isoformat() if self.next_run else None,
            "last_run": last
            and {
                "run_id": str(last.id),
                "status": run_status(last.state),
                "ended_at": last.end_time.isoformat() if last.end_time else None,
            },
        }


@dataclass(frozen=True, slots=True)
class Filters:
    """What `list` shows; filters combine with AND. `search` looks in name and id, ignoring case."""

    search: str | None = None
    database: str | None = None
    data_type: str | None = None
    type: str | None = None
    status: Status | None = None

    def admit(self, entry: Listed) -> bool:
        """Whether the line is shown. `finished` also admits every export with ended runs."""
        status_fits = self.status in (None, entry.status) or (self.status == "finished" and entry.last_run is not None)
        searched = f"{entry.name}\n{entry.id}".casefold()
        return (
            status_fits
            and (self.search is None or self.search.casefold() in searched)
            and self.database in (None, entry.database)
            and self.data_type in (None, entry.data_type)
            and self.type in (None, entry.type)
        )


def list_exports(workspace: Workspace, filters: Filters | None = None) -> list[Listed]:
    """Every export of the catalog that the filters admit, by name."""
    deployments = {entry.name: entry for entry in tagged_deployments(workspace.client, workspace.project.tag)}
    return _list(workspace, workspace.catalog.exports.values(), deployments, filters or Filters())


def list_one(workspace: Workspace, export: Export) -> Listed:
    """The line of one export."""
    deployment = workspace.deployment(export.id)
    return _list(workspace, [export], {export.id: deployment} if deployment else {}, Filters())[0]


def _list(
    workspace: Workspace,
    exports: Iterable[Export],
    deployments: dict[str, DeploymentResponse],
    filters: Filters,
) -> list[Listed]:
    client, ids = workspace.client, {deployment.id: name for name, deployment in deployments.items()}
    running = {ids[run.deployment_id] for run in _runs(client, ids, _IN_PROGRESS) if run.deployment_id in ids}
    next_runs = _next_runs(client, deployments)
    ended = _last_ended(client, ids)
    entries = [
        _listed(workspace, export, deployments.get(export.id), export.id in running, next_runs, ended)
        for export in exports
    ]
    return sorted((entry for entry in entries if filters.admit(entry)), key=lambda entry: entry.name.casefold())


def _listed(
    workspace: Workspace,
    export: Export,
    deployment: DeploymentResponse | None,
    running: bool,
    next_runs: dict[str, datetime],
    ended: dict[str, FlowRun],
) -> Listed:
    last, next_run = ended.get(export.id), next_runs.get(export.id)
    return Listed(
        id=export.id,
        name=export.name,
        type=export.type,
        database=export.database,
        table=export.table,
        data_type=data_type_of(export, workspace.catalog.databases.get(export.database)),
        status=export_status(
            export.type,
            active=is_active(deployment),
            running=running,
            waiting=next_run is not None,
            ended=last is not None,
        ),
        version=(deployment.version if deployment else None) or export.hash,
        next_run=next_run or _next_by_schedule(deployment),
        last_run=last,
    )


def _next_by_schedule(deployment: DeploymentResponse | None) -> datetime | None:
    """When an active schedule comes due next: Prefect makes its runs some seconds after it was switched on."""
    if deployment is None or not is_active(deployment):
        return None
    due = [
        next(occurrences(entry.schedule.cron, ZoneInfo(entry.schedule.timezone or "UTC"), datetime.now(UTC)))
        for entry in deployment.schedules
        if entry.active and isinstance(entry.schedule, CronSchedule)
    ]
    return min(due, default=None)


def _runs(client: SyncPrefectClient, ids: Iterable[UUID], wanted: FlowRunFilterState) -> Iterator[FlowRun]:
    """Runs of these deployments in the wanted states, the newest first, page by page as they are asked for."""
    known, offset = list(ids), 0
    while known:
        page = client.read_flow_runs(
            deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=known)),
            flow_run_filter=FlowRunFilter(state=wanted),
            sort=FlowRunSort.END_TIME_DESC,
            limit=PAGE,
            offset=offset,
        )
        yield from page
        offset += len(page)
        if len(page) < PAGE:
            return


def _next_runs(client: SyncPrefectClient, deployments: dict[str, DeploymentResponse]) -> dict[str, datetime]:
    """When the next run of each export is due, late ones too; the route is the one Prefect's own flow list uses."""
    names = {str(deployment.flow_id): name for name, deployment in deployments.items()}
    found: dict[str, datetime] = {}
    flow_ids = list(names)
    for begin in range(0, len(flow_ids), PAGE):
        answer = post(client, "/ui/flows/next-runs", {"flow_ids": flow_ids[begin : begin + PAGE]})
        for flow_id, run in answer.items():
            if run is not None and run["state_name"] != "AwaitingRetry":
                found[names[flow_id]] = datetime.fromisoformat(run["next_scheduled_start_time"])
    return found


def _last_ended(client: SyncPrefectClient, ids: dict[UUID, str]) -> dict[str, FlowRun]:
    last: dict[str, FlowRun] = {}
    for run in islice(_runs(client, ids, _ENDED), _RECENT):
        if run.deployment_id in ids:
            last.setdefault(ids[run.deployment_id], run)
        if len(last) == len(ids):
            return last
    if len(last) < len(ids):
        for deployment_id, name in ids.items():
            if name not in last:
                older = next(_runs(client, [deployment_id], _ENDED), None)
                last |= {name: older} if older else {}
    return last
