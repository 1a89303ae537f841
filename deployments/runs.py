"""Run reports: status and times from the flow run in Prefect, files and windows from the ledger, joined by run id."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound

from catalog.errors import Code, ExportError
from catalog.receipt import RunReport
from deployments.flow_runs import begun_runs, waiting_runs
from deployments.prefect_api import PAGE
from deployments.status import run_status
from flows.moments import in_utc
from flows.run_report import Ending, draw, error_of
from tasks.ledger import Attempt, Ledger


def find_run(client: SyncPrefectClient, export_id: str, tag: str, run_id: str | None) -> FlowRun:
    """The run with that id (or its first eight digits), or the newest that has begun.

    Raises ExportError EXPORT_UNKNOWN when the export has no such run.
    """
    if run_id is not None and len(run_id) >= 32:
        try:
            run: FlowRun = client.read_flow_run(UUID(run_id))
        except (ObjectNotFound, ValueError):
            raise _no_run(export_id, run_id) from None
        if tag not in run.tags or client.read_flow(run.flow_id).name != export_id:
            raise _no_run(export_id, run_id)
        return run
    candidates = begun_runs(client, export_id, tag, 1 if run_id is None else PAGE)
    if run_id is not None:
        candidates += waiting_runs(client, export_id, tag)
    chosen = next((run for run in candidates if run_id is None or str(run.id).startswith(run_id)), None)
    if chosen is None:
        raise _no_run(export_id, run_id)
    return chosen


def reports_of(client: SyncPrefectClient, ledger: Ledger, export_id: str, tag: str, limit: int) -> list[RunReport]:
    """The reports of the export's next run and of its last `limit` runs that have begun, the newest first."""
    runs = [*waiting_runs(client, export_id, tag, 1), *begun_runs(client, export_id, tag, limit)]
    return [report_of(client, ledger, export_id, run) for run in runs]


def _no_run(export_id: str, run_id: str | None) -> ExportError:
    what = f"export {export_id} has no run {run_id}" if run_id else f"export {export_id} has not run yet"
    return ExportError(
        Code.EXPORT_UNKNOWN,
        what,
        f"`exports runs {export_id}` lists its runs; `exports run {export_id}` starts one",
        export=export_id,
    )


def report_of(client: SyncPrefectClient, ledger: Ledger, export_id: str, run: FlowRun) -> RunReport:
    """The report of one run, read back from the Prefect API and the ledger."""
    run_id = str(run.id)
    status = run_status(run.state)
    started, ended = _last_attempt(client, run)
    running_since = started if run.state is not None and run.state.type is StateType.RUNNING else None
    vanished = _vanished(ledger, export_id, run_id, running_since) if running_since is not None else None
    if vanished is not None:
        status = "failed"
    error = vanished or (error_of(run.state) if status == "failed" and run.state else None)
    message = (run.state.message or "") if run.state else ""
    return draw(ledger, export_id, run_id, Ending(status, started, ended, run.run_count, message, error))


def _vanished(
    ledger: Ledger, export_id: str, run_id: str, running_since: datetime
) -> tuple[Code, str, str | None] | None:
    """Prefect calls a run Running for ever whose whole machine died; the ledger's lock has died with it."""
    attempts = ledger.attempts_of_run(run_id)
    if attempts and attempts[0].began_at < running_since:
        # Of an attempt before this one, which has not come to its turn yet.
        return None
    if attempts and attempts[0].ended_at is None and not ledger.is_at_work(export_id):
        # Once more: it may have ended between the two questions.
        attempts = ledger.attempts_of_run(run_id)
        if attempts[0].ended_at is None:
            return (
                Code.PROCESS_VANISHED,
                f"{_who(attempts[0])} ended without a word",
                "relaunch, or wait for the next run",
            )
    if attempts and attempts[0].error_code == Code.PROCESS_VANISHED.text:
        message = f"{_who(attempts[0])} ended without a word, and another run went on with its work"
        return Code.PROCESS_VANISHED, message, "see which run delivered its window; if none did, relaunch"
    return None


def _who(attempt: Attempt) -> str:
    return f"process {attempt.pid} on {attempt.host}"


def _last_attempt(client: SyncPrefectClient, run: FlowRun) -> tuple[datetime | None, datetime | None]:
    # A flow run keeps the start of its first attempt; only its state history knows the later ones.
    started: datetime | None = run.start_time if run.run_count else None
    ended: datetime | None = run.end_time
    if run.run_count > 1:
        states = client.read_flow_run_states(run.id)
        starts: Sequence[datetime] = [state.timestamp for state in states if state.type is StateType.RUNNING]
        started = max(starts, default=started)
    if ended is not None and started is not None and ended < started:
        ended = None
    return in_utc(started), in_utc(ended)
