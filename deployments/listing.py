"""All exports with their status, next and last run: what is listed, in which order, and how many there are of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, replace
from datetime import datetime
from math import inf
from typing import Any, Literal, get_args

from prefect.client.schemas.responses import DeploymentResponse

from catalog.definition import Export, ExportType
from catalog.load import data_type_of
from catalog.suggest import did_you_mean
from deployments.overview import EndedRun, Runs, deployments_to_read, look_at_runs, next_by_schedule
from deployments.status import Status, export_status, is_active
from deployments.workspace import Workspace

Sort = Literal["name", "next", "last", "status"]
SORTS: tuple[Sort, ...] = get_args(Sort)
STATUSES: tuple[Status, ...] = get_args(Status)
#: What a person looks for first comes first.
_URGENCY: tuple[Status, ...] = ("in_progress", "scheduled", "draft", "finished")


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
    last_run: EndedRun | None

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
                "run_id": last.id,
                "status": last.status,
                "ended_at": last.ended_at.isoformat() if last.ended_at else None,
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


@dataclass(frozen=True, slots=True)
class Listing:
    """What was asked for. `counts` are the exports of each status that the filters admit, but for the one by status;
    `remarks` say of a filter that it names nothing there is."""

    entries: list[Listed]
    counts: dict[Status, int]
    remarks: tuple[str, ...]


def list_exports(workspace: Workspace, filters: Filters | None = None, sort: Sort = "name") -> Listing:
    """Every export of the catalog that the filters admit; those of one rank by name."""
    filters = filters or Filters()
    # Prefect's server works while the files are read.
    with ThreadPoolExecutor(1) as beside:
        # In this thread's context, which holds Prefect's settings.
        asked = beside.submit(copy_context().run, look_at_runs, workspace.client, workspace.project.tag)
        exports = workspace.catalog.exports.values()
        runs = asked.result()
    everything = sorted(_list(workspace, exports, runs), key=_ORDERS[sort])
    fitting = [entry for entry in everything if replace(filters, status=None).admit(entry)]
    return Listing(
        entries=[entry for entry in fitting if filters.admit(entry)],
        counts={status: sum(entry.status == status for entry in fitting) for status in STATUSES},
        remarks=_remarks(workspace, filters, everything),
    )


def list_one(workspace: Workspace, export: Export) -> Listed:
    """The line of one export."""
    return _list(workspace, [export], look_at_runs(workspace.client, workspace.project.tag, [export.id]))[0]


def _list(workspace: Workspace, exports: Iterable[Export], runs: Runs) -> list[Listed]:
    by_id = {export.id: export for export in exports}
    versions = {name: export.hash for name, export in by_id.items()}
    read = deployments_to_read(workspace.client, workspace.project.tag, runs, versions)
    return [_listed(workspace, export, versions[name], runs, read.get(name)) for name, export in by_id.items()]


def _listed(
    workspace: Workspace, export: Export, version: str, runs: Runs, deployment: DeploymentResponse | None
) -> Listed:
    last, next_run = runs.ended.get(export.id), runs.next_runs.get(export.id)
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
            running=export.id in runs.running,
            waiting=next_run is not None,
            ended=last is not None,
        ),
        version=(deployment.version if deployment else None) or version,
        next_run=next_run or next_by_schedule(deployment),
        last_run=last,
    )


def _by_name(entry: Listed) -> tuple[str, str]:
    return entry.name.casefold(), entry.id


def _soonest(entry: Listed) -> tuple[float, tuple[str, str]]:
    return entry.next_run.timestamp() if entry.next_run else inf, _by_name(entry)


def _latest(entry: Listed) -> tuple[float, tuple[str, str]]:
    ended_at = entry.last_run.ended_at if entry.last_run else None
    return -ended_at.timestamp() if ended_at else inf, _by_name(entry)


def _most_urgent(entry: Listed) -> tuple[int, tuple[str, str]]:
    return _URGENCY.index(entry.status), _by_name(entry)


_ORDERS: dict[Sort, Callable[[Listed], Any]] = {
    "name": _by_name,
    "next": _soonest,
    "last": _latest,
    "status": _most_urgent,
}


def _remarks(workspace: Workspace, filters: Filters, everything: Sequence[Listed]) -> tuple[str, ...]:
    databases = {*workspace.catalog.databases, *(entry.database for entry in everything)}
    data_types = {entry.data_type for entry in everything if entry.data_type}
    return (
        *_unknown("database", filters.database, databases),
        *_unknown("data type", filters.data_type, data_types),
    )


def _unknown(what: str, asked: str | None, known: set[str]) -> list[str]:
    if asked is None or asked in known:
        return []
    there = f"there are {', '.join(sorted(known))}" if known else "there are none"
    return [f"no export has the {what} {asked!r}{did_you_mean(asked, known)} ({there})"]
