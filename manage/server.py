"""Prefect on this machine: its server, a worker, and how the other commands find them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx

from catalog.errors import Code, ExportError
from catalog.places import state_folder
from manage import output

_START_SECONDS = 120
# A collection of garbage in the server's one loop takes the lock of each SQLite connection whose cursors it finds. One
# that waits there for another's commit then waits for 60 s, and everybody with it: the commit needs the loop. Python's
# own threshold of 700 makes that a matter of minutes on a busy machine.
_SERVER = """
import gc, runpy
gc.set_threshold(100_000)
runpy.run_module("prefect", run_name="__main__", alter_sys=True)
"""


def _note() -> Path:
    return state_folder() / "server.json"


@contextmanager
def running_server() -> Iterator[None]:
    """Inside, Prefect's client uses the server that `exports start` runs here, unless its own settings name one."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = None if PREFECT_API_URL.value() else _noted()
    if url is None or not answers(url):
        yield
        return
    with temporary_settings({PREFECT_API_URL: url}):
        yield


def _noted() -> str | None:
    """The API that `exports start` says it runs; None without, or where it was ended as it wrote or removed that."""
    try:
        return str(json.loads(_note().read_text())["api"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def answers(api_url: str) -> bool:
    """Whether a Prefect API answers there."""
    try:
        return httpx.get(f"{api_url}/health", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


@contextmanager
def server(port: int, environment: Mapping[str, str], log: Path) -> Iterator[str]:
    """A Prefect server on loopback, closed to other websites, for as long as the block runs; yields its API URL.

    Raises ExportError PREFECT_UNREACHABLE when it does not come up.
    """
    _refuse_taken(port)
    api = f"http://127.0.0.1:{port}/api"
    # For every cron schedule that it reads, the server walks the system's folder of time zones; the package tzdata's
    # are in one list, and a thousand schedules take 1 s in place of 7.
    zones = {"PYTHONTZPATH": ""}
    # A deployment says what code runs: a web page of somebody else, in a browser on this machine, must not make one.
    pages = {
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": f"http://127.0.0.1:{port},http://localhost:{port}",
    }
    settings = {**zones, **pages, **environment, "PREFECT_API_URL": api, "PREFECT_SERVER_UI_API_URL": api}
    command = ["-c", _SERVER, "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with _process(command, settings, log) as child:
        deadline = time.monotonic() + _START_SECONDS
        while not answers(api):
            if child.poll() is not None or time.monotonic() > deadline:
                raise ExportError(
                    Code.PREFECT_UNREACHABLE,
                    f"the Prefect server did not come up on port {port}",
                    f"see {log}; if the port is taken, choose another with --port",
                )
            time.sleep(0.2)
        yield api


def end_like_ctrl_c() -> None:
    """Let SIGTERM end this process as ctrl-c does, so that server and worker go with it.

    Ctrl-c itself is asked for too: a process that a script started in the background ignores it otherwise.
    """

    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)


def _refuse_taken(port: int) -> None:
    # Another server there would answer in ours' place.
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ExportError(
                Code.PREFECT_UNREACHABLE,
                f"port {port} of this machine is taken: {error.strerror}",
                "choose another with --port, or set PREFECT_API_URL to use the server that runs there",
            ) from error


@contextmanager
def worker(api: str, pool: str, environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process worker on the pool for as long as the block runs."""
    settings = {**environment, "PREFECT_API_URL": api, "PREFECT_WORKER_QUERY_SECONDS": "2"}
    with _process(["-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"], settings, log) as child:
        yield child


@contextmanager
def _process(command: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        # A session of its own: ctrl-c reaches us alone, and we end the children in the right order.
        child = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **environment},
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield child
        finally:
            child.send_signal(signal.SIGINT)
            try:
                child.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()


def run_here_until_stopped(port: int, json_wanted: bool) -> None:
    """Server, worker and the active exports on this machine, until ctrl-c.

    With PREFECT_API_URL set, that server is used and only the worker is started.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    logs = state_folder() / "logs"
    configured = PREFECT_API_URL.value()
    if configured:
        _serve(str(configured), logs, json_wanted)
        return
    with server(port, {}, logs / "server.log") as api, temporary_settings({PREFECT_API_URL: api}):
        _note().write_text(json.dumps({"api": api}))
        try:
            _serve(api, logs, json_wanted)
        finally:
            _note().unlink(missing_ok=True)


def _serve(api: str, logs: Path, json_wanted: bool) -> None:
    from deployments.apply import ensure_work_pool
    from deployments.companions import keep_companions
    from deployments.listing import list_exports
    from deployments.workspace import open_workspace

    with open_workspace() as workspace:
        ensure_work_pool(workspace.client, workspace.project)
        keep_companions(workspace)
        pool = workspace.project.work_pool
        entries = list_exports(workspace).entries
    with worker(api, pool, {}, logs / "worker.log") as child:
        if json_wanted:
            output.data([entry.to_json() for entry in entries])
        else:
            output.list_words(entries)
        output.say(f"Prefect UI: {api.removesuffix('/api')}   logs: {logs}   stop with ctrl-c")
        try:
            code = child.wait()
        except KeyboardInterrupt:
            output.say("stopping")
            return
        raise ExportError(
            Code.PROCESS_VANISHED,
            f"the worker ended by itself with exit code {code}",
            f"see {logs / 'worker.log'}, then `exports start` again",
        )
