"""What the demo does, in order: build a CRM, deliver its exports, let one fail, relaunch it, show the reports."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from catalog.errors import Code, ExportError
from catalog.places import ROOT
from catalog.receipt import RunReport
from manage import output
from manage.demo.crm import add_activity, build_crm
from manage.server import server, worker

_FOLDER = ROOT / ".exports" / "demo"
_RUN_SECONDS = 180
_FOUND = TypeVar("_FOUND")

ONE_SHOT, FULL, INCREMENTAL, FAILING = "profiles_belgium", "products_daily", "orders_new", "subscriptions_partner"


def run_demo() -> list[RunReport]:
    """Run the demo from nothing and return its reports; an earlier demo's folder is replaced.

    Raises ExportError when a run does not end as it should.
    """
    shutil.rmtree(_FOLDER, ignore_errors=True)
    with _demo_places():
        counts = build_crm(_FOLDER / "crm.sqlite")
        rows = ", ".join(f"{count:,} {table}" for table, count in counts.items())
        output.say(f"1. A made-up CRM in SQLite: {rows}")
        (_FOLDER / "drop").mkdir()
        output.say("2. Starting a Prefect server and a worker (the first start takes some seconds)")
        with _prefect() as api, worker(api, "exports", {}, _FOLDER / "logs" / "worker.log"):
            return _deliver()


def serve_demo() -> None:
    """Start the finished demo's Prefect server again, and a worker for what is started in its UI, until ctrl-c."""
    if not (_FOLDER / "prefect").exists():
        raise ExportError(Code.EXPORT_UNKNOWN, "there is no finished demo to look at", "run `make demo` first")
    with _demo_places(), _prefect() as api, worker(api, "exports", {}, _FOLDER / "logs" / "worker.log"):
        _where_to_look(api.removesuffix("/api"))
        try:
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            output.say("stopping")


def _deliver() -> list[RunReport]:
    from deployments.carry_out import carry_out
    from deployments.lifecycle import activate, relaunch
    from deployments.quick_run import start_run
    from deployments.workspace import open_workspace

    with open_workspace() as workspace:
        carry_out(workspace)
        output.say("3. Every definition in catalog/exports is a Prefect deployment now; four of them run:")
        output.say(f"   {ONE_SHOT} (one shot), {FULL} (periodic full), {INCREMENTAL} (incremental),")
        output.say(f"   {FAILING} (its target folder is gone: it will fail)")
        first = {ONE_SHOT: str(activate(workspace, ONE_SHOT))}
        for export_id in (FULL, INCREMENTAL, FAILING):
            first[export_id] = start_run(workspace, export_id, detach=True)
        reports = [_ended(export_id, run_id) for export_id, run_id in first.items()]
        _expect(reports[3], "failed")
        output.say("4. A day passes: new orders come in, the partner's folder is back, the failed run is relaunched")
        add_activity(_FOLDER / "crm.sqlite")
        (_FOLDER / "partner").mkdir()
        time.sleep(3)  # the definition's lag of 2 s: what was stamped just now is then behind the upper bound
        relaunch(workspace, FAILING, first[FAILING])
        again = start_run(workspace, INCREMENTAL, detach=True)
        reports += [_ended(INCREMENTAL, again), _ended(FAILING, first[FAILING], attempts=2)]
    for report in (*reports[:3], *reports[4:]):
        _expect(report, "succeeded")
    return reports


def _ended(export_id: str, run_id: str, attempts: int = 1) -> RunReport:
    from deployments.runs import find_run, report_of
    from deployments.workspace import open_workspace

    with open_workspace() as workspace:

        def look() -> RunReport | None:
            run = find_run(workspace.client, export_id, workspace.project.tag, run_id)
            report = report_of(workspace.client, workspace.ledger, export_id, run)
            done = report.status in ("succeeded", "failed") and report.attempts >= attempts
            return report if done else None

        return _await(look, f"the run {run_id} of {export_id}")


def _await(look: Callable[[], _FOUND | None], what: str) -> _FOUND:
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        found = look()
        if found is not None:
            return found
        time.sleep(0.5)
    raise ExportError(
        Code.PREFECT_UNREACHABLE,
        f"{what} did not end within {_RUN_SECONDS} s",
        f"see the logs in {_FOLDER / 'logs'}",
    )


def _expect(report: RunReport, status: str) -> None:
    if report.status != status:
        raise ExportError(
            Code.INTERNAL,
            f"the demo's run of {report.export} {report.status}: {report.message}",
            f"see the logs in {_FOLDER / 'logs'}",
            export=report.export,
        )


def show_reports(reports: Sequence[RunReport]) -> None:
    """The demo's reports as a table, where the files are, and where to look next."""
    output.say("\nThe reports, as `exports report` draws them from Prefect and the ledger:\n")
    output.runs_words(reports)
    output.say("\nThe files:")
    for report in reports:
        for file in report.files:
            output.say(f"  {file.path}")
    output.say("\nOpen the dashboard:  .venv/bin/exports demo --dashboard")
    output.say('Your own exports:    README.md, "Your first export from your own database"')


def _where_to_look(ui: str) -> None:
    output.say(f"Prefect UI: {ui}   stop with ctrl-c")
    output.say(f"  {ui}/runs         each run is named after its file; the failed one's first attempt is in its states")
    output.say(f"  {ui}/deployments  one deployment per definition, which it shows as YAML; tags filter the list")
    output.say(f"  {ui}/artifacts    one report per export, with its history")


@contextmanager
def _demo_places() -> Iterator[None]:
    """The shipped catalog, with a ledger, a spool and a Prefect home of the demo's own."""
    places = {
        "EXPORTS_CATALOG": str(ROOT / "catalog"),
        "EXPORTS_LEDGER": f"sqlite:///{_FOLDER / 'ledger.sqlite'}",
        "EXPORTS_SPOOL": str(_FOLDER / "spool"),
        "PREFECT_HOME": str(_FOLDER / "prefect"),
    }
    before = {name: os.environ.get(name) for name in places}
    os.environ.update(places)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _prefect() -> Iterator[str]:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    # Settings of the person's own profile that would send the demo elsewhere are left out.
    with (
        server(_free_port(), {}, Path(_FOLDER / "logs" / "server.log")) as api,
        temporary_settings({PREFECT_API_URL: api}),
    ):
        yield api


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
