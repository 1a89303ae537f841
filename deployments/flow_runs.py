"""One export's flow runs, as Prefect's API gives them."""

from __future__ import annotations

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterStateType,
    Operator,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.sorting import FlowRunSort

from deployments.prefect_api import PAGE

_BEGUN = FlowRunFilterState(
    operator=Operator.or_,  # type: ignore[call-arg]
    type=FlowRunFilterStateType(any_=[kind for kind in StateType if kind is not StateType.SCHEDULED]),
    name=FlowRunFilterStateName(any_=["AwaitingRetry"]),
)
_WAITING = FlowRunFilterState(
    type=FlowRunFilterStateType(any_=[StateType.SCHEDULED]), name=FlowRunFilterStateName(not_any_=["AwaitingRetry"])
)


def begun_runs(client: SyncPrefectClient, export_id: str, tag: str, limit: int) -> list[FlowRun]:
    """The export's runs that have begun, the newest first."""
    return _runs(client, export_id, tag, FlowRunFilter(state=_BEGUN), FlowRunSort.EXPECTED_START_TIME_DESC, limit)


def waiting_runs(client: SyncPrefectClient, export_id: str, tag: str, limit: int = PAGE) -> list[FlowRun]:
    """The export's runs that wait for their time, late ones too, the next first."""
    return _runs(client, export_id, tag, FlowRunFilter(state=_WAITING), FlowRunSort.EXPECTED_START_TIME_ASC, limit)


def _runs(
    client: SyncPrefectClient, export_id: str, tag: str, wanted: FlowRunFilter, sort: FlowRunSort, limit: int
) -> list[FlowRun]:
    found: list[FlowRun] = []
    while len(found) < limit:
        size = min(PAGE, limit - len(found))
        page = client.read_flow_runs(
            flow_run_filter=wanted,
            deployment_filter=DeploymentFilter(
                name=DeploymentFilterName(any_=[export_id]), tags=DeploymentFilterTags(all_=[tag])
            ),
            sort=sort,
            limit=size,
            offset=len(found),
        )
        found.extend(page)
        if len(page) < size:
            break
    return found
