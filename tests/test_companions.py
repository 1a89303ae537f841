"""Flows that stand beside the exports': deployed, kept in step, removed, and never taken for exports."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect_server import NIGHTLY, deployment_of
from workshop import Workshop

from deployments import companions
from deployments.companions import Companion
from deployments.prefect_api import companion_deployments, prefect_api
from deployments.project import load_project

NAME = f"{load_project().name}-export"
DAILY, WEEKLY = (CronSchedule(cron=cron, timezone="Europe/Brussels") for cron in ("0 6 * * *", "0 6 * * 1"))
Put = Callable[..., None]


@pytest.fixture
def put(prefect: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Says with which schedules there is one more companion, or, with None, that there is none more."""
    others = companions.COMPANIONS

    def put(schedules: dict[str, CronSchedule] | None) -> None:
        mine = () if schedules is None else (Companion("flows.run.run", lambda expecting: schedules),)
        monkeypatch.setattr(companions, "COMPANIONS", (*others, *mine))

    yield put
    put(None)


def changes(prefect: Workshop, command: str) -> list[tuple[str, str, list[str]]]:
    found = prefect.json(command)
    assert {entry["kind"] for entry in found} <= {"companion"}
    return [(entry["export"], entry["change"], entry["details"]) for entry in found]


def ours() -> list[DeploymentResponse]:
    with prefect_api() as client:
        return [found for found in companion_deployments(client, load_project().tag) if found.name == NAME]


def test_apply_makes_a_companion_and_the_second_time_nothing(prefect: Workshop, put: Put) -> None:
    put({"export-daily": DAILY})
    assert changes(prefect, "plan") == [(NAME, "new", [])] and ours() == []
    prefect.run("plan", "--exit-code", exit_code=4)
    assert changes(prefect, "apply") == [(NAME, "new", [])]
    made = deployment_of(NAME)
    assert made.entrypoint == "flows.run.run" and set(made.tags) == {load_project().tag, "companion"}
    assert list(made.parameter_openapi_schema["properties"]) == ["since", "until", "definition"]
    assert made.description and not made.paused and made.pull_steps == load_project().pull_steps
    (schedule,) = made.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone, schedule.active) == (
        "0 6 * * *",
        "Europe/Brussels",
        True,
    )
    assert changes(prefect, "apply") == [] == changes(prefect, "plan")
    assert ours() == [made]
    prefect.run("plan", "--exit-code", exit_code=0)


def test_a_companion_is_put_right_and_stays_as_active_as_it_is(prefect: Workshop, put: Put) -> None:
    put({"export-daily": DAILY})
    prefect.run("apply")
    before = deployment_of(NAME)
    with prefect_api() as client:
        client.update_deployment(before.id, DeploymentUpdate(description="mine"))
        client.pause_deployment(before.id)
    put({"export-weekly": WEEKLY})
    assert changes(prefect, "apply") == [(NAME, "edited", ["description", "schedule"])]
    after = deployment_of(NAME)
    assert (after.id, after.description, after.paused) == (before.id, before.description, True)
    assert [(entry.slug, entry.schedule.cron) for entry in after.schedules] == [("export-weekly", "0 6 * * 1")]


def test_one_that_nobody_knows_any_more_is_removed(prefect: Workshop, put: Put) -> None:
    put({})
    prefect.run("apply")
    put(None)
    assert changes(prefect, "plan") == [(NAME, "gone", [])] == changes(prefect, "apply")
    assert ours() == []


def test_exports_are_listed_and_compared_without_companions(prefect: Workshop, put: Put) -> None:
    put({})
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("activate", export_id)
    assert len(ours()) == 1, "activation makes them too"
    assert [entry["id"] for entry in prefect.json("list")] == [export_id]
    assert prefect.json("plan") == []
