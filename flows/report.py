"""What a run writes into Prefect: its name, its progress, its report as an artifact, and its final state."""

from __future__ import annotations

import time
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact, create_progress_artifact, update_progress_artifact
from prefect.blocks.system import Secret
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.exceptions import PrefectException
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed, Crashed, Failed

from catalog.definition import Export
from catalog.errors import Code, ExportError, code_of, state_message
from catalog.places import ROOT
from catalog.receipt import BY_HAND, DeliveredFile, delivered_line, rows_of, size_text
from catalog.windows import State as WindowState
from catalog.windows import Window
from flows.markdown import on_one_line, table
from flows.remarks import remarks
from tasks.ledger import Allotment, Ledger

#: How often, in seconds, a long extraction tells how far it is; a shorter one says nothing.
LONG = 5.0
#: How many windows the report's history shows.
HISTORY = 20
#: What a run that succeeded still has to tell.
_WARNED = (Code.LATE_ROWS, Code.CURSOR_IN_FUTURE, Code.SCHEMA_CHANGED)
#: What the client raises when Prefect's server is away, or has something against a request.
_AWAY = (PrefectException, httpx.HTTPError)


def name_run(run_id: str, name: str) -> None:
    """Call the flow run after the file of its own window; a name is not worth a run that fails."""
    try:
        with get_client(sync_client=True) as client:
            client.update_flow_run(UUID(run_id), name=name)
    except _AWAY as error:
        get_run_logger().warning("the run could not be named %s (%s)", name, type(error).__name__)


def bury(dead_run_id: str, *, at_work_since: datetime, by: str) -> None:
    """Show a run as crashed whose process is gone: Prefect would call it Running for ever.

    One that has been relaunched since is let be.
    What Prefect has against that is only logged: the ledger knows, and so does the report.
    """
    message = f"{Code.PROCESS_VANISHED}: its process ended without a word. Try: nothing: run {by} went on with its work"
    try:
        with get_client(sync_client=True) as client:
            found = client.read_flow_run(UUID(dead_run_id))
            state = found.state
            if state is None or state.is_final() or state.is_scheduled():
                return
            if not state.is_running() or state.timestamp <= at_work_since:
                client.set_flow_run_state(found.id, Crashed(message=message), force=True)
    except (*_AWAY, ValueError) as error:
        get_run_logger().warning("run %s could not be shown as crashed (%s)", dead_run_id, type(error).__name__)


def attempt_at(run_id: str, moment: datetime) -> int:
    """Which attempt of the run was at work at that moment, counted from 1 as Prefect does."""
    with get_client(sync_client=True) as client:
        states = client.read_flow_run_states(UUID(run_id))
    return sum(state.is_running() and state.timestamp <= moment for state in states)


def secret_block(name: str) -> str:
    """The value of a Prefect Secret block.

    Raises ExportError SECRET_MISSING when there is none of that name, PREFECT_UNREACHABLE when nobody can be asked.
    """
    try:
        block = Secret.load(name)
    except ValueError as error:
        raise ExportError(
            Code.SECRET_MISSING,
            f"the Prefect server has no Secret block named {name}",
            "create it under Blocks in the Prefect UI, then relaunch",
        ) from error
    except _AWAY as error:
        raise ExportError(
            Code.PREFECT_UNREACHABLE,
            f"the Secret block {name} could not be read from the Prefect server ({type(error).__name__})",
            "see that the server runs and that PREFECT_API_URL names it",
        ) from error
    assert isinstance(block, Secret), "without an event loop, load() returns the block itself"
    return str(block.get())


class Progress:
    """Counts rows of a long extraction into a progress artifact; short ones leave none."""

    def __init__(self, export: Export, file_name: str, expected_rows: int | None) -> None:
        self._export, self._file_name, self._expected = export, file_name, expected_rows
        self._told = time.monotonic()
        self._artifact: UUID | None = None

    def __call__(self, rows: int, size: int) -> None:
        """Show and log that so many rows and bytes are written; the share is of the last file's rows, if known."""
        if time.monotonic() - self._told < LONG:
            return
        self._told = time.monotonic()
        share = min(99.0, 100 * rows / self._expected) if self._expected else 0.0
        text = f"{self._file_name}: {rows:,} rows, {size_text(size)} extracted so far"
        get_run_logger().info(text)
        self._show(share, text)

    def finish(self) -> None:
        """Show a long extraction as done."""
        if self._artifact is not None:
            self._show(100.0, f"{self._file_name}: extracted")

    def _show(self, share: float, text: str) -> None:
        # A server that is away neither fails an extraction nor keeps it waiting.
        try:
            with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}):
                if self._artifact is None:
                    key = f"progress-{self._export.id.replace('_', '-')}"
                    made = create_progress_artifact(share, key=key, description=text)
                    self._artifact = made if isinstance(made, UUID) else None
                else:
                    update_progress_artifact(self._artifact, share, description=text)
        except _AWAY as error:
            get_run_logger().warning("the progress could not be shown (%s)", type(error).__name__)


