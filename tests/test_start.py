"""The command as a process of its own: everything on one machine, and what a terminal or a pipe gets."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_server import QUIET, free_port
from workshop import Workshop

from deployments.prefect_api import post, prefect_api
from manage.server import running_server
from manage.start_up import PACKAGES, intruder

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "manage.start_up"]


@pytest.fixture
def alone(workshop: Workshop, tmp_path: Path) -> dict[str, str]:
    """The environment of a person who has named no Prefect server."""
    environment = {**os.environ, **QUIET, "PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_API_URL", None)
    return environment


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_start_runs_server_and_worker_until_it_is_ended(
    workshop: Workshop, alone: dict[str, str], end: signal.Signals
) -> None:
    workshop.sqlite()
    export_id = workshop.incremental()
    note = workshop.folder / ".exports" / "server.json"
    command = [*COMMAND, "start", "--port", str(free_port())]
    with subprocess.Popen(command, env=alone, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as everything:
        try:
            workshop.wait_for(lambda: note.exists() or everything.poll() is not None)
            assert everything.poll() is None, everything.communicate()
            api = json.loads(note.read_text())["api"]
            names = {"runs that died", "runs that never began", "tell of crashed runs"}

            def automations() -> set[str]:
                with temporary_settings({PREFECT_API_URL: api}), prefect_api() as client:
                    return {found["name"] for found in post(client, "/automations/filter", {})}

            workshop.wait_for(lambda: automations() == {f"manage-exports: {name}" for name in names})
            # No server is named here: the other commands find the one that runs.
            handed = subprocess.run([*COMMAND, "run", export_id, "--detach", "--json"], env=alone, capture_output=True)
            run_id = json.loads(handed.stdout)["run_id"]

            def ended() -> str | None:
                kind: str = httpx.get(f"{api}/flow_runs/{run_id}").json()["state_type"]
                return kind if kind in ("COMPLETED", "FAILED", "CRASHED") else None

            assert workshop.wait_for(ended) == "COMPLETED" and len(workshop.files()) == 1
        finally:
            everything.send_signal(end)
            try:
                _, said = everything.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                everything.kill()
                raise
    assert everything.returncode == 0 and "Prefect UI: http://127.0.0.1:" in said
    assert not note.exists()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{api}/health")


def test_a_port_that_is_taken_is_said(alone: dict[str, str], prefect_url: str) -> None:
    port = httpx.URL(prefect_url).port
    result = subprocess.run([*COMMAND, "start", "--port", str(port)], env=alone, capture_output=True, text=True)
    assert result.returncode == 1 and result.stderr.startswith("Error: PREFECT_UNREACHABLE: ")
    assert f"port {port}" in result.stderr and "--port" in result.stderr


def test_a_server_that_does_not_answer_is_said(workshop: Workshop, alone: dict[str, str]) -> None:
    environment = {**alone, "PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    result = subprocess.run([*COMMAND, "list", "--json"], env=environment, capture_output=True, text=True)
    error = json.loads(result.stdout)["error"]
    assert result.returncode == 1 and error["code"] == "PREFECT_UNREACHABLE" and "exports start" in error["hint"]


def test_in_a_pipe_a_run_says_nothing_but_its_report(
    prefect: Workshop, prefect_url: str, alone: dict[str, str]
) -> None:
    prefect.sqlite()
    environment = {**alone, "PREFECT_API_URL": prefect_url}
    environment.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
    result = subprocess.run(
        [*COMMAND, "run", prefect.export(), "--json"], env=environment, capture_output=True, text=True
    )
    assert (result.returncode, result.stderr) == (0, "") and json.loads(result.stdout)["status"] == "succeeded"


def test_in_a_pipe_the_other_commands_say_no_word_of_prefects_own_either(
    workshop: Workshop, alone: dict[str, str]
) -> None:
    alone.pop("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", None)
    result = subprocess.run([*COMMAND, "plan", "--json"], env=alone, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "") and isinstance(json.loads(result.stdout), list)


def test_a_note_that_was_cut_short_names_no_server(workshop: Workshop) -> None:
    note = workshop.folder / ".exports" / "server.json"
    note.parent.mkdir(exist_ok=True)
    note.write_text('{"api": "http')
    with temporary_settings(restore_defaults={PREFECT_API_URL}), running_server():
        assert PREFECT_API_URL.value() is None


def test_wrong_usage_exits_with_2(alone: dict[str, str]) -> None:
    for words in (["list", "--nonsense"], ["start", "--port", "99999"]):
        assert subprocess.run([*COMMAND, *words], env=alone, capture_output=True).returncode == 2


def test_a_package_of_somebody_else_in_place_of_ours_is_named(tmp_path: Path) -> None:
    assert intruder(ROOT) is None
    reason = intruder(tmp_path)
    assert reason is not None and f"`{PACKAGES[0]}`" in reason and str(tmp_path) in reason


def test_a_web_page_of_somebody_else_changes_nothing_in_prefect(prefect_url: str) -> None:
    page = {"Origin": "https://elsewhere.example"}
    # What a browser sends without asking first, of which Prefect takes the one without a type; then what it asks.
    for kind in ({}, {"Content-Type": "text/plain"}):
        sent = httpx.post(f"{prefect_url}/flows/", content=b'{"name": "theirs"}', headers={**page, **kind})
        assert sent.status_code == 403 and "access-control-allow-origin" not in sent.headers
    asking = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "prefect-csrf-token"}
    asked = httpx.options(f"{prefect_url}/flows/", headers={**page, **asking})
    assert asked.status_code == 400 and "access-control-allow-origin" not in asked.headers
    token = httpx.get(f"{prefect_url}/csrf-token?client=theirs", headers=page)
    assert "access-control-allow-origin" not in token.headers
    server = prefect_url.removesuffix("/api")
    for own in (server, server.replace("127.0.0.1", "localhost")):
        assert httpx.options(f"{prefect_url}/flows/", headers={"Origin": own, **asking}).status_code == 200
