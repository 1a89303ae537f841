"""What a person decides where the ledger cannot know: each decision is written under the export's lock."""

from __future__ import annotations

import os
import socket
from typing import Literal, get_args

from sqlalchemy import Connection, func, insert, select, update

from catalog.errors import Code, ExportError
from catalog.receipt import BY_HAND
from catalog.windows import UNSETTLED, Bounds, State, Window, least_advanced
from tasks.ledger import tables
from tasks.ledger.connection import writing
from tasks.ledger.extractions import plan_anew
from tasks.ledger.generations import open_generation
from tasks.ledger.lock import hold
from tasks.ledger.mark import Mark, read_mark, write_mark
from tasks.ledger.records import now_text
from tasks.ledger.store import Ledger
from tasks.ledger.turn import Turn

Decision = Literal["sent", "again", "abandon"]
DECISIONS: tuple[Decision, ...] = get_args(Decision)


def resolve(turn: Turn, window: Window, decision: Decision, *, spool_stands: bool, target: str | None = None) -> None:
    """Settle a window by a person's word, or have it sent once more; with `target`, only what is to go there.

    `sent`: it arrived, nothing more is done. `again`: the next run delivers it; the same bytes when `spool_stands`,
    else it is read again. `abandon`: it is given up, and its rows with it.
    Raises ExportError STATUS_REFUSED when the state leaves nothing to decide.
    """
    delivery = tables.delivery
    open_states = (*UNSETTLED, State.ABANDONED)
    with turn.writing() as connection:
        state = window.state if target is None else _state_on(connection, window, target)
        allowed = {
            "sent": state in (State.EXTRACTED, State.PUBLISHING, State.AMBIGUOUS),
            "again": state in (State.PUBLISHING, State.AMBIGUOUS, State.ABANDONED, State.EXTRACTED),
            "abandon": not state.settled,
        }
        if not allowed[decision]:
            where = f" on {target}" if target else ""
            raise ExportError(
                Code.STATUS_REFUSED,
                f"window {window.id[:8]} is {state.value}{where}, and `{decision}` has no meaning for it",
                f"`exports ledger {window.export}` shows which windows are open",
                export=window.export,
            )
        parts = update(delivery).filter_by(window=window.id).where(delivery.c.state.in_(open_states))
        if target is not None:
            parts = parts.filter_by(target=target)
        if decision == "sent":
            connection.execute(parts.values(state=State.COMMITTED, committed_by=BY_HAND, updated_at=now_text()))
        elif decision == "abandon":
            connection.execute(parts.values(state=State.ABANDONED, updated_at=now_text()))
        elif spool_stands or target is not None:
            # Without the spool the window is read again, and what other targets have must turn out to be the same.
            connection.execute(parts.values(state=State.EXTRACTED, updated_at=now_text()))
        else:
            plan_anew(connection, [window.id])


def end_generation(turn: Turn) -> int:
    """The export is deleted: what is outstanding is given up, and an export that takes its id inherits nothing.

    Returns how many windows were given up.
    """
    delivery, window = tables.delivery, tables.window
    own = select(window.c.id).where(window.c.export == turn.export_id)
    with turn.writing() as connection:
        outstanding = select(delivery.c.window).where(delivery.c.window.in_(own), delivery.c.state.in_(UNSETTLED))
        given_up = set(connection.execute(outstanding).scalars())
        parts = update(delivery).where(delivery.c.window.in_(own), delivery.c.state.in_(UNSETTLED))
        connection.execute(parts.values(state=State.ABANDONED, updated_at=now_text()))
        open_generation(connection, turn.export_id, Bounds(), "deleted")
    return len(given_up)


def _state_on(connection: Connection, window: Window, target: str) -> State:
    delivery = tables.delivery.c
    query = select(delivery.state).where(delivery.window == window.id, delivery.target == target)
    states = [State(found) for found in connection.execute(query).scalars()]
    if not states:
        raise ExportError(
            Code.STATUS_REFUSED,
            f"window {window.id[:8]} does not go to {target}",
            f"`exports ledger {window.export} --json` shows each window's targets",
            export=window.export,
        )
    return least_advanced(states)


def accept(ledger: Ledger, export_id: str) -> None:
    """This ledger is right though it is another than was seen, and the source is though it changed: go on.

    The turns are counted on from the highest that this machine has seen, and the source's identity is taken anew. The
    next file may have other columns than the last one.
    Raises ExportError EXPORT_BUSY when a run is at work.
    """
    attempt, window = tables.attempt.c, tables.window
    with hold(ledger.engine, export_id, BY_HAND, wait_seconds=0), writing(ledger.engine, lock=export_id) as connection:
        ledger_id: str = connection.execute(select(tables.schema_version.c.ledger_id)).scalar_one()
        known: int = connection.execute(select(func.max(attempt.fence)).filter_by(export=export_id)).scalar() or 0
        seen = read_mark(export_id)
        fence = max(known, seen.fence if seen else 0) + 1
        row = {
            "export": export_id,
            "fence": fence,
            "run_id": BY_HAND,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began_at": now_text(),
            "ended_at": now_text(),
        }
        connection.execute(insert(tables.attempt).values(row))
        anew = {"source": None, "columns_accepted_at": now_text()}
        connection.execute(update(window).filter_by(export=export_id).values(anew))
    write_mark(export_id, Mark(ledger_id, fence, ended=True))
