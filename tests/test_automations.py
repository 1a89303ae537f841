"""Prefect's automations of the project: made, kept in step, and never another's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.events.actions import DoNothing
from prefect.events.filters import AutomationFilter, AutomationFilterTags
from prefect.events.schemas.automations import Automation, AutomationCore, EventTrigger
from prefect_server import NIGHTLY, deployment_of
from workshop import Workshop

from deployments.automations import wanted_automations
from deployments.companions import keep_companions
from deployments.prefect_api import companion_deployments, prefect_api
from deployments.project import load_project
from deployments.workspace import open_workspace

PROJECT = load_project()
DIED, NEVER_BEGAN, CRASHED = (
    f"{PROJECT.name}: {what}" for what in ("runs that died", "runs that never began", "tell of crashed runs")
)


def standing(client: SyncPrefectClient) -> dict[str, Automation]:
    wanted = AutomationFilter(tags=AutomationFilterTags(any_=[PROJECT.tag]))
    return {found.name: found for found in client.read_automations(automations=wanted)}


def changes(prefect: Workshop, command: str) -> list[tuple[str, str, list[str]]]:
    found = prefect.json(command)
    assert {entry["kind"] for entry in found} <= {"automation"}
    return [(entry["export"], entry["change"], entry["details"]) for entry in found]


@pytest.fixture
def foreign(prefect: Workshop) -> Iterator[list[str]]:
    """Automations that are not ours, though one has the project's tag and one the name of ours."""
    trigger = EventTrigger(expect={"nothing.of.this"})
    mine = {
        f"mine {prefect.suffix}": [PROJECT.tag],
        f"other {prefect.suffix}": ["project:other", "companion"],
        DIED: ["project:other"],
    }
    with prefect_api() as client:
        ids = [
            client.create_automation(AutomationCore(name=name, tags=tags, trigger=trigger, actions=[DoNothing()]))
            for name, tags in mine.items()
        ]
        before = [client.read_automation(found) for found in ids]
        yield [str(found) for found in ids]
        assert [client.read_automation(found) for found in ids] == before
        for found in ids:
            client.delete_automation(found)


def test_they_stand_for_runs_of_this_project_alone(prefect: Workshop) -> None:
    with prefect_api() as client:
        found = standing(client)
    assert found.keys() == {DIED, NEVER_BEGAN, CRASHED}
    died, crashed = found[DIED].trigger, found[CRASHED].trigger
    assert isinstance(died, EventTrigger) and isinstance(crashed, EventTrigger)
    assert died.within == timedelta(seconds=90) and died.after == {"prefect.flow-run.heartbeat"} < died.expect
    # What a run that has ended by its own time limit is called.
    assert "prefect.flow-run.TimedOut" in died.expect
    tag = {"prefect.resource.id": f"prefect.tag.{PROJECT.tag}", "prefect.resource.role": "tag"}
    assert died.match_related.model_dump() == tag
    assert tag in [related.model_dump() for related in crashed.match_related]
    (action,) = found[CRASHED].actions
    assert action.deployment_id == deployment_of(f"{PROJECT.name}-watch").id


@pytest.mark.parametrize("command", [["apply"], ["activate"]])
def test_what_was_changed_or_removed_by_hand_is_put_right_and_nothing_else_is_touched(
    prefect: Workshop, foreign: list[str], command: list[str]
) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    assert changes(prefect, "plan") == []
    with prefect_api() as client:
        before = standing(client)
        changed = wanted_automations(PROJECT, deployment_of(f"{PROJECT.name}-watch").id)[0]
        assert isinstance(changed.trigger, EventTrigger)
        changed.trigger.within = timedelta(hours=9)
        client.update_automation(before[DIED].id, changed)
        client.delete_automation(before[CRASHED].id)
        client.pause_automation(before[NEVER_BEGAN].id)
    assert changes(prefect, "plan") == [(DIED, "edited", ["trigger"]), (CRASHED, "new", [])]
    prefect.run("plan", "--exit-code", exit_code=4)
    prefect.run(*command, *([export_id] if command == ["activate"] else []))
    with prefect_api() as client:
        after = standing(client)
        assert after[DIED] == before[DIED]
        assert after[CRASHED].model_dump(exclude={"id"}) == before[CRASHED].model_dump(exclude={"id"})
        assert not after[NEVER_BEGAN].enabled, "what was switched off by hand stays off"
        assert changes(prefect, "plan") == changes(prefect, "apply") == []
        assert standing(client) == after
        client.resume_automation(before[NEVER_BEGAN].id)


def test_they_follow_the_deployment_that_they_start(prefect: Workshop) -> None:
    with prefect_api() as client:
        client.delete_deployment(deployment_of(f"{PROJECT.name}-watch").id)
        with open_workspace() as workspace:
            assert {(found.export, found.change) for found in keep_companions(workspace)} == {
                (f"{PROJECT.name}-watch", "new"),
                (CRASHED, "edited"),
            }
        (watch,) = [found for found in companion_deployments(client, PROJECT.tag) if found.name.endswith("-watch")]
        assert standing(client)[CRASHED].actions[0].deployment_id == watch.id


def test_one_that_is_not_wanted_any_more_goes(prefect: Workshop) -> None:
    old = AutomationCore(
        name=f"{PROJECT.name}: old",
        tags=[PROJECT.tag, "companion"],
        trigger=EventTrigger(expect={"nothing.of.this"}),
        actions=[DoNothing()],
    )
    with prefect_api() as client:
        client.create_automation(old)
        assert changes(prefect, "plan") == [(old.name, "gone", [])] == changes(prefect, "apply")
        assert old.name not in standing(client)
