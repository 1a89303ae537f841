"""Ranges of one table, read at the same time in one snapshot, into a part each or into one file.

The first connection exports its snapshot and keeps it until every range has been read on a connection of its own.
https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-SNAPSHOT-SYNCHRONIZATION
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from queue import Empty, Queue
from shutil import rmtree
from threading import Event
from typing import Any, Protocol

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from catalog.connections import Database
from catalog.definition import Export
from catalog.errors import Code, ExportError
from tasks.connect import Source, application_name, open_source
from tasks.credentials import Lookup
from tasks.ledger import Extracted
from tasks.parts import PROGRESS_SECONDS, Parts
from tasks.source.postgres import describe
from tasks.source.ranges import extent_of, split, within
from tasks.source.read import Begun, LateRows

#: Who is connected is looked up once in a transaction, unless it is asked to forget that.
_FORGET = text("SELECT pg_stat_clear_snapshot()")
_CANCEL = text("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = :name")


class Running(Protocol):
    """A call that goes on beside others, as a future has it."""

    def add_done_callback(self, fn: Callable[[Any], Any], /) -> Any:
        """Call `fn` with this, from any thread, when it has ended."""

    def result(self) -> Any:
        """What it returned; raises what it raised."""


@dataclass(frozen=True, slots=True)
class RangeRead:
    """One range in the spool, and why a bulk path gave up on it, where one did."""

    file: Extracted
    read_anew: str | None


class Partitions:
    """The `file.partitions` ranges of an export's table; each is read once, with `read`, from any thread."""

    def __init__(
        self,
        source: Source,
        export: Export,
        database: Database,
        lookup: Lookup,
        begun: Begun,
        late: LateRows | None,
        parts: Parts,
    ) -> None:
        self._source, self._export, self._database, self._lookup = source, export, database, lookup
        self._begun, self._late, self._parts = begun, late, parts
        self.count = export.file.partitions
        self._extent = extent_of(source, export)
        self._ranges = split(self._extent.blocks, self.count)
        # Until the snapshot ends, nobody may rewrite the table, which would give its rows other places.
        with source.connection.execute(begun.statement.limit(0)) as result:
            described = describe(result)
        # All ranges have these, and whatever stands against them is known before any is read.
        parts.on_columns(
            [replace(found, name=named.name) for found, named in zip(described, begun.columns, strict=True)]
        )
        self._snapshot: str = source.connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        self._written: dict[int, tuple[int, int]] = {}
        self._halted = Event()

    def read(self, number: int) -> RangeRead:
        """Read the range of that number, from 1 on, into the spool.

        Raises ExportError, which names the range; CANCELLED when another one has failed.
        """
        statement = within(self._begun.statement, self._extent, self._ranges[number - 1])
        late = self._late if number == 1 else None
        try:
            self._stop_if_halted()
            parts = self._parts.of_range(number, partial(self._follow, number))
            with open_source(self._source.name, self._database, self._lookup, snapshot=self._snapshot) as source:
                (file,) = parts.read(source, replace(self._begun, statement=statement), late)
        except ExportError as error:
            self._stop_if_halted()
            where = f"partition {number} of {self.count}: {error.message}"
            raise ExportError(error.code, where, error.hint, export=self._export.id, key=error.key) from error.__cause__
        return RangeRead(file, parts.read_anew)

    def read_all(self, submit: Submit) -> tuple[Extracted, ...]:
        """All parts, or the one file; each range is read by a call of `read` that `submit` begins.

        When one fails the others are stopped and waited for, and its error is raised.
        """
        ended: Queue[Running] = Queue()
        running, found = 0, []
        try:
            for number in range(1, self.count + 1):
                submit(self, number).add_done_callback(ended.put)
                running += 1
            while running:
                if (done := _next(ended)) is not None:
                    running -= 1
                    found.append(done.result())
                rows, sizes = zip(*self._written.copy().values(), strict=True) if self._written else ((), ())
                self._parts.on_progress(sum(rows), sum(sizes))
        except BaseException:
            self._halted.set()
            while running:
                self._cancel()
                running -= _next(ended) is not None
            raise
        return self._gathered(sorted(found, key=lambda read: read.file.part))

    def _gathered(self, found: Sequence[RangeRead]) -> tuple[Extracted, ...]:
        parts, file = self._parts, self._export.file
        parts.rows = sum(read.file.rows for read in found)
        parts.read_anew = next((read.read_anew for read in found if read.read_anew is not None), None)
        if not parts.rows and file.empty != "header":
            for read in found:
                rmtree(read.file.path.parent)
            return parts.empty(count=self.count if file.in_parts else 1)
        return tuple(read.file for read in found) if file.in_parts else parts.join([read.file.path for read in found])

    def _follow(self, number: int, rows: int, size: int) -> None:
        self._stop_if_halted()
        self._written[number] = (rows, size)

    def _stop_if_halted(self) -> None:
        if self._halted.is_set():
            raise ExportError(Code.CANCELLED, "stopped, since another partition failed", export=self._export.id)

    def _cancel(self) -> None:
        """Stop what the server does for the ranges, also where it looks long for a row; a lost connection cannot."""
        with suppress(SQLAlchemyError):
            self._source.connection.execute(_FORGET).all()
            self._source.connection.execute(_CANCEL, {"name": application_name(self._snapshot)}).all()


#: Begins `read` of the range of that number, beside others.
Submit = Callable[[Partitions, int], Running]


def _next(ended: Queue[Running]) -> Running | None:
    with suppress(Empty):
        return ended.get(timeout=PROGRESS_SECONDS)
    return None
