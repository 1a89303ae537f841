"""One round of the soak: a fresh export whose runs are killed, one after the other, then drained and judged."""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import sqlite3
import time
import uuid
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any

import consumer
import writers
from drop_targets import DropTarget
from plants import PLANTS
from postgres_server import Postgres
from story_process import DONE, Report, Run, assert_nothing_open, start
from verdict import Verdict, judge
from workshop import Workshop

from tasks import deliver

#: What a child reports when it begins each step of a delivery.
PUT, RECORD, PUBLISH = b"1", b"2", b"3"
_OLDEST_OUTSTANDING = """
SELECT delivery.state FROM delivery JOIN window ON window.id = delivery.window
WHERE delivery.state NOT IN ('COMMITTED', 'EMPTY') ORDER BY window.logical_time, delivery.part LIMIT 1
"""
#: More than that many windows behind, a run is left alone, or the export would never catch up.
_MOST_OUTSTANDING = 4
_AIMED = 0.45
#: In mode `lag`, longer than a writer's longest transaction.
_LAG = timedelta(seconds=3)
_AIMED_SECONDS = 0.003


@dataclass
class Round:
    """`kills` of one export's runs, on a source and a target, with a bug planted in each run or none."""

    postgres: Postgres
    target: DropTarget
    folder: Path
    kills: int
    seed: int
    trace: IO[str]
    plant: str | None = None
    mode: str = "xid"
    states: Counter[str] = field(default_factory=Counter)
    cycle_seconds: float = 0.0

    def play(self) -> Verdict:
        """The whole round; nothing of it stands afterwards."""
        self.chance = random.Random(self.seed)
        self.folder.mkdir()
        self.drop = self.folder / "drop"
        database = self.postgres.fresh_database(writers.TABLE)
        conninfo = self.postgres.conninfo(database)
        self._set_up(database, conninfo)
        log = self.folder / "committed"
        with ExitStack() as stack:
            self.target.serve(self.workshop, self.drop, stack)
            stack.enter_context(consumer.consuming(self.drop, self.folder / "taken"))
            with writers.writing(conninfo, log, self.seed):
                self._warm_up()
                stopped = self._kill()
            stopped += self._drain()
        verdict = judge(self.ledger_file, consumer.what_was_taken(self.folder / "taken"), writers.committed(log))
        verdict.stopped = stopped
        self._note(verdict=verdict.counts(), lost=verdict.lost, doubled=verdict.doubled, partial=verdict.partial)
        if verdict.clean:
            shutil.rmtree(self.folder)
        with self.postgres.connect() as connection:
            connection.execute(f"DROP DATABASE {database} WITH (FORCE)")
        return verdict

    def _set_up(self, database: str, conninfo: str) -> None:
        workshop = self.workshop = Workshop(self.folder)
        self.ledger_file = self.folder / "state" / "ledger.sqlite"
        os.environ |= {
            "EXPORTS_CATALOG": str(workshop.catalog_folder),
            "EXPORTS_LEDGER": workshop.ledger.url,
            "EXPORTS_SPOOL": str(self.folder / "spool"),
            "SOAK_PASSWORD": self.postgres.password,
            "SOAK_SOURCE": conninfo,
        }
        workshop.database("crm", self.postgres.url(database, password="{{ $SOAK_PASSWORD }}"))
        lag = {"column": "updated_at", "mode": "lag", "lag": f"{_LAG.seconds}s", "lookback": "0s"}
        cursor = {"mode": "xid"} if self.mode == "xid" else lag
        export_id = workshop.export(
            type="incremental", cursor=cursor, file={"name": "orders_{date:%Y%m%dT%H%M%S%f}.csv"}
        )
        self.export = workshop.load(export_id)

    def _warm_up(self) -> None:
        """Two cycles in this process, so that no child begins with empty caches; and the first measure of one."""
        self.workshop.ledger.register(self.export)
        for _ in range(2):
            began = time.monotonic()
            self._new_run().deliver()
            self.cycle_seconds = time.monotonic() - began
        gc.collect()
        gc.freeze()
        assert_nothing_open(self.folder)

    def _new_run(self) -> Run:
        return Run(self.export, self.workshop.ledger, str(uuid.uuid4()), datetime.now(UTC))

    def _kill(self) -> list[str]:
        """Kill until it is enough; returns how runs ended that nobody killed and that did not succeed."""
        stopped: list[str] = []
        run, killed = self._new_run(), 0
        while killed < self.kills and not stopped:
            aimed = self.chance.random() < _AIMED
            behind = self._outstanding()
            if behind > _MOST_OUTSTANDING:
                seconds = None
            else:
                seconds = self.chance.uniform(0, _AIMED_SECONDS if aimed else 1.1 * self.cycle_seconds)
            step = self.chance.choice((PUT, RECORD, PUBLISH, PUBLISH)) if aimed else b""
            began = time.monotonic()
            child = start(run, self._prepare)
            if seconds is not None and (not step or child.reaches(step)):
                time.sleep(seconds)
                child.kill()
            code, said = child.ended()
            if seconds is None and code == DONE and behind == 1:
                self.cycle_seconds += 0.1 * (time.monotonic() - began - self.cycle_seconds)
            state = self._state() if code < 0 else ""
            plan = {"step": step.decode(), "seconds": seconds}
            self._note(run=run.id, at=run.logical_time.isoformat(), **plan, code=code, state=state, said=said)
            if code < 0:
                killed += 1
                self.states[state] += 1
            elif code != DONE:
                stopped.append(said)
            if self.chance.random() < 0.03:
                # The next one is a new host, without spool.
                shutil.rmtree(self.folder / "spool", ignore_errors=True)
            if code == DONE or self.chance.random() < 0.5:
                run = self._new_run()
        return stopped

    def _prepare(self, report: Report) -> None:
        """In the child: the planted bug, and a word whenever a step of a delivery begins."""
        if self.plant is not None:
            PLANTS[self.plant]()
        opened = deliver.publisher_of

        class Reporting:
            def __init__(self, publisher: Any) -> None:
                self._publisher = publisher

            def __getattr__(self, name: str) -> Any:
                return getattr(self._publisher, name)

            def put(self, *arguments: Any) -> None:
                report(PUT)
                self._publisher.put(*arguments)
                report(RECORD)

            def publish(self, *arguments: Any, **keys: Any) -> None:
                report(PUBLISH)
                self._publisher.publish(*arguments, **keys)

        deliver.publisher_of = lambda *arguments, **keys: Reporting(opened(*arguments, **keys))

    def _drain(self) -> list[str]:
        """The writers have ended: runs that nobody kills deliver the rest. Returns how they failed."""
        if self.mode == "lag":
            time.sleep(_LAG.total_seconds())
        for _ in range(2):
            run = self._new_run()
            code, said = start(run, self._prepare).ended()
            self._note(drain=run.id, code=code, said=said)
            if code != DONE:
                return [said]
        return [f"{left} windows are outstanding after all"] if (left := self._outstanding()) else []

    def _outstanding(self) -> int:
        return len(self._ask(_OLDEST_OUTSTANDING.replace("LIMIT 1", "")))

    def _state(self) -> str:
        found = self._ask(_OLDEST_OUTSTANDING)
        return found[0] if found else "SETTLED"

    def _ask(self, query: str) -> list[str]:
        # Not through the ledger's own code: the proof must not lean on what it proves.
        with closing(sqlite3.connect(self.ledger_file, timeout=30)) as connection:
            return [state for (state,) in connection.execute(query)]

    def _note(self, **entry: Any) -> None:
        self.trace.write(json.dumps({"seed": self.seed, "t": round(time.time(), 4), **entry}) + "\n")
        self.trace.flush()
