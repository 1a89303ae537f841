"""Writers that do to a table all that databases allow, and log what they committed: the truth of the watermark race."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Ground:
    """A database to race on: its connections commit by themselves until BEGIN; `stamps` are what `ts` may be set to.

    `prepares` says whether it has PREPARE TRANSACTION; `elsewhere` connects to another database with the same table.
    `own_id` asks for a connection's id, `kill` ends the connection of that id, `is_cut_off` tells what it then raises.
    """

    connect: Callable[[], Any]
    stamps: Sequence[str]
    prepares: bool
    elsewhere: Callable[[], Any] | None
    own_id: str
    kill: str
    is_cut_off: tuple[type[Exception], ...]


@dataclass
class Log:
    """Ids whose COMMIT returned, and those whose COMMIT was sent but never answered."""

    committed: set[int] = field(default_factory=set)
    maybe: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def record(self, ids: Sequence[int], *, certain: bool) -> None:
        with self.lock:
            (self.committed if certain else self.maybe).update(ids)


class Writers:
    """`count` threads that write until they are stopped, a thread that commits what was prepared, one in another
    database, and one that cuts connections.
    """

    def __init__(self, ground: Ground, count: int, seed: int) -> None:
        self.log = Log()
        self._ground, self._stop = ground, threading.Event()
        self._prepared: dict[str, tuple[float, list[int]]] = {}
        self._lock = threading.Lock()
        self._pids: dict[int, int] = {}
        self._pool = ThreadPoolExecutor(count + 3)
        dice = random.Random(seed)
        others = [self._cut_off]
        if ground.prepares:
            others.append(self._commit_prepared)
        if ground.elsewhere is not None:
            others.append(self._write_elsewhere)
        start = [self._pool.submit(self._write_on(number), random.Random(dice.random())) for number in range(count)]
        self._writing: Sequence[Future[None]] = start
        self._beside = [self._pool.submit(work, random.Random(dice.random())) for work in others]

    def finish(self) -> None:
        """Let every open transaction end; raises what stopped a thread before its time."""
        self._stop.set()
        for thread in (*self._writing, *self._beside):
            thread.result()
        self._pool.shutdown()

    def _write_on(self, number: int) -> Callable[[random.Random], None]:
        def work(dice: random.Random) -> None:
            connection = None
            while not self._stop.is_set():
                if connection is None:
                    connection = self._ground.connect()
                ids: list[int] = []
                committing = False
                try:
                    cursor = connection.cursor()
                    cursor.execute(self._ground.own_id)
                    self._pids[number] = cursor.fetchone()[0]
                    cursor.execute("BEGIN")
                    ids = self._change(cursor, dice)
                    if dice.random() < 0.10:
                        cursor.execute("ROLLBACK")
                    elif self._ground.prepares and dice.random() < 0.004:
                        self._prepare(cursor, f"race_{number}_{dice.random()}", ids, dice)
                    else:
                        committing = True
                        cursor.execute("COMMIT")
                        self.log.record(ids, certain=True)
                except self._ground.is_cut_off:
                    if committing:
                        self.log.record(ids, certain=False)
                    connection = None
            if connection is not None:
                connection.close()

        return work

    def _change(self, cursor: Any, dice: random.Random) -> list[int]:
        """The rows of one transaction that are to stay; those of a savepoint that is rolled back are not."""
        ids = self._insert(cursor, dice)
        if dice.random() < 0.40:
            cursor.execute("SAVEPOINT s")
            within = self._insert(cursor, dice)
            if dice.random() < 0.20:
                cursor.execute("ROLLBACK TO SAVEPOINT s")
            else:
                cursor.execute("RELEASE SAVEPOINT s")
                ids += within
        # How long a transaction works is what the race is about.
        self._stop.wait(dice.uniform(0.5, 3) if dice.random() < 0.03 else dice.uniform(0, 0.03))
        if dice.random() < 0.3:
            ids += self._insert(cursor, dice)
        return ids

    def _insert(self, cursor: Any, dice: random.Random) -> list[int]:
        ids = []
        for _ in range(dice.randint(1, 3)):
            cursor.execute(f"INSERT INTO events (ts) VALUES ({dice.choice(self._ground.stamps)}) RETURNING id")
            ids.append(cursor.fetchone()[0])
        return ids

    def _prepare(self, cursor: Any, gid: str, ids: list[int], dice: random.Random) -> None:
        # Known before it is done: if the answer is lost, the committer finds out.
        with self._lock:
            self._prepared[gid] = (time.monotonic() + dice.uniform(0, 0.6), ids)
        cursor.execute(f"PREPARE TRANSACTION '{gid}'")

    def _commit_prepared(self, dice: random.Random) -> None:
        with self._ground.connect() as connection:
            while True:
                # Asked before: what the last writer prepared is committed in the round after it.
                have_ended = all(thread.done() for thread in self._writing)
                with self._lock:
                    due = {gid: ids for gid, (at, ids) in self._prepared.items() if have_ended or at < time.monotonic()}
                for gid, ids in due.items():
                    found = connection.execute("SELECT 1 FROM pg_prepared_xacts WHERE gid = %s", [gid]).fetchone()
                    if found is None and not have_ended:
                        # It may be on its way.
                        continue
                    if found is not None:
                        connection.execute(f"COMMIT PREPARED '{gid}'")
                        self.log.record(ids, certain=True)
                    with self._lock:
                        del self._prepared[gid]
                if have_ended:
                    return
                time.sleep(dice.uniform(0, 0.04))

    def _write_elsewhere(self, dice: random.Random) -> None:
        assert self._ground.elsewhere is not None, "only where there is another database"
        with self._ground.elsewhere() as connection:
            cursor = connection.cursor()
            while not self._stop.is_set():
                cursor.execute("BEGIN")
                self._insert(cursor, dice)
                self._stop.wait(dice.uniform(0, 0.4))
                cursor.execute("COMMIT")

    def _cut_off(self, dice: random.Random) -> None:
        with self._ground.connect() as connection:
            cursor = connection.cursor()
            while not self._stop.wait(dice.uniform(0.5, 1.5)):
                with suppress(*self._ground.is_cut_off):
                    cursor.execute(self._ground.kill, [dice.choice(list(self._pids.values()))])
