"""What is recorded under an export's lock: each method is one transaction, and refuses a run that was fenced out."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, and_, insert, or_, select, update

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import UNSETTLED, State, Window
from tasks.ledger import tables
from tasks.ledger.connection import reading, writing
from tasks.ledger.extractions import record_extraction
from tasks.ledger.lock import hold
from tasks.ledger.mark import Mark, read_mark, write_mark
from tasks.ledger.records import Attempt, Delivery, Extracted, Findings, attempt_of, now_text


@contextmanager
def take_turn(
    engine: Engine,
    export_id: str,
    run_id: str,
    *,
    wait_seconds: float = 600,
    on_wait: Callable[[str], None] = lambda holder: None,
) -> Iterator[Turn]:
    """Work on an export for as long as the block runs: its lock is held, and the turn has a number of its own.

    Raises ExportError EXPORT_BUSY after `wait_seconds` for another holder, whom `on_wait` is told once;
    LEDGER_OLD when this machine has seen a later turn than the ledger knows of; LEDGER_UNREACHABLE.
    """
    with hold(engine, export_id, run_id, wait_seconds=wait_seconds, on_wait=on_wait):
        turn = _begin(engine, export_id, run_id)
        try:
            yield turn
        except BaseException as error:
            # What ended the block is what has to be told; a ledger that cannot be reached now finds this turn open.
            with suppress(ExportError):
                turn.end(_code_of(error))
            raise
        turn.end(None)


def _code_of(error: BaseException) -> Code:
    if isinstance(error, ExportError):
        return error.code
    return Code.INTERNAL if isinstance(error, Exception) else Code.STOPPED


def _begin(engine: Engine, export_id: str, run_id: str) -> Turn:
    attempt = tables.attempt
    with writing(engine, lock=export_id) as connection:
        ledger_id = refuse_old(connection, export_id, read_mark(export_id))
        newest = _newest(connection, export_id)
        fence = newest.fence + 1 if newest else 1
        dead = newest if newest and newest.ended_at is None else None
        unfinished = update(attempt).filter_by(export=export_id, ended_at=None)
        connection.execute(unfinished.values(ended_at=now_text(), error_code=Code.PROCESS_VANISHED.text))
        row = {
            "export": export_id,
            "fence": fence,
            "run_id": run_id,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began_at": now_text(),
            "took_over": dead.fence if dead else None,
        }
        connection.execute(insert(attempt).values(row))
    write_mark(export_id, Mark(ledger_id, fence, ended=False))
    return Turn(engine, ledger_id, export_id, run_id, fence, dead)


def _newest(connection: Connection, export_id: str) -> Attempt | None:
    query = select(tables.attempt).filter_by(export=export_id).order_by(tables.attempt.c.fence.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return attempt_of(row) if row else None


def refuse_old(connection: Connection, export_id: str, seen: Mark | None) -> str:
    """The ledger's id, when it knows of every turn that this machine has `seen`. Raises ExportError LEDGER_OLD."""
    ledger_id: str = connection.execute(select(tables.schema_version.c.ledger_id)).scalar_one()
    newest = _newest(connection, export_id)
    known = Mark(ledger_id, newest.fence if newest else 0, newest is not None and newest.ended_at is not None)
    if seen is None or (seen.ledger_id == known.ledger_id and (seen.fence, seen.ended) <= (known.fence, known.ended)):
        return ledger_id
    which = (
        f"knows {known.fence} turns of export {export_id}, and this machine has seen {seen.fence}"
        if seen.ledger_id == known.ledger_id
        else f"is not the one by which this machine delivered export {export_id} before"
    )
    raise ExportError(
        Code.LEDGER_OLD,
        f"the ledger {which}: it is an old copy, or a new one",
        f"put the newest ledger back; or say with `exports ledger {export_id} --accept` that this one is right, "
        f"or with `exports ledger {export_id} --restart start|now|MOMENT` where the export begins anew",
        export=export_id,
    )


