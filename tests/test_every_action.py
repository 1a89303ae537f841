"""Every action on every status of every type: what is answered, and what Prefect, catalog and ledger hold then."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from custom_modules import UPPER, CustomModules, modules_in
from prefect.states import Running
from prefect_server import NIGHTLY, deployment_of, turn_until
from workshop import Workshop

from deployments.prefect_api import find_deployment, post, prefect_api, tagged_deployments
from deployments.project import load_project

#: What each type of export has beside the common keys, and what else it has when it is to be scheduled.
TYPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "one_shot": ({}, {"schedule": {"at": "2099-01-01T00:00"}}),
    "periodic_full": ({"schedule": NIGHTLY}, {}),
    "incremental": ({"schedule": NIGHTLY, "cursor": {"column": "updated_at", "lag": "0s"}}, {}),
    "custom": ({"schedule": NIGHTLY, "table": None}, {}),
    "incremental_custom": (
        {"schedule": NIGHTLY, "cursor": {"column": "updated_at", "lag": "0s"}, "transform": "changes:upper"},
        {},
    ),
}
#: What has no meaning for an export whose rows are hand-written Python's, whatever its status.
NOT_CUSTOM = {"edit", "copy", "preview", "backfill", "download"}
#: The states an export is brought into: its four statuses, a draft in two ways, and with a last run that failed.
STATES = ("new", "unscheduled", "scheduled", "in_progress", "finished", "failed")

#: What only looks, whatever the status.
LOOKS = ("list", "show", "check", "preview", "runs", "ledger")
#: On which statuses an action is allowed (design: what each action does in Prefect); on others it exits with 3.
ALLOWED: dict[str, set[str]] = {
    **{look: {"draft", "scheduled", "in_progress", "finished"} for look in LOOKS},
    "edit": {"draft"},
    "delete": {"draft"},
    "activate": {"draft"},
    "copy": {"draft", "scheduled", "finished"},
    "unschedule": {"scheduled"},
    "run": {"draft", "scheduled"},
    "run --detach": {"draft", "scheduled"},
    "backfill": {"draft", "scheduled", "in_progress"},
    "download": {"finished"},
}
REFUSED, NO_RUN, NO_MEANING, TAKEN = "STATUS_REFUSED", "EXPORT_UNKNOWN", "DEFINITION_INVALID", "DEFINITION_DUPLICATE"


def states_of(type_: str) -> list[str]:
    """Only a one shot is ever finished: the others wait for their next run."""
    return [state for state in STATES if state != "finished" or type_ == "one_shot"]


def status_in(type_: str, state: str) -> str:
    """The status that the state is seen as."""
    if state == "failed":
        return "finished" if type_ == "one_shot" else "scheduled"
    return "draft" if state in ("new", "unscheduled") else state


def expected(action: str, type_: str, state: str) -> str | None:
    """The code of the refusal, or None when the action is carried out."""
    if action == "create":
        return TAKEN
    if action in ("report", "relaunch"):
        if state in ("new", "unscheduled", "scheduled"):
            return NO_RUN
        return REFUSED if action == "relaunch" and state != "failed" else None
    if type_ == "custom" and action in NOT_CUSTOM:
        return REFUSED
    if action == "backfill" and type_ in ("one_shot", "periodic_full"):
        return NO_MEANING
    if action == "download" and type_ != "one_shot":
        return REFUSED
    if action == "download" and state == "failed":
        return "FILE_GONE"
    return None if status_in(type_, state) in ALLOWED[action] else REFUSED


@dataclass(frozen=True)
class Bench:
    """One export in one state."""

    workshop: Workshop
    type: str
    id: str

    @property
    def yaml(self) -> Path:
        return self.workshop.catalog_folder / "exports" / f"{self.id}.yaml"

    def held(self) -> dict[str, Any]:
        """All that stands about the export: in Prefect, the catalog, the ledger and on the target."""
        with prefect_api() as client:
            found = find_deployment(client, self.id, load_project().tag)
            wanted = {"deployments": {"name": {"any_": [self.id]}}, "limit": 200}
            runs = post(client, "/flow_runs/filter", wanted)
        return {
            "paused": found.paused if found else None,
            "active": [entry.active for entry in found.schedules] if found else None,
            "version": found.version if found else None,
            # The scheduler makes and removes runs of its own meanwhile.
            "runs": {run["id"]: run["state_name"] for run in runs if not run["auto_scheduled"]},
            "yaml": {path.stem: path.read_text() for path in self.yaml.parent.glob(f"{self.id}*")},
            "windows": len(self.workshop.ledger.windows(self.id)),
            "files": {name for name in self.workshop.files() if name.startswith(self.id)},
        }


def prepared(prefect: Workshop, modules: CustomModules, type_: str, state: str) -> Bench:
    """An export of that type, brought into that state by what a person does."""
    keys, scheduled = TYPES[type_]
    keys = {**keys, **(scheduled if state == "scheduled" else {})}
    export_id = f"{type_}_{state}_{uuid.uuid4().hex[:8]}"
    if type_ == "custom":
        modules.flow(export_id, 'yield from frames(source, "SELECT * FROM orders")')
    prefect.export(export_id, type=type_, file={"name": "{export}_{run}.csv"}, retries=0, **keys)
    if state in ("unscheduled", "scheduled") or (state == "failed" and type_ != "one_shot"):
        prefect.run("activate", export_id)
    if state == "unscheduled" and type_ == "incremental_custom":
        # The command would make a standard export of it.
        with prefect_api() as client:
            deployment_id = deployment_of(export_id).id
            turn_until(prefect, export_id, "draft", lambda: client.pause_deployment(deployment_id))
    elif state == "unscheduled":
        prefect.run("unschedule", export_id)
    elif state == "in_progress":
        run_id = prefect.json("run", export_id, "--detach")["run_id"]
        with prefect_api() as client:
            client.set_flow_run_state(UUID(run_id), Running(), force=True)
    elif state == "finished":
        prefect.run("run", export_id)
    elif state == "failed":
        prefect.drop.rename(prefect.folder / "away")
        prefect.run("run", export_id, exit_code=1)
        (prefect.folder / "away").rename(prefect.drop)
    return Bench(prefect, type_, export_id)


def arguments_of(action: str, bench: Bench) -> list[str]:
    """The action as it is typed."""
    further = {
        "create": ["--type", bench.type, "--database", "crm", "--table", "orders", "--file-name", "other.csv"],
        "copy": [f"{bench.id}_copied"],
        "delete": ["--yes"],
        "unschedule": ["--yes"],
        "download": ["--to", str(bench.workshop.folder)],
        "backfill": ["--since", "2026-01-02T00:00", "--until", "2026-01-03T08:00:00"],
    }
    command, *options = action.split()
    ids = ["--search", bench.id] if command == "list" else [bench.id]
    return [command, *ids, *options, *further.get(action, [])]


Held = Mapping[str, Any]
#: What an action that changes something leaves behind, given what stood before, what stands now, and its answer.
LEAVES: dict[str, Callable[[Bench, Held, Held, Any], bool]] = {
    "edit": lambda bench, before, now, answer: (
        answer["changed"] and "# seen" in now["yaml"][bench.id] and now["version"] == before["version"]
    ),
    "delete": lambda bench, before, now, answer: now["version"] is None and bench.id not in now["yaml"],
    "copy": lambda bench, before, now, answer: (
        {**now, "yaml": {bench.id: now["yaml"][bench.id]}} == before
        and "transform" not in now["yaml"][f"{bench.id}_copied"]
    ),
    "activate": lambda bench, before, now, answer: (
        not now["paused"]
        and answer["status"] == "scheduled"
        and (list(now["runs"].values()) == ["Scheduled"] if bench.type == "one_shot" else now["active"] == [True])
    ),
    "unschedule": lambda bench, before, now, answer: (
        answer["status"] == "draft"
        and True not in now["active"]
        and "Scheduled" not in now["runs"].values()
        and "transform" not in now["yaml"][bench.id]
    ),
    "run": lambda bench, before, now, answer: (
        answer["status"] == "succeeded"
        and now["runs"] == {**before["runs"], answer["run_id"]: "Completed"}
        and len(now["files"]) > len(before["files"])
    ),
    "run --detach": lambda bench, before, now, answer: (
        now["runs"] == {**before["runs"], answer["run_id"]: "Scheduled"} and now["files"] == before["files"]
    ),
    "backfill": lambda bench, before, now, answer: (
        now["runs"] == {**before["runs"], answer["run_id"]: "Completed"}
        and now["windows"] == before["windows"] + 1
        and [file["rows"] for file in answer["files"] if answer["run_id"][:8] in file["name"]] == [1]
    ),
    "download": lambda bench, before, now, answer: (
        now == before and all(Path(path).read_bytes().startswith(b"id,") for path in answer["files"])
    ),
    "relaunch": lambda bench, before, now, answer: now["runs"] == {answer["run_id"]: "AwaitingRetry"},
}
#: What an action that only looks answers.
SAYS: dict[str, Callable[[Bench, str, Any], bool]] = {
    "list": lambda bench, state, answer: (
        [(entry["id"], entry["type"], entry["status"]) for entry in answer]
        == [(bench.id, bench.type, status_in(bench.type, state))]
    ),
    "show": lambda bench, state, answer: (
        answer["definition"]["type"] == bench.type
        and answer["source"] == ("catalog" if state == "new" else "deployment")
    ),
    "check": lambda bench, state, answer: all(problem["severity"] == "warning" for problem in answer),
    # A window is allotted before anything can fail: what comes next is what is newer.
    "preview": lambda bench, state, answer: (
        len(answer["files"]) == 1
        and len(answer["rows"]) == (0 if "incremental" in bench.type and state == "failed" else 3)
    ),
    "runs": lambda bench, state, answer: (
        [run["status"] for run in answer if run["status"] != "scheduled"]
        == {"in_progress": ["running"], "finished": ["succeeded"], "failed": ["failed"]}.get(state, [])
    ),
    "ledger": lambda bench, state, answer: len(answer) == (1 if state in ("finished", "failed") else 0),
    "report": lambda bench, state, answer: (
        answer["status"] == {"in_progress": "running", "finished": "succeeded", "failed": "failed"}[state]
        and answer["relaunchable"] == (state == "failed")
    ),
}
ACTIONS = ("create", *ALLOWED, "report", "relaunch")
CELLS = [(action, type_, state) for type_ in TYPES for state in states_of(type_) for action in ACTIONS]


class Benches:
    """Exports in the states asked for; one that nothing has changed is used again."""

    def __init__(self, workshop: Workshop, modules: CustomModules) -> None:
        self.workshop, self._modules, self._unchanged = workshop, modules, dict[tuple[str, str], Bench]()

    def take(self, type_: str, state: str) -> Bench:
        return self._unchanged.pop((type_, state), None) or prepared(self.workshop, self._modules, type_, state)

    def put_back(self, bench: Bench, state: str) -> None:
        self._unchanged[bench.type, state] = bench


@pytest.fixture(scope="module")
def benches(prefect_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    workshop = Workshop(tmp_path_factory.mktemp("every_action"))
    workshop.sqlite()
    with modules_in(workshop.folder / "custom") as modules:
        modules.write("changes", UPPER)
        yield Benches(workshop, modules)
    with prefect_api() as client:
        for deployment in tagged_deployments(client, load_project().tag):
            client.delete_deployment(deployment.id)


@pytest.fixture(autouse=True)
def _places(benches: Benches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTS_CATALOG", str(benches.workshop.catalog_folder))
    monkeypatch.setenv("EXPORTS_LEDGER", benches.workshop.ledger.url)
    monkeypatch.setenv("EXPORTS_SPOOL", str(benches.workshop.folder / "spool"))


@pytest.fixture(autouse=True)
def _an_editor_that_adds_a_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "editor.py"
    script.write_text("import sys\nwith open(sys.argv[1], 'a') as file:\n    file.write('# seen\\n')\n")
    monkeypatch.setenv("EDITOR", f"{sys.executable} {script}")
    monkeypatch.delenv("VISUAL", raising=False)


@pytest.mark.parametrize(("action", "type_", "state"), CELLS, ids=[" ".join(cell) for cell in CELLS])
def test_action(benches: Benches, action: str, type_: str, state: str) -> None:
    bench, code = benches.take(type_, state), expected(action, type_, state)
    before = bench.held()
    result = benches.workshop.run(*arguments_of(action, bench), "--json", exit_code=None)
    answer, now = json.loads(result.stdout), bench.held()
    if code is not None:
        assert answer["error"]["code"] == code and answer["error"]["hint"], answer
        assert result.exit_code == (3 if code == REFUSED else 1) and now == before
        by_type = (type_ == "custom" and action in NOT_CUSTOM) or (action == "download" and type_ != "one_shot")
        if code == REFUSED and action in ALLOWED and not by_type:
            assert f"is {status_in(type_, state).replace('_', ' ')}" in answer["error"]["message"]
        benches.put_back(bench, state)
        return
    assert result.exit_code == 0, (answer, result.stderr)
    if action in LEAVES:
        assert LEAVES[action](bench, before, now, answer), (answer, before, now)
    else:
        assert SAYS[action](bench, state, answer), answer
        assert now == before
        benches.put_back(bench, state)
