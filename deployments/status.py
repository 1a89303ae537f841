"""The status of an export: the first of four that holds. Pure: it reads what the caller fetched."""

from __future__ import annotations

from typing import Literal

from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.responses import DeploymentResponse

from catalog.receipt import RunStatus

Status = Literal["draft", "scheduled", "in_progress", "finished"]

_RUN_STATUS: dict[StateType, RunStatus] = {
    StateType.COMPLETED: "succeeded",
    StateType.FAILED: "failed",
    StateType.CRASHED: "failed",
    StateType.CANCELLED: "failed",
    StateType.SCHEDULED: "scheduled",
}


def run_status(state: State | None) -> RunStatus:
    """What a flow run's state means to a person; a run that waits for its retry is running."""
    if state is None:
        return "scheduled"
    if state.name == "AwaitingRetry":
        return "running"
    return _RUN_STATUS.get(state.type, "running")


def export_status(export_type: str, *, active: bool, running: bool, waiting: bool, ended: bool) -> Status:
    """The status of one export.

    `active`: its deployment makes runs by itself; `running`: a run has begun and not ended; `waiting`: a run
    waits for its time; `ended`: a run has ended, however.
    """
    if running:
        return "in_progress"
    if active or waiting:
        return "scheduled"
    return "finished" if export_type == "one_shot" and ended else "draft"


def is_active(deployment: DeploymentResponse | None) -> bool:
    """Whether the deployment makes runs by itself: not paused, and a schedule switched on."""
    if deployment is None or deployment.paused:
        return False
    return any(schedule.active for schedule in deployment.schedules)