class Turn:
    """One run's turn at an export's work. `at` is the window it works on, `took_over` a dead turn that it found."""

    def __init__(
        self, engine: Engine, ledger_id: str, export_id: str, run_id: str, fence: int, took_over: Attempt | None
    ) -> None:
        self._engine, self._ledger_id = engine, ledger_id
        self.export_id, self.run_id, self.fence, self.took_over = export_id, run_id, fence, took_over
        self.at: Window | None = None

    def confirm(self) -> None:
        """Nobody has taken over. Raises ExportError FENCED_OUT otherwise."""
        with reading(self._engine) as connection:
            self._refuse_fenced_out(connection)

    def record_extracted(self, window: Window, files: Sequence[Extracted], findings: Findings | None = None) -> None:
        """The final bytes stand in the spool; no files means there is nothing to deliver."""
        with self.writing() as connection:
            record_extraction(connection, window, files, findings or Findings(), self.run_id)

    def record_made_again(self, window: Window, part: int, path: Path) -> None:
        """A part that the spool had lost stands there again, under that path."""
        query = update(tables.extraction).filter_by(window=window.id, part=part)
        with self.writing() as connection:
            connection.execute(query.values(spool_path=str(path)))

    def record_uploading(self, delivery: Delivery, temp_name: str) -> None:
        """An upload begins under that name, which the next try removes when this one dies."""
        self._move(delivery, {State.EXTRACTED}, state=State.EXTRACTED, temp_name=temp_name)

    def record_publishing(self, delivery: Delivery, temp_name: str, path: str, identity: str) -> None:
        """Every byte is at the target under `temp_name`; publishing may begin."""
        self._move(
            delivery,
            {State.EXTRACTED, State.PUBLISHING},
            state=State.PUBLISHING,
            temp_name=temp_name,
            path=path,
            target_identity=identity,
            publishing_at=now_text(),
        )

    def record_ambiguous(self, delivery: Delivery) -> None:
        """What became of the file cannot be known; a person says."""
        self._move(delivery, {State.PUBLISHING, State.AMBIGUOUS}, state=State.AMBIGUOUS)

    def record_committed(self, delivery: Delivery) -> None:
        """The file stands under its final name, or was taken from there. Once more by the same run changes nothing."""
        # The answer to a commit can be lost, and the step is then tried again.
        done = and_(tables.delivery.c.state == State.COMMITTED, tables.delivery.c.committed_by == self.run_id)
        before = {State.PUBLISHING, State.AMBIGUOUS}
        self._move(delivery, before, done, state=State.COMMITTED, committed_by=self.run_id)

    def record_cleared(self, delivery: Delivery) -> None:
        """The delivered file need not be looked at for its age any more."""
        query = update(tables.delivery).filter_by(window=delivery.window, target=delivery.target, part=delivery.part)
        with self.writing() as connection:
            connection.execute(query.values(cleared_at=now_text()))

    def supersede(self, window: Window) -> None:
        """What this window meant cannot be read any more: a later run of a full export took its place."""
        if window.kind != "full":
            raise AssertionError(f"window {window.id} has bounds: superseding it would lose its rows")
        with self.writing() as connection:
            query = update(tables.delivery).filter_by(window=window.id).where(tables.delivery.c.state.in_(UNSETTLED))
            connection.execute(query.values(state=State.SUPERSEDED, updated_at=now_text()))

    def redefine(self, window: Window, export: Export) -> None:
        """The window is extracted with a later, corrected definition of the same source."""
        with self.writing() as connection:
            connection.execute(update(tables.window).filter_by(id=window.id).values(definition=export.hash))

    def revive(self, window: Window) -> None:
        """A superseded window is wanted after all: its own run was relaunched."""
        with self.writing() as connection:
            query = update(tables.delivery).filter_by(window=window.id, state=State.SUPERSEDED)
            connection.execute(query.values(state=State.PLANNED, updated_at=now_text()))

    def end(self, code: Code | None) -> None:
        """The turn is over; `code` says why it ended early."""
        values = {
            "ended_at": now_text(),
            "error_code": code.text if code else None,
            "window": self.at.id if self.at and code else None,
        }
        with writing(self._engine, lock=self.export_id) as connection:
            query = update(tables.attempt).filter_by(export=self.export_id, fence=self.fence, ended_at=None)
            ended = connection.execute(query.values(values)).rowcount == 1
        if ended:
            # The mark of the turn's beginning stands: without this one only a copy made during the turn passes unseen.
            with suppress(ExportError):
                write_mark(self.export_id, Mark(self._ledger_id, self.fence, ended=True))

    def _move(
        self, delivery: Delivery, before: set[State], or_else: ColumnElement[bool] | None = None, **values: Any
    ) -> None:
        query = update(tables.delivery).filter_by(window=delivery.window, target=delivery.target, part=delivery.part)
        with self.writing() as connection:
            expected = tables.delivery.c.state.in_(before)
            allowed = expected if or_else is None else or_(expected, or_else)
            moved = connection.execute(query.where(allowed).values(**values, updated_at=now_text()))
            if moved.rowcount != 1:
                raise AssertionError(f"delivery of window {delivery.window} is not in state {sorted(before)}")

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction of this turn. Raises ExportError FENCED_OUT when another has begun."""
        with writing(self._engine, lock=self.export_id) as connection:
            self._refuse_fenced_out(connection)
            yield connection

    def _refuse_fenced_out(self, connection: Connection) -> None:
        newest = _newest(connection, self.export_id)
        if newest is not None and newest.fence != self.fence:
            raise ExportError(
                Code.FENCED_OUT,
                f"run {newest.run_id} on {newest.host} has taken over export {self.export_id} from this run",
                "nothing: that run delivers what is outstanding; see why this one lost the ledger's server",
                export=self.export_id,
            )
