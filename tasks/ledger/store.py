"""What the ledger is told without its export's lock: definitions, windows, and what a person decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime

from sqlalchemy import insert, select

from catalog.definition import Export
from catalog.places import ledger_url
from catalog.windows import Bounds, Frontier
from tasks.ledger import tables
from tasks.ledger.allot import GoingOn, allot, going_on
from tasks.ledger.connection import reading, writing
from tasks.ledger.delivered import LedgerDeliveries
from tasks.ledger.generations import open_generation
from tasks.ledger.mark import read_mark
from tasks.ledger.records import Allotment, now_text
from tasks.ledger.turn import Turn, refuse_old, take_turn


class Ledger(LedgerDeliveries):
    """The ledger behind one SQLAlchemy URL; it is made by the first write, never by looking.

    Every method that writes is one transaction.
    """

    @classmethod
    def default(cls) -> Ledger:
        """The ledger of `EXPORTS_LEDGER`."""
        return cls(ledger_url())

    def register(self, export: Export) -> str:
        """Keep a definition under its hash, which is returned; once is enough."""
        known = self.definition(export.hash)
        if known is None:
            row = {
                "hash": export.hash,
                "export": export.id,
                "json": json.dumps(export.frozen()),
                "registered_at": now_text(),
            }
            with writing(self.engine, lock=export.id) as connection:
                found = connection.execute(select(tables.definition).filter_by(hash=export.hash)).first()
                if found is None:
                    connection.execute(insert(tables.definition).values(row))
        return export.hash

    def going_on(self, export: Export) -> GoingOn:
        """Where the export's next window belongs, and which bounds it follows."""
        if not self._exists():
            return GoingOn(1, None, None)
        with reading(self.engine) as connection:
            return going_on(connection, export)

    def is_known(self, export_id: str) -> bool:
        """Whether an export of this id was ever allotted a window, or told where its next one begins."""
        opened = select(tables.generation.c.number).filter_by(export=export_id).limit(1)
        return bool(self.windows(export_id, 1) or self._read(opened))

    def allot(
        self,
        export: Export,
        run_id: str,
        logical_time: datetime,
        explicit: Bounds | None = None,
        frontier: Frontier | None = None,
    ) -> Allotment:
        """The window of this run: allotted once, with bounds and names, before anything is read.

        A run that asks again gets its own again. A run whose time is not after the newest window's gets none.
        `explicit` bounds make a backfill, which never moves the watermark; `frontier` is what the source said of itself
        in modes `xid` and `guarded`.
        Raises ExportError NAME_NOT_UNIQUE when another window of this export has the name already, and LEDGER_OLD as a
        turn does: what an old ledger allots would stay outstanding, and be sent again later.
        """
        seen = read_mark(export.id)
        with writing(self.engine, lock=export.id) as connection:
            refuse_old(connection, export.id, seen)
            return allot(connection, export, run_id, logical_time, explicit, frontier)

    def was_told(self, what: str) -> bool:
        """Whether it is recorded that people were told of `what`."""
        return bool(self._read(select(tables.told).filter_by(what=what)))

    def record_told(self, export_id: str, what: str) -> bool:
        """Record that people are told of `what` (at most 200 characters); False when that was recorded already."""
        with writing(self.engine, lock=export_id) as connection:
            if connection.execute(select(tables.told).filter_by(what=what)).first() is not None:
                return False
            connection.execute(insert(tables.told).values(what=what, told_at=now_text()))
            return True

    def open_generation(self, export_id: str, start: Bounds) -> int:
        """The export's next window begins at `start.low` (None: the beginning), whatever came before.

        Returns the number of the generation.
        """
        with writing(self.engine, lock=export_id) as connection:
            return open_generation(connection, export_id, start, "restart")

    def take_turn(
        self,
        export_id: str,
        run_id: str,
        *,
        wait_seconds: float = 600,
        on_wait: Callable[[str], None] = lambda holder: None,
    ) -> AbstractContextManager[Turn]:
        """Work on an export under its lock for as long as the block runs; see `tasks.ledger.turn.take_turn`."""
        return take_turn(self.engine, export_id, run_id, wait_seconds=wait_seconds, on_wait=on_wait)
