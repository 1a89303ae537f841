"""The ledger as a person sees it, and what a person decides there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.receipt import BY_HAND, TargetState
from catalog.schedule import check_moment
from catalog.windows import Bounds, State, Window, instant
from flows.report import secret_block
from tasks import spool
from tasks.allotting import frontier_of
from tasks.ledger import Delivery, Extracted, Ledger
from tasks.ledger.decisions import Decision, accept, end_generation, resolve


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One window with its parts, each with the delivery that has the longest way to go.

    `error_code` is what stood in the window's way last, None once it is settled.
    """

    window: Window
    parts: tuple[tuple[Extracted, Delivery | None], ...]
    targets: tuple[TargetState, ...]
    error_code: str | None
    held_by: str | None

    def to_json(self) -> dict[str, Any]:
        """The window as `exports ledger --json` prints it: fields may be added, never renamed."""
        window, bounds = self.window, self.window.bounds
        return {
            "window": window.id,
            "low": bounds.low,
            "high": bounds.high,
            "state": window.state.value,
            "files": [
                {
                    "name": file.name,
                    "path": delivery.path if delivery else None,
                    "rows": file.rows,
                    "bytes": file.bytes,
                    "sha256": file.sha256,
                    "state": delivery.state.value if delivery else None,
                    "cleared_at": delivery.cleared_at.isoformat() if delivery and delivery.cleared_at else None,
                }
                for file, delivery in self.parts
            ],
            "targets": [target.to_json() for target in self.targets],
            "run_id": window.run_id,
            "kind": window.kind,
            "error_code": self.error_code,
            "since": bounds.since.isoformat() if bounds.since else None,
            "until": bounds.until.isoformat() if bounds.until else None,
            "logical_time": window.logical_time.isoformat(),
            "held_by": self.held_by,
        }


def ledger_entries(ledger: Ledger, export_id: str) -> list[LedgerEntry]:
    """The export's windows, the newest first. Looking changes nothing."""
    stood_in_the_way: dict[str, str | None] = {}
    for attempt in ledger.attempts(export_id):
        if attempt.window is not None:
            stood_in_the_way.setdefault(attempt.window, attempt.error_code)
    parts, holders = ledger.parts_of_export(export_id), ledger.holders(export_id)
    targets = ledger.targets_of_export(export_id)
    entries = []
    for window in ledger.windows(export_id):
        entry = LedgerEntry(
            window=window,
            parts=tuple(parts.get(window.id, ())),
            targets=tuple(targets.get(window.id, ())),
            error_code=None if window.state.settled else stood_in_the_way.get(window.id),
            held_by=holders.get(window.id),
        )
        entries.append(entry)
    return entries


def resolve_window(
    ledger: Ledger, export_id: str, window_id: str, decision: Decision, target: str | None = None
) -> Window:
    """Settle a window (its id or the first digits) by a person's word; returns it as it stands then.

    With `target`, only what is to go there.

    Raises ExportError EXPORT_UNKNOWN when there is no such window, EXPORT_BUSY when a run is at work, and
    STATUS_REFUSED when there is nothing to decide.
    """
    with ledger.take_turn(export_id, BY_HAND, wait_seconds=0) as turn:
        # Only now: a run that has just ended may have delivered what was ambiguous before.
        window = _window(ledger, export_id, window_id)
        stands = spool.stands(ledger.extracted(window.id))
        resolve(turn, window, decision, spool_stands=stands, target=target)
    return _window(ledger, export_id, window.id)


def _window(ledger: Ledger, export_id: str, window_id: str) -> Window:
    # Every id begins with nothing, as with the variable of a script that is not set.
    found = [window for window in ledger.windows(export_id) if window_id and window.id.startswith(window_id)]
    if len(found) != 1:
        raise ExportError(
            Code.EXPORT_UNKNOWN,
            f"export {export_id} has {'no window' if not found else 'more than one window'} {window_id!r}",
            f"`exports ledger {export_id}` lists its windows",
            export=export_id,
        )
    return found[0]


def accept_source(ledger: Ledger, export_id: str) -> None:
    """Go on from the same watermark, in this ledger, on what the source is now. Raises ExportError EXPORT_BUSY."""
    accept(ledger, export_id)


def restart(ledger: Ledger, export: Export, since: str) -> Bounds:
    """Begin the export anew at `start`, `now` or a moment (ISO 8601); returns where its next window begins.

    Raises ExportError DEFINITION_INVALID for another word, or a moment in mode `xid`, which knows none; STATUS_REFUSED
    when a window is outstanding whose bounds the next source need not understand (modes `xid` and `guarded`).
    """
    start = starting_bounds(export, since)
    _refuse_unread(ledger, export)
    accept(ledger, export.id)
    ledger.open_generation(export.id, start)
    return start


def end(ledger: Ledger, export_id: str) -> int:
    """Whoever takes the id next inherits nothing; returns how many windows were given up for it.

    Raises ExportError EXPORT_BUSY when a run is at work.
    """
    if not ledger.is_known(export_id):
        return 0
    with ledger.take_turn(export_id, BY_HAND, wait_seconds=0) as turn:
        given_up = end_generation(turn)
        spool.sweep(export_id, [])
    return given_up


def _refuse_unread(ledger: Ledger, export: Export) -> None:
    unread = [window for window in ledger.outstanding(export.id) if window.source and window.state is State.PLANNED]
    if unread:
        window = unread[0].id[:8]
        raise ExportError(
            Code.STATUS_REFUSED,
            f"window {window} of {export.id} was never read, and would be read from what the source is now",
            f"let a run deliver it first, or give it up: `exports ledger {export.id} --resolve {window} abandon`",
            export=export.id,
        )


def starting_bounds(export: Export, since: str) -> Bounds:
    """Where a first window begins that is to begin at `since`: its `low` and `since`."""
    if export.cursor is None:
        raise _invalid(f"export {export.id} has no cursor, so it begins nowhere", "leave it out")
    if since == "start":
        return Bounds()
    if export.cursor.mode == "xid":
        if since != "now":
            raise _invalid(f"mode xid knows no moment {since}", "write `start` or `now`")
        frontier = frontier_of(export, None, datetime.now(UTC), secret_block)
        return Bounds(low=frontier.high, since=frontier.until)
    moment = datetime.now(UTC) if since == "now" else moment_of(export, since, besides="`start`, `now`, or ")
    return Bounds(low=instant(moment), since=moment)


def moment_of(export: Export, text: str, *, besides: str = "") -> datetime:
    """A moment as a person writes it; without a zone it is meant in the schedule's. `besides` is what else may stand.

    Raises ExportError DEFINITION_INVALID when it is none, or not between the years 2 and 9998.
    """
    try:
        moment = datetime.fromisoformat(text)
        check_moment(moment)
    except ValueError:
        raise _invalid(f"{text} is no moment", f"write {besides}a moment as 2026-11-01T00:00") from None
    return export.in_zone(moment)


def _invalid(message: str, hint: str) -> ExportError:
    return ExportError(Code.DEFINITION_INVALID, message, hint)
