"""What Prefect says of many exports, in few calls and none that is slow.

A server that reads a deployment checks its cron schedule against the machine's time zones anew, 7 ms each. So they are
read only where nothing else tells: flows stand for them (an export's flow has its name), a run that waits tells that an
export is scheduled, and a tag which version is deployed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import TERMINAL_STATES, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule

from catalog.model import ID_PATTERN
from catalog.receipt import RunStatus
from catalog.schedule import occurrences
from deployments.flow_runs import waiting_runs
from deployments.prefect_api import PAGE, post, tagged_deployments
from deployments.status import is_active, status_of_state, version_tag
from flows.moments import in_utc

_ENDED = {"state": {"type": {"any_": [kind.value for kind in TERMINAL_STATES]}}}
_BEGUN = [kind.value for kind in StateType if kind not in {*TERMINAL_STATES, StateType.SCHEDULED}]
_IN_PROGRESS = {"state": {"operator": "or_", "type": {"any_": _BEGUN}, "name": {"any_": ["AwaitingRetry"]}}}
#: A companion's flow has a name that no export can have.
_IS_EXPORT = re.compile(ID_PATTERN).fullmatch
#: A server's SQLite takes so many tags in one call.
_TAGS = 100
#: A page of runs that tells of fewer exports costs more than asking for these one by one.
_POOR = 8


@dataclass(frozen=True, slots=True)
class EndedRun:
    """Of the runs of an export that have ended, the one that began last."""

    id: str
    status: RunStatus
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Runs:
    """By export: when its next run is due (late ones too), its last that ended, and which have one in progress.

    `flows` are the exports that are deployed, by the id of their flow.
    """

    flows: Mapping[str, str]
    next_runs: Mapping[str, datetime]
    ended: Mapping[str, EndedRun]
    running: Collection[str]


def look_at_runs(client: SyncPrefectClient, tag: str, names: Collection[str] | None = None) -> Runs:
    """What is said of the runs of every export that is deployed, or of those among `names`."""
    found = _flows(client, {"tags": {"all_": [tag]}, **_named(names)})
    flows = {flow["id"]: flow["name"] for flow in found if _IS_EXPORT(flow["name"])}
    wanted = {"tags": {"all_": [tag]}, **_named(flows.values())}
    begun = _pages(client, "/flow_runs/filter", {"deployments": wanted, "flow_runs": _IN_PROGRESS})
    running = {flows.get(run["flow_id"], "") for run in begun}
    shared = _shared(client, flows)
    return Runs(flows, _next_runs(client, tag, flows, shared), _last_ended(client, tag, flows, shared), running)


def deployments_to_read(
    client: SyncPrefectClient, tag: str, runs: Runs, versions: Mapping[str, str]
) -> dict[str, DeploymentResponse]:
    """The deployments of those exports whose status or version nothing else tells.

    `versions` are the catalog's: what is deployed in that version need not be read.
    """
    deployed = runs.flows.values()
    ours = {"tags": {"all_": [tag]}}
    silent = [name for name in deployed if name not in runs.next_runs]
    unpaused = {"paused": {"eq_": False}}
    doubtful = {flow["name"] for flow in _flows(client, {**ours, **_named(silent), **unpaused})} if silent else set()
    same = _of_version(client, tag, {name: versions[name] for name in deployed if name in versions})
    doubtful |= set(deployed).intersection(versions) - same
    return {entry.name: entry for entry in tagged_deployments(client, tag, names=doubtful)} if doubtful else {}


def next_by_schedule(deployment: DeploymentResponse | None) -> datetime | None:
    """When an active schedule comes due next: Prefect makes its runs some seconds after it was switched on."""
    if deployment is None or not is_active(deployment):
        return None
    due = [
        next(occurrences(entry.schedule.cron, ZoneInfo(entry.schedule.timezone or "UTC"), datetime.now(UTC)))
        for entry in deployment.schedules
        if entry.active and isinstance(entry.schedule, CronSchedule)
    ]
    return min(due, default=None)


def _of_version(client: SyncPrefectClient, tag: str, versions: Mapping[str, str]) -> set[str]:
    """Those that are deployed in the version given."""
    found: set[str] = set()
    names = list(versions)
    for begin in range(0, len(names), _TAGS):
        some = names[begin : begin + _TAGS]
        tags = {"all_": [tag], "any_": [version_tag(versions[name]) for name in some]}
        found |= {flow["name"] for flow in _flows(client, {"tags": tags, **_named(some)})}
    return found


def _named(names: Collection[str] | None) -> dict[str, Any]:
    return {} if names is None else {"name": {"any_": list(names)}}


def _flows(client: SyncPrefectClient, deployments: dict[str, Any]) -> Iterator[Any]:
    return _pages(client, "/flows/filter", {"deployments": deployments})


def _pages(client: SyncPrefectClient, path: str, wanted: dict[str, Any]) -> Iterator[Any]:
    found = 0
    while True:
        page = post(client, path, {**wanted, "limit": PAGE, "offset": found})
        yield from page
        found += len(page)
        if len(page) < PAGE:
            return


def _shared(client: SyncPrefectClient, flows: Mapping[str, str]) -> set[str]:
    """The flows that a person has given a second deployment: what is said of these need not be the export's own."""
    found: set[str] = set()
    for some in _batches(list(flows)):
        counts = post(client, "/ui/flows/count-deployments", {"flow_ids": some})
        found |= {flow for flow, count in counts.items() if count > 1}
    return found


