"""`plan` and `apply` as a pipeline uses them: differences in words, and an apply that died is finished by the next."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest
import yaml
from api_proxy import api_proxy
from prefect import flow
from prefect.client.schemas.actions import DeploymentUpdate
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect_server import NIGHTLY, deployment_of, status_of
from workshop import Workshop

from catalog.places import ROOT
from deployments.prefect_api import prefect_api
from deployments.project import load_project


def words(workshop: Workshop, command: str = "plan") -> list[str]:
    return workshop.run(command).stdout.splitlines()


def test_a_new_export_an_edited_live_one_and_one_that_is_gone_are_told_in_words(prefect: Workshop) -> None:
    prefect.sqlite()
    live, gone, new = (prefect.id(stem) for stem in ("a", "b", "c"))
    for export_id in (live, gone):
        prefect.export(export_id, schedule=NIGHTLY, file={"name": f"{export_id}.csv"})
    prefect.run("apply", "--activate")
    (prefect.catalog_folder / "exports" / f"{gone}.yaml").unlink()
    prefect.export(new, file={"name": "new.csv"})
    schedule = {**NIGHTLY, "cron": "0 3 * * *"}
    prefect.export(live, schedule=schedule, where="id > 1", file={"name": "other.csv", "csv": {"delimiter": ";"}})
    expected = [
        f"{live}: edited: file.csv nothing -> {{\"delimiter\": \";\"}}, file.name '{live}.csv' -> 'other.csv', "
        "where nothing -> 'id > 1', schedule.cron '0 2 * * *' -> '0 3 * * *'; is scheduled: takes effect at once",
        f"{gone}: gone from the catalog, so its deployment is removed, though it is scheduled",
        f"{new}: new",
    ]
    assert words(prefect) == expected
    changed = prefect.json("plan", "--exit-code", exit_code=4)
    assert [(entry["change"], entry["active"]) for entry in changed] == [
        ("edited", True),
        ("gone", True),
        ("new", False),
    ]
    assert changed[0]["details"] == ["file", "schedule", "where"] and changed[0]["by_hand"] is False
    assert {"key": "schedule.cron", "from": "0 2 * * *", "to": "0 3 * * *"} in changed[0]["changes"]
    assert words(prefect, "apply") == expected and words(prefect) == []
    assert status_of(prefect, live) == "scheduled"


def pipeline_steps() -> dict[str, str]:
    """The commands of the documented pipeline by the name of their step."""
    text = (ROOT / "docs" / "gitops.md").read_text()
    pipeline = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    return {step["name"]: step["run"] for step in pipeline["jobs"]["exports"]["steps"] if "run" in step}


def test_the_documented_pipeline_works(prefect: Workshop, prefect_url: str) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    steps = pipeline_steps()
    assert list(steps) == ["Install", "Check the definitions", "Show what would change", "Bring Prefect to the catalog"]
    said = {}
    for name in list(steps)[1:]:
        script = steps[name].replace(".venv/bin/exports", f"{sys.executable} -m manage.start_up")
        environment = {**os.environ, "PREFECT_API_URL": prefect_url}
        done = subprocess.run(["bash", "-e", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (name, done.stdout, done.stderr)
        said[name] = done.stdout
    assert said["Show what would change"] == f"{export_id}: new\n" == said["Bring Prefect to the catalog"]
    assert deployment_of(export_id).paused


def test_what_a_person_changed_in_prefect_is_told_apart_from_an_edit(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    deployment = deployment_of(export_id)
    parameters: dict[str, Any] = {**deployment.parameters, "since": "2026-01-01T00:00:00Z"}
    parameters["definition"] = {**parameters["definition"], "retries": 9}
    with prefect_api() as client:
        client.update_deployment(deployment.id, DeploymentUpdate(parameters=parameters))
    assert words(prefect) == [
        f"{export_id}: changed by hand in Prefect, and put back: retries 9 -> nothing, "
        "since '2026-01-01T00:00:00Z' -> nothing"
    ]
    assert prefect.json("plan")[0]["by_hand"] is True
    prefect.run("apply")
    assert words(prefect) == []


@pytest.mark.parametrize("key", ["tags", "description", "parameter_openapi_schema"])
def test_what_stands_beside_the_parameters_is_changed_by_hand_too(prefect: Workshop, key: str) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    deployment = deployment_of(export_id)
    changed = {
        "tags": [*deployment.tags, "mine"],
        "description": "mine",
        "parameter_openapi_schema": {**deployment.parameter_openapi_schema, "title": "Mine"},
    }
    with prefect_api() as client:
        client.update_deployment(deployment.id, DeploymentUpdate(**{key: changed[key]}))
    (found,) = prefect.json("plan")
    assert found["change"] == "edited" and found["by_hand"] is True and len(found["details"]) == 1
    prefect.run("apply")
    assert words(prefect) == []


def test_a_tables_other_data_type_is_an_edit(prefect: Workshop) -> None:
    prefect.sqlite()
    prefect.export(schedule=NIGHTLY)
    prefect.run("apply")
    prefect.database("crm", f"sqlite:///{prefect.folder / 'crm.sqlite'}", tables={"orders": "linked_data"})
    (found,) = prefect.json("plan")
    assert found["details"] == ["tags"] and found["by_hand"] is False


def renamed(workshop: Workshop, **keys: Any) -> tuple[str, str]:
    """An incremental export that has delivered once, and the id that the new name of its YAML gives it."""
    workshop.sqlite()
    before, after = workshop.incremental(workshop.id("before"), schedule=NIGHTLY), workshop.id("after")
    workshop.run("run", before)
    workshop.run("activate", before)
    (workshop.catalog_folder / "exports" / f"{before}.yaml").unlink()
    workshop.incremental(after, schedule=NIGHTLY, name="Another name", **keys)
    return before, after


def test_an_export_whose_yaml_was_renamed_does_not_begin_anew_without_a_word(prefect: Workshop) -> None:
    before, after = renamed(prefect)
    looks = f"{after}: new, and looks like {before}, which is gone: `apply` wants --since, or the old file name"
    assert looks in words(prefect)
    error = prefect.json("apply", "--activate", exit_code=1)["error"]
    assert (error["code"], error["export"]) == ("SOURCE_CHANGED", after) and f"{before}.yaml" in error["hint"]
    assert deployment_of(before).schedules[0].active, "nothing is written"
    prefect.run("apply", "--activate", "--since", "2026-01-03T00:00")
    assert words(prefect) == []
    assert prefect.json("run", after)["window"]["since"] == "2026-01-02T23:00:00+00:00"


def test_the_old_name_of_a_yaml_goes_on_where_it_was(prefect: Workshop) -> None:
    before, after = renamed(prefect)
    folder = prefect.catalog_folder / "exports"
    (folder / f"{after}.yaml").rename(folder / f"{before}.yaml")
    prefect.run("apply")
    report = prefect.json("run", before)
    assert report["window"]["since"] is not None and report["rows"] == 0


@pytest.mark.parametrize(
    "keys",
    [
        {"cursor": {"start": "2026-01-02T00:00:00Z"}},
        {"target": "other"},
        {"table": None, "query": "SELECT * FROM orders", "cursor": {"key": ["id"]}},
    ],
    ids=["its beginning is said", "another target", "another source"],
)
def test_what_is_another_export_is_just_new(prefect: Workshop, keys: dict[str, Any]) -> None:
    prefect.target("other", str(prefect.drop))
    _, after = renamed(prefect, **keys)
    assert next(entry for entry in prefect.json("plan") if entry["export"] == after)["renamed_from"] is None
    prefect.run("apply")


def test_only_what_carries_the_projects_tag_is_ever_touched(prefect: Workshop) -> None:
    prefect.sqlite()
    tag = load_project().tag

    @flow(name=prefect.id("their_flow"))
    def theirs() -> None:
        pass

    with prefect_api() as client:
        flow_id = client.create_flow(theirs)
        made = {
            name: client.create_deployment(flow_id=flow_id, name=prefect.id(name), tags=tags, entrypoint=entrypoint)
            for name, tags, entrypoint in (
                ("plain", [], "flows.exports.plain"),
                ("alike", ["export", "project:another", "database:crm"], f"flows.exports.{prefect.id('alike')}"),
                ("orphan", ["export", tag], "elsewhere.flow"),
            )
        }
    try:
        orphan = prefect.id("orphan")
        assert words(prefect) == [f"{orphan}: no export, but with this project's tag, so it is removed"]
        assert [(entry["export"], entry["change"]) for entry in prefect.json("apply")] == [(orphan, "orphan")]
        with prefect_api() as client:
            left = {entry.id for entry in client.read_deployments(limit=200)}
        assert made["orphan"] not in left and {made["plain"], made["alike"]} <= left
    finally:
        with prefect_api() as client:
            for name in ("plain", "alike"):
                client.delete_deployment(made[name])


@dataclass
class Killer:
    """Kills a process at the n-th request that it makes of a kind, before or after the server has done it."""

    wanted: Callable[[str, str], bool]
    number: int
    process: subprocess.Popen[bytes] | None = None
    seen: list[str] = field(default_factory=list)

    def __call__(self, method: str, path: str) -> int | None:
        if self.wanted(method, path):
            self.seen.append(path)
            if len(self.seen) == self.number:
                assert self.process is not None
                self.process.kill()
                self.process.wait()
                return 503
        return None


def is_writing(method: str, path: str) -> bool:
    return method in ("PATCH", "DELETE") or (method == "POST" and path in ("/flows/", "/deployments/"))


@pytest.mark.parametrize("number", [1, 3, 4, 5, 7])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_an_apply_that_was_killed_is_finished_by_the_next(
    prefect: Workshop, prefect_url: str, number: int, done: bool
) -> None:
    prefect.sqlite()
    edited, gone, *new = (prefect.id(stem) for stem in ("b_edited", "d_gone", "a", "c"))
    for export_id in (edited, gone):
        prefect.export(export_id, schedule=NIGHTLY, file={"name": f"{export_id}.csv"})
    prefect.run("apply", "--activate")
    before = deployment_of(edited)
    (prefect.catalog_folder / "exports" / f"{gone}.yaml").unlink()
    prefect.export(edited, schedule={**NIGHTLY, "cron": "0 3 * * *"}, where="id > 1", file={"name": "edited.csv"})
    for export_id in new:
        prefect.export(export_id, schedule=NIGHTLY, file={"name": f"{export_id}.csv"})
    killer = Killer(is_writing, number)
    ignored: Callable[[str, str], int | None] = lambda method, path: None  # noqa: E731
    with api_proxy(prefect_url, *((ignored, killer) if done else (killer, ignored))) as api:
        killer.process = subprocess.Popen(
            [sys.executable, "-m", "manage.start_up", "apply"],
            env={**os.environ, "PREFECT_API_URL": api},
            stdout=subprocess.DEVNULL,
        )
        assert killer.process.wait(timeout=120) == -9, killer.seen
    # After the last write nothing is left, unless the server was busy and one of them had to be sent again.
    assert words(prefect) != [] or (number == 7 and done)
    prefect.run("apply")
    assert words(prefect) == [] and prefect.json("plan", "--exit-code") == []
    after = deployment_of(edited)
    assert after.id == before.id and after.version == prefect.load(edited).hash
    assert [(entry.id, entry.active) for entry in after.schedules] == [(before.schedules[0].id, True)]
    statuses = {entry["id"]: entry["status"] for entry in prefect.json("list")}
    assert statuses == {edited: "scheduled", **dict.fromkeys(new, "draft")}


def test_a_server_that_is_busy_is_asked_again(prefect: Workshop, prefect_url: str) -> None:
    prefect.sqlite()
    ids = [prefect.export(prefect.id(stem), file={"name": f"{stem}.csv"}) for stem in ("one", "two")]
    refused: list[str] = []

    def busy(method: str, path: str) -> int | None:
        # As the server does whose database is locked.
        if is_writing(method, path) and path not in refused:
            refused.append(path)
            return 503
        return None

    with api_proxy(prefect_url, busy) as api, temporary_settings({PREFECT_API_URL: api}):
        assert [entry["export"] for entry in prefect.json("apply")] == ids and refused
    assert words(prefect) == []


def test_an_apply_that_the_server_refuses_in_the_middle_says_so_and_is_finished_by_the_next(
    prefect: Workshop, prefect_url: str
) -> None:
    prefect.sqlite()
    one, two = (prefect.export(prefect.id(stem), file={"name": f"{stem}.csv"}) for stem in ("one", "two"))
    made: list[str] = []

    def locked(method: str, path: str) -> int | None:
        if (method, path) == ("POST", "/deployments/"):
            made.append(path)
            return 503 if len(made) > 1 else None
        return None

    settings = {PREFECT_CLIENT_MAX_RETRIES: 0}
    with api_proxy(prefect_url, locked) as api, temporary_settings({PREFECT_API_URL: api, **settings}):
        error = prefect.json("apply", exit_code=1)["error"]
    assert error["code"] == "PREFECT_UNREACHABLE" and "503" in error["message"]
    assert "goes on where it stopped" in error["hint"]
    assert [(entry["export"], entry["change"]) for entry in prefect.json("apply")] == [(two, "new")]
    assert prefect.json("plan") == [] and isinstance(deployment_of(one).id, UUID)
