"""Concurrent writers of the table `orders`, each of which logs an id only after its COMMIT has returned."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

TABLE = """
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    payload text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp()
)
"""
_INSERT = "INSERT INTO orders (payload) VALUES (%s) RETURNING id"
#: One that no other has: quotes, delimiters and line ends, so that half a row never passes for a whole one.
_PAYLOAD = 'row "{}", of\nwriter {}'
_THREADS = 4


class RolledBack(Exception):
    """This transaction, or this savepoint, was never meant to last."""


@contextmanager
def writing(conninfo: str, log: Path, seed: int) -> Iterator[None]:
    """Writers in a process of their own for as long as the block runs; at its end, every committed id is in `log`."""
    process = subprocess.Popen([sys.executable, __file__, conninfo, str(log), str(seed)])
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0, "the writers did not end well: their log says nothing"


def committed(log: Path) -> set[int]:
    """The ids whose COMMIT returned."""
    return {int(line) for line in log.read_text().split()}


def _one_transaction(connection: psycopg.Connection, chance: random.Random, writer: int) -> list[int]:
    ids: list[int] = []

    def insert() -> int:
        payload = _PAYLOAD.format(chance.getrandbits(48), writer)
        found = connection.execute(_INSERT, [payload]).fetchone()
        assert found is not None
        return int(found[0])

    with connection.transaction():
        for _ in range(chance.randint(1, 4)):
            if chance.random() < 0.4:
                try:
                    with connection.transaction():
                        in_savepoint = insert()
                        if chance.random() < 0.2:
                            raise RolledBack
                    ids.append(in_savepoint)
                except RolledBack:
                    pass
            else:
                ids.append(insert())
            if chance.random() < 0.03:
                time.sleep(chance.uniform(0.05, 0.3))
        if chance.random() < 0.1:
            raise RolledBack
    return ids


def _write(conninfo: str, log: Path, seed: int, writer: int, stop: threading.Event) -> None:
    chance = random.Random(f"{seed} {writer}")
    with psycopg.connect(conninfo, autocommit=True) as connection, log.open("a") as file:
        while not stop.is_set():
            try:
                ids = _one_transaction(connection, chance, writer)
            except RolledBack:
                continue
            file.write("".join(f"{committed}\n" for committed in ids))
            file.flush()
            stop.wait(chance.expovariate(1 / 0.03))


def main(conninfo: str, log: Path, seed: int) -> None:
    """Write until SIGTERM; a writer that fails ends the process with an error."""
    stop, failed = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())

    def watched(writer: int) -> None:
        try:
            _write(conninfo, log, seed, writer, stop)
        except BaseException:
            failed.set()
            raise

    threads = [threading.Thread(target=watched, args=[writer]) for writer in range(_THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.exit(1 if failed.is_set() else 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