def _next_runs(
    client: SyncPrefectClient, tag: str, flows: Mapping[str, str], shared: Collection[str]
) -> dict[str, datetime]:
    """The route is the one that Prefect's own list of flows uses."""
    found: dict[str, datetime] = {}
    for some in _batches([flow for flow in flows if flow not in shared]):
        for flow, run in post(client, "/ui/flows/next-runs", {"flow_ids": some}).items():
            if run is not None and run["state_name"] != "AwaitingRetry":
                found[flows[flow]] = datetime.fromisoformat(run["next_scheduled_start_time"])
    for name in (flows[flow] for flow in shared):
        for run in waiting_runs(client, name, tag, 1):
            if run.next_scheduled_start_time is not None:
                found[name] = in_utc(run.next_scheduled_start_time)
    return found


def _batches(ids: list[str]) -> Iterator[list[str]]:
    for begin in range(0, len(ids), PAGE):
        yield ids[begin : begin + PAGE]


def _last_ended(
    client: SyncPrefectClient, tag: str, flows: Mapping[str, str], shared: Collection[str]
) -> dict[str, EndedRun]:
    """Page by page, each of the exports that are still missing; so none is read far into another's history."""
    ours = {"tags": {"all_": [tag]}}
    last: dict[str, EndedRun] = {}
    missing, poor, alone = [flow for flow in flows if flow not in shared], 0, list(shared)
    while missing:
        page = _newest_ended(client, missing, PAGE, ours)
        before = len(last)
        for run in page:
            last.setdefault(flows[run["flow_id"]], _ended(run))
        missing = [flow for flow in missing if flows[flow] not in last]
        poor += len(last) - before < _POOR
        if len(page) < PAGE:
            break
        if poor == _POOR:
            some = {"flows": {"id": {"any_": missing}}, "deployments": ours, "flow_runs": _ENDED}
            alone += [flow["id"] for flow in _pages(client, "/flows/filter", some)]
            break
    for flow in alone:
        for run in _newest_ended(client, [flow], 1, {**ours, **_named([flows[flow]])}):
            last[flows[flow]] = _ended(run)
    return last


def _newest_ended(client: SyncPrefectClient, flows: list[str], limit: int, deployments: dict[str, Any]) -> list[Any]:
    """Of the deployments that stand: a deleted export's runs stay with its flow, which the next of its id shares."""
    # The order of an index of the server's: by the end of runs, it sorts them all.
    body = {"flows": {"id": {"any_": flows}}, "deployments": deployments, "flow_runs": _ENDED, "limit": limit}
    page: list[Any] = post(client, "/flow_runs/filter", {**body, "sort": "START_TIME_DESC"})
    return page


def _ended(run: Mapping[str, Any]) -> EndedRun:
    ended_at = datetime.fromisoformat(run["end_time"]) if run["end_time"] else None
    return EndedRun(run["id"], status_of_state(StateType(run["state_type"]), run["state_name"]), ended_at)
