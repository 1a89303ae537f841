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
    return "scheduled" if state is None else status_of_state(state.type, state.name)


def status_of_state(kind: StateType, name: str | None) -> RunStatus:
    """The same, of a state's type and name alone."""
    return "running" if name == "AwaitingRetry" else _RUN_STATUS.get(kind, "running")


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


def version_tag(version: str) -> str:
    """The tag of a deployment that says which definition it carries, so that it can be asked for by that."""
    return f"version:{version[:12]}"


def is_active(deployment: DeploymentResponse | None) -> bool:
    """Whether the deployment makes runs by itself: not paused, and a schedule switched on."""
    if deployment is None or deployment.paused:
        return False
    return any(schedule.active for schedule in deployment.schedules)
