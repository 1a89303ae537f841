"""What a person decides where the ledger cannot know: each decision is written under the export's lock."""

from __future__ import annotations

import os
import socket
from typing import Literal, get_args

from sqlalchemy import func, insert, select, update

from catalog.errors import Code, ExportError
from catalog.windows import State, Window
from tasks.ledger import tables
from tasks.ledger.connection import writing
from tasks.ledger.extractions import plan_anew
from tasks.ledger.lock import hold
from tasks.ledger.mark import Mark, read_mark, write_mark
from tasks.ledger.records import now_text
from tasks.ledger.store import Ledger
from tasks.ledger.turn import Turn

Decision = Literal["sent", "again", "abandon"]
DECISIONS: tuple[str, ...] = get_args(Decision)

#: Stands in the place of a run's id where a person did what runs do.
BY_HAND = "by hand"


def resolve(turn: Turn, window: Window, decision: Decision, *, spool_stands: bool) -> None:
    """Settle a window by a person's word, or have it sent once more.

    `sent`: it arrived, nothing more is done. `again`: the next run delivers it; the same bytes when `spool_stands`,
    else it is read again. `abandon`: it is given up, and its rows with it.
    Raises ExportError STATUS_REFUSED when the window's state leaves nothing to decide.
    """
    allowed = {
        "sent": window.state in (State.EXTRACTED, State.PUBLISHING, State.AMBIGUOUS),
        "again": window.state in (State.PUBLISHING, State.AMBIGUOUS, State.ABANDONED, State.EXTRACTED),
        "abandon": not window.state.settled,
    }
    if not allowed[decision]:
        raise ExportError(
            Code.STATUS_REFUSED,
            f"window {window.id[:8]} is {window.state.value}, and `{decision}` has no meaning for it",
            f"`exports ledger {window.export}` shows which windows are open",
            export=window.export,
        )
    delivery = tables.delivery
    open_states = [state for state in State if not state.settled] + [State.ABANDONED]
    with turn.writing() as connection:
        parts = update(delivery).filter_by(window=window.id).where(delivery.c.state.in_(open_states))
        if decision == "sent":
            connection.execute(parts.values(state=State.COMMITTED, committed_by=BY_HAND, updated_at=now_text()))
        elif decision == "abandon":
            connection.execute(parts.values(state=State.ABANDONED, updated_at=now_text()))
        elif spool_stands:
            connection.execute(parts.values(state=State.EXTRACTED, updated_at=now_text()))
        else:
            plan_anew(connection, [window.id])


def accept(ledger: Ledger, export_id: str) -> None:
    """This ledger is right though it is another than was seen, and the source is though it changed: go on.

    The turns are counted on from the highest that this machine has seen, and the source's identity is taken anew.
    Raises ExportError EXPORT_BUSY when a run is at work.
    """
    attempt, window = tables.attempt.c, tables.window
    with hold(ledger.engine, export_id, BY_HAND, wait_seconds=0), writing(ledger.engine, lock=export_id) as connection:
        ledger_id: str = connection.execute(select(tables.schema_version.c.ledger_id)).scalar_one()
        known: int = connection.execute(select(func.max(attempt.fence)).filter_by(export=export_id)).scalar() or 0
        seen = read_mark(export_id)
        fence = max(known, seen.fence if seen else 0) + 1
        row = {"export": export_id, "fence": fence, "run_id": BY_HAND, "host": socket.gethostname()}
        times = {"began_at": now_text(), "ended_at": now_text()}
        connection.execute(insert(tables.attempt).values(**row, **times, pid=os.getpid()))
        connection.execute(update(window).filter_by(export=export_id).values(source=None))
    write_mark(export_id, Mark(ledger_id, fence, ended=True))
