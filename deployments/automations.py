"""Prefect's automations for all exports together: runs that died are found, and told of.

They are made and kept in step by `apply`, and carry the project's tag and `companion`; nothing without both is touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.events.actions import ChangeFlowRunState, RunDeployment
from prefect.events.filters import AutomationFilter, AutomationFilterTags
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger, Posture
from prefect.exceptions import ObjectNotFound

from catalog.errors import Code
from deployments.plan import Change, Difference
from deployments.prefect_api import COMPANION, PAGE
from deployments.project import Project

#: After this many heartbeats that did not come, a run is taken for dead: 90 s in the project as it stands.
MISSED_BEATS = 3
_BEAT = "prefect.flow-run.heartbeat"
#: What else a run that does not beat any more may be heard of: it has ended, or waits to be taken again.
_NOT_AT_WORK = (
    *("Completed", "Failed", "TimedOut", "Crashed", "Cancelled"),
    *("AwaitingRetry", "Scheduled", "Late", "Pending"),
)
#: The state of a run that a worker has taken, and how those are called that follow when its process works.
_TAKEN, _BEGUN = "Pending", ("Running", "Retrying")
#: How long a run may take from there to its first beat, on a busy machine too.
_LONGEST_START = timedelta(minutes=10)
#: Stands for the watch's deployment while there is none.
_NOT_YET = UUID(int=0)
_DIED = (
    f"{Code.PROCESS_VANISHED}: its process has not been heard of for a while. "
    "Try: relaunch, or wait for the next run, which goes on with its work"
)

_NEVER_BEGAN = (
    f"{Code.PROCESS_VANISHED}: a worker took it, and its process never began. Try: see the worker's log, then relaunch"
)


def wanted_automations(project: Project, watch: UUID) -> list[AutomationCore]:
    """The project's automations; `watch` is the id of the deployment of the flow that tells."""
    return [_mark_dead(project), _mark_never_begun(project), _tell_of_crashed(project, watch)]


def _mark_dead(project: Project) -> AutomationCore:
    return _mark_silent(
        project,
        name="runs that died",
        description="A run that sends no heartbeat any more is shown as crashed, not as running for ever.",
        after={_BEAT},
        expect={_BEAT, *_events(_NOT_AT_WORK)},
        within=timedelta(seconds=MISSED_BEATS * project.heartbeat_seconds),
        message=_DIED,
    )


def _mark_never_begun(project: Project) -> AutomationCore:
    taken = _events([_TAKEN])
    return _mark_silent(
        project,
        name="runs that never began",
        description="A run that a worker took and that has not begun long after is shown as crashed.",
        after=taken,
        expect={_BEAT, *_events((*_BEGUN, *_NOT_AT_WORK))} - taken,
        within=_LONGEST_START,
        message=_NEVER_BEGAN,
    )


def _mark_silent(
    project: Project, *, name: str, description: str, after: set[str], expect: set[str], within: timedelta, message: str
) -> AutomationCore:
    """A run of this project is crashed when nothing of what is expected follows `within` so long `after` an event."""
    return AutomationCore(
        name=f"{project.name}: {name}",
        description=description,
        tags=_tags(project),
        trigger=EventTrigger(
            posture=Posture.Proactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            match_related=_tagged(project.tag),
            for_each={"prefect.resource.id"},
            after=after,
            expect=expect,
            threshold=1,
            within=within,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message=message)],
    )


def _events(states: Iterable[str]) -> set[str]:
    return {f"prefect.flow-run.{state}" for state in states}


def _tell_of_crashed(project: Project, watch_id: UUID) -> AutomationCore:
    return AutomationCore(
        name=f"{project.name}: tell of crashed runs",
        description="Whom an export's `report` names is told of a run that crashed, since it could not do so itself.",
        tags=_tags(project),
        trigger=EventTrigger(
            posture=Posture.Reactive,
            match={"prefect.resource.id": "prefect.flow-run.*"},
            # Exports alone: a watch that crashes must not start the next.
            match_related=[_tagged(project.tag), _tagged("export")],
            expect={"prefect.flow-run.Crashed"},
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            RunDeployment(
                source="selected",
                deployment_id=watch_id,
                parameters={"crashed_run": {"__prefect_kind": "jinja", "template": "{{ flow_run.id }}"}},
            )
        ],
    )


def _tagged(tag: str) -> dict[str, Any]:
    return {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}


def _tags(project: Project) -> list[str]:
    return sorted([project.tag, COMPANION])


def standing_automations(client: SyncPrefectClient, project: Project) -> list[Automation]:
    """The project's automations as Prefect holds them."""
    wanted = AutomationFilter(tags=AutomationFilterTags(all_=_tags(project)))
    found: list[Automation] = client.read_automations(automations=wanted, limit=PAGE)
    return found


def automation_differences(project: Project, watch: UUID | None, standing: Sequence[Automation]) -> list[Difference]:
    """How the automations differ from what is wanted, those that are the same left out. `watch` as below, if it is."""
    by_name = {automation.name: automation for automation in standing}
    wanted = {automation.name: automation for automation in wanted_automations(project, watch or _NOT_YET)}
    found = [
        Difference(name, change, tuple(details), by_name[name].enabled if name in by_name else False, "automation")
        for name, automation in wanted.items()
        for change, details in [_compare(automation, by_name.get(name))]
        if change != "same"
    ]
    gone = [Difference(name, "gone", (), by_name[name].enabled, "automation") for name in by_name.keys() - wanted]
    return found + sorted(gone, key=lambda difference: difference.export)


def keep_automations(client: SyncPrefectClient, project: Project, watch: UUID) -> list[Difference]:
    """Make, change and remove automations until they are as they should be; returns what had to be done.

    One that was switched off by hand stays off. `watch` is the id of the deployment of the flow that tells.
    """
    standing = standing_automations(client, project)
    by_name = {automation.name: automation for automation in standing}
    wanted = {automation.name: automation for automation in wanted_automations(project, watch)}
    found = automation_differences(project, watch, standing)
    for difference in found:
        name = difference.export
        if difference.change == "new":
            client.create_automation(wanted[name])
        elif difference.change == "edited":
            kept = wanted[name].model_copy(update={"enabled": by_name[name].enabled})
            client.update_automation(by_name[name].id, kept)
        else:
            with suppress(ObjectNotFound):
                client.delete_automation(by_name[name].id)
    return found


def _compare(wanted: AutomationCore, standing: Automation | None) -> tuple[Change, list[str]]:
    if standing is None:
        return "new", []
    ours, theirs = (found.model_dump(exclude={"id", "enabled"}) for found in (wanted, standing))
    details = [key for key in ours if ours[key] != theirs[key]]
    return ("edited", details) if details else ("same", [])