def write_report(ledger: Ledger, export: Export, run_id: str, line: str) -> None:
    """The report in full under the export's one key: its card shows `line`, a click the rest."""
    files, own = ledger.delivered_by_run(run_id), ledger.window_of_run(run_id)
    facts = [("outcome", line), ("run", f"`{run_id}`"), ("attempt", str(flow_run.run_count))]
    facts.append(("reported", f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"))
    facts += [("note", note) for note in notes(ledger, run_id)]
    if own is not None:
        facts.append(("window", window_text(own.bounds.since, own.bounds.until)))
        facts.append(("definition", f"`{own.definition[:12]}`"))
    parts = [f"# {on_one_line(export.name)}", table(("", ""), facts)]
    if own is not None and len(targets := ledger.target_states(own.id)) > 1:
        states = [(found.target, found.state) for found in targets]
        parts.append(f"## Targets\n\n{table(('target', 'state'), states)}")
    if files:
        parts.append(f"## Files\n\n{_files_table(files)}")
    history = [(window, ledger.delivered_of_window(window.id)) for window in ledger.windows(export.id, HISTORY)]
    parts.append(f"## History\n\n{_history_table(history)}")
    create_markdown_artifact("\n\n".join(parts), key=artifact_key(export.id), description=line)


def notes(ledger: Ledger, run_id: str) -> list[str]:
    """What a person should know of a run beside its files, one sentence each."""
    own = ledger.window_of_run(run_id)
    found = remarks(ledger.findings(own.id)) if own else []
    if own and (holder := ledger.held_by(own.id)):
        found.append(f"the upper bound was held back by {holder}")
    for attempt in ledger.attempts_of_run(run_id):
        dead = ledger.attempt(attempt.export, attempt.took_over) if attempt.took_over else None
        if dead is not None:
            who = "an earlier attempt" if dead.run_id == run_id else f"run {dead.run_id}"
            found.append(f"took over from {who}, which died at work on {dead.host}, process {dead.pid}")
    return found


def outcome(ledger: Ledger, run_id: str, allotment: Allotment, delivered_before: int) -> str:
    """What a run that did its work has to say, in one line; its earlier attempts delivered so many files."""
    line = _outcome(ledger, run_id, allotment)
    if 0 < delivered_before == len(ledger.delivered_by_run(run_id)):
        line = f"{line}; nothing was left to do"
    warned = [note for note in notes(ledger, run_id) if code_of(note) in _WARNED]
    return "; ".join([line, *warned])


def _outcome(ledger: Ledger, run_id: str, allotment: Allotment) -> str:
    if files := ledger.delivered_by_run(run_id):
        return delivered_line(files)
    if allotment.window is None and allotment.held_by is not None:
        return f"nothing to deliver yet: the upper bound is held back by {allotment.held_by}"
    if allotment.covered_by is not None:
        return f"nothing to do: run {allotment.covered_by.run_id} covers this time"
    if (own := ledger.window_of_run(run_id)) is not None and own.state is WindowState.ABANDONED:
        return "nothing to do: this window was given up by hand"
    if (settled_by := ledger.settled_by(run_id)) == BY_HAND:
        return "nothing to do: this window was settled by hand"
    if settled_by not in (None, run_id):
        return f"nothing to do: run {settled_by} has delivered this window"
    span = window_text(own.bounds.since, own.bounds.until) if own else "nothing new is settled yet"
    return f"nothing to deliver: no rows ({span})"


def artifact_key(export_id: str) -> str:
    """The key of an export's report artifact."""
    return f"export-{export_id.replace('_', '-')}"


def _files_table(files: Sequence[DeliveredFile]) -> str:
    head = ("file", "rows", "size", "target", "window", "path", "sha256")
    rows = [
        (
            file.name,
            f"{file.rows:,}",
            size_text(file.bytes),
            file.target,
            window_text(file.since, file.until),
            f"`{file.path}`",
            f"`{file.sha256[:16]}`",
        )
        for file in files
    ]
    return table(head, rows, numbers=("rows", "size"))


def _history_table(windows: Sequence[tuple[Window, Sequence[DeliveredFile]]]) -> str:
    """The export's last windows, the newest first."""
    head = ("logical time", "file", "state", "rows", "window", "run")
    rows = [
        (
            f"{window.logical_time:%Y-%m-%d %H:%M:%S} UTC",
            window.file_name,
            window.state.lower(),
            f"{rows_of(files):,}",
            window_text(window.bounds.since, window.bounds.until),
            f"`{window.run_id[:8]}`",
        )
        for window, files in windows
    ]
    return table(head, rows, numbers=("rows",)) if rows else "No window has been allotted yet."


def window_text(since: datetime | None, until: datetime | None) -> str:
    """`2026-01-01 00:00:00 to 2026-01-02 00:00:00 UTC`, or `everything`."""
    if until is None:
        return "everything"
    low = f"{since:%Y-%m-%d %H:%M:%S}" if since else "the beginning"
    return f"{low} to {until:%Y-%m-%d %H:%M:%S} UTC"


def succeeded(line: str) -> State[Any]:
    """The final state of a run that did its work."""
    return Completed(message=line)


def failed(error: ExportError) -> State[Any]:
    """The final state of a run that failed: returned, not raised, so that its message begins with the code."""
    return Failed(message=state_message(error))


def stopped(run_id: str) -> ExportError:
    """Why a run is being ended from outside: it was cancelled, as Prefect knows, or its process was told to end."""
    try:
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(run_id)).state
    except _AWAY:
        state = None
    if state is not None and state.is_cancelling():
        return ExportError(Code.CANCELLED, "the run was cancelled", "relaunch it when it is wanted after all")
    return ExportError(Code.STOPPED, "the run's process was told to end", "relaunch, or wait for the next run")


def internal(error: Exception) -> ExportError:
    """An unexpected exception as an error of ours: its class and our own line. Its text may hold anything."""
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if str(ROOT) in frame.filename]
    place = f"{Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].lineno}" if ours else "outside this project"
    return ExportError(
        Code.INTERNAL,
        f"unexpected {type(error).__name__} at {place}",
        "relaunch once; if it comes back, report it with this message",
    )


def frames(error: Exception) -> list[str]:
    """Where an unexpected exception came from, without its text."""
    return traceback.format_tb(error.__traceback__)
