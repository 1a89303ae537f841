"""The report of a run: how it ended, joined by its id to what the ledger knows of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from prefect.client.schemas.objects import State

from catalog.errors import Code, from_state_message
from catalog.receipt import RunReport, RunStatus, rows_of
from flows.report import notes
from tasks.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Ending:
    """How a run ended, or that it has not: its state, its times and, when it failed, (code, message, hint)."""

    status: RunStatus
    started_at: datetime | None
    ended_at: datetime | None
    attempts: int
    message: str
    error: tuple[Code, str, str | None] | None = None


def draw(ledger: Ledger, export_id: str, run_id: str, ending: Ending) -> RunReport:
    """The report of one run. Raises ExportError LEDGER_UNREACHABLE."""
    window = ledger.window_of_run(run_id)
    files = tuple(ledger.delivered_by_run(run_id))
    settled_by = ledger.settled_by(run_id)
    bare = draw_without_ledger(export_id, run_id, ending)
    return replace(
        bare,
        files=files,
        targets=tuple(ledger.target_states(window.id)) if window else (),
        rows=rows_of(files),
        since=window.bounds.since if window else None,
        until=window.bounds.until if window else None,
        relaunchable=bare.relaunchable and settled_by in (None, run_id),
        delivered_by=settled_by if settled_by != run_id else None,
        notes=tuple(notes(ledger, run_id)),
    )


def draw_without_ledger(export_id: str, run_id: str, ending: Ending) -> RunReport:
    """What can be said of a run when the ledger cannot be asked."""
    code, error_message, error_hint = ending.error or (None, None, None)
    return RunReport(
        run_id=run_id,
        export=export_id,
        status=ending.status,
        started_at=ending.started_at,
        ended_at=ending.ended_at,
        duration_seconds=_seconds(ending.started_at, ending.ended_at),
        attempts=ending.attempts,
        files=(),
        targets=(),
        rows=0,
        since=None,
        until=None,
        error_code=str(code) if code else None,
        error_message=error_message,
        error_hint=error_hint,
        relaunchable=bool(code and code.relaunchable),
        delivered_by=None,
        notes=(),
        message=ending.message,
    )


def error_of(state: State[Any]) -> tuple[Code, str, str | None]:
    """(code, message, hint) of a run that ended in this state, which is not a good one."""
    code, message, hint = from_state_message(state.message or state.name or "")
    if code is not None:
        return code, message, hint
    if state.is_cancelled():
        return Code.CANCELLED, message, "relaunch it when it is wanted after all"
    if state.is_crashed():
        stopped = "termination signal" in message
        return Code.STOPPED if stopped else Code.PROCESS_VANISHED, message, "relaunch, or wait for the next run"
    return Code.INTERNAL, message, "see the run's log in the Prefect UI"


def _seconds(started: datetime | None, ended: datetime | None) -> float | None:
    if started is None:
        return None
    return round(((ended or datetime.now(UTC)) - started).total_seconds(), 3)
