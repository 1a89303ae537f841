"""A stage that is set up anew for every crash, always in one place: a SQLite source, ledger, spool and drop folder."""

from __future__ import annotations

import os
import shutil
import sqlite3
import uuid
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from consumer import Taken, take, what_was_taken
from drop_targets import DropTarget
from story_process import Run
from verdict import Verdict, judge
from workshop import Workshop

FIRST = datetime(2026, 3, 1, 2, tzinfo=UTC)
_IN_PARTS = {"name": "orders_{date:%Y%m%dT%H%M%S}_{part}.csv", "max_rows": 1, "manifest": True}
_TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, payload TEXT, updated_at DATETIME)"


class CrashStage:
    """Runs of one incremental export, an hour apart; each hour has brought two rows.

    With `parts`, each row is in a file of its own, and a manifest follows them.
    """

    def __init__(self, folder: Path, target: DropTarget, stack: ExitStack, *, parts: bool = False) -> None:
        self.folder, self.drop, self.spool, self.taken = folder, folder / "drop", folder / "spool", folder / "taken"
        self.ledger_file = folder / "state" / "ledger.sqlite"
        self.workshop = Workshop(folder)
        target.serve(self.workshop, self.drop, stack)
        self.workshop.sqlite(script=_TABLE)
        keys = {"file": _IN_PARTS} if parts else {}
        export_id = self.workshop.incremental(cursor={"lookback": "0s"}, **keys)
        self.export = self.workshop.load(export_id)
        self.rows: set[int] = set()
        self.workshop.ledger.register(self.export)
        self._fresh_ledger = self.ledger_file.read_bytes()

    def begin(self) -> None:
        """Everything as before the first run, and the environment leads here."""
        os.environ |= {
            "EXPORTS_CATALOG": str(self.workshop.catalog_folder),
            "EXPORTS_LEDGER": self.workshop.ledger.url,
            "EXPORTS_SPOOL": str(self.spool),
        }
        for folder in (self.drop, self.spool, self.taken, self.ledger_file.parent):
            shutil.rmtree(folder, ignore_errors=True)
        for folder in (self.drop, self.taken, self.ledger_file.parent):
            folder.mkdir()
        self.ledger_file.write_bytes(self._fresh_ledger)
        with closing(sqlite3.connect(self.folder / "crm.sqlite")) as connection, connection:
            connection.execute("DELETE FROM orders")
        self.rows = set()

    def run(self, hour: int, run_id: str | None = None) -> Run:
        """The run of that hour; the rows that came before it are in the table now."""
        for number in (2 * hour + 1, 2 * hour + 2):
            self._insert(number, FIRST + timedelta(hours=hour, minutes=number - 60))
        return Run(self.export, self.workshop.ledger, run_id or str(uuid.uuid4()), FIRST + timedelta(hours=hour))

    def _insert(self, number: int, moment: datetime) -> None:
        if number in self.rows:
            return
        row = (number, f'row "{number}", of\nwriter 1', moment.strftime("%Y-%m-%d %H:%M:%S"))
        with closing(sqlite3.connect(self.folder / "crm.sqlite")) as connection, connection:
            connection.execute("INSERT INTO orders VALUES (?, ?, ?)", row)
        self.rows.add(number)

    def consume(self, drop: Path | None = None) -> None:
        """The consumer takes what stands there, or in another folder."""
        take(drop or self.drop, self.taken, len(what_was_taken(self.taken)))

    def lose_spool(self) -> None:
        """Another host has none."""
        shutil.rmtree(self.spool, ignore_errors=True)

    def verdict(self) -> Verdict:
        """What is wrong after all runs have ended, leftovers on target and spool too."""
        self.consume()
        files: list[Taken] = what_was_taken(self.taken)
        found = judge(self.ledger_file, files, self.rows)
        found.stopped += [f"left behind: {path}" for path in self._left_behind()]
        return found

    def _left_behind(self) -> list[Path]:
        kept = [*self.drop.rglob("*"), *self.spool.rglob("*")]
        return [path for path in kept if path.is_file() and path.parent.name != ".marks"]
