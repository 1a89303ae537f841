"""The watermark race: writers at work, and several ways to cut windows reading beside them. Who loses a row?

    python tests/watermark_race.py --seconds 300 --seed 7

prints one table, and exits 1 when one of ours loses, doubles or invents a row, or when a naive one loses none: then the
race is too tame to show anything. The truth is the writers' own log of what they committed.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import psycopg
from postgres_server import Postgres, running
from race_strategies import Strategy, postgres_strategies
from race_writers import Ground, Writers

WRITERS = 12
_PAUSE_SECONDS = 0.05


@dataclass
class Result:
    """What one strategy read, held against what was committed; `rows` counts deliveries."""

    strategy: str
    sound: bool
    cuts: int = 0
    delivered: Counter[int] = field(default_factory=Counter)
    lost: int = 0
    doubled: int = 0
    phantom: int = 0

    @property
    def rows(self) -> int:
        return self.delivered.total()

    @property
    def is_as_expected(self) -> bool:
        if self.sound:
            return self.cuts > 0 and not (self.lost or self.doubled or self.phantom)
        return self.lost > 0

    def hold_against(self, committed: set[int]) -> None:
        """Count what is missing, what came more than once, and what was never committed."""
        found = set(self.delivered)
        self.lost, self.phantom = len(committed - found), len(found - committed)
        self.doubled = sum(1 for times in self.delivered.values() if times > 1)


def race(
    ground: Ground, strategies: Sequence[Strategy], all_ids: Callable[[], set[int]], seconds: float, seed: int
) -> tuple[int, list[Result]]:
    """Let writers and strategies run for so many seconds; returns how many rows were committed, and who read what.

    `all_ids` reads the table at the end: it resolves commits whose answer was lost, and must agree with the log.
    """
    stop = threading.Event()
    results = [Result(strategy.name, strategy.sound) for strategy in strategies]
    writers = Writers(ground, WRITERS, seed)
    with ThreadPoolExecutor(len(strategies)) as pool:
        try:
            reading = [
                pool.submit(_read_on, strategy, result, stop)
                for strategy, result in zip(strategies, results, strict=True)
            ]
            deadline = time.monotonic() + seconds
            while time.monotonic() < deadline and not any(future.done() for future in reading):
                stop.wait(0.2)
        finally:
            writers.finish()
            stop.set()
        for future in reading:
            future.result()
    there = all_ids()
    certain, maybe = writers.log.committed, writers.log.maybe
    assert certain <= there <= certain | maybe, "the table and the writers' log differ: the race itself is broken"
    for strategy, result in zip(strategies, results, strict=True):
        result.delivered.update(strategy.finish())
        result.cuts += 1
        result.hold_against(there)
    return len(there), results


def _read_on(strategy: Strategy, result: Result, stop: threading.Event) -> None:
    while not stop.wait(_PAUSE_SECONDS):
        result.delivered.update(strategy.cut())
        result.cuts += 1


_POSTGRES_TABLE = (
    "CREATE TABLE events (id bigserial PRIMARY KEY, ts timestamptz NOT NULL,"
    " changed xid8 NOT NULL DEFAULT pg_current_xact_id())",
    "CREATE INDEX ON events (ts)",
    "CREATE INDEX ON events (changed)",
)


def race_on_postgres(server: Postgres, seconds: float, seed: int) -> tuple[int, list[Result]]:
    """The race on PostgreSQL, with prepared transactions and a writer in another database."""
    here, other = server.fresh_database(*_POSTGRES_TABLE), server.fresh_database(*_POSTGRES_TABLE)
    opened: list[psycopg.Connection] = []

    def connect() -> psycopg.Connection:
        opened.append(server.connect(here))
        return opened[-1]

    def all_ids() -> set[int]:
        with server.connect(here) as connection:
            return {row_id for (row_id,) in connection.execute("SELECT id FROM events")}

    ground = Ground(
        connect=lambda: server.connect(here),
        stamps=("now()", "clock_timestamp()"),
        prepares=True,
        elsewhere=lambda: server.connect(other),
        is_cut_off=lambda error: isinstance(error, psycopg.OperationalError),
    )
    try:
        return race(ground, postgres_strategies(server.url(here), connect), all_ids, seconds, seed)
    finally:
        for connection in opened:
            connection.close()


def table_of(committed: int, results: Sequence[Result]) -> str:
    """The outcome as a Markdown table."""
    lines = [
        f"{committed} rows committed",
        "",
        "| strategy | cuts | rows | lost | doubled | phantom | |",
        "|---" * 7 + "|",
    ]
    for result in results:
        verdict = "as expected" if result.is_as_expected else "FAILED"
        lines.append(
            f"| {result.strategy} | {result.cuts} | {result.rows} | {result.lost} | {result.doubled} "
            f"| {result.phantom} | {verdict} |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the race as a command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    given: Any = parser.parse_args(arguments)
    with running() as server:
        committed, results = race_on_postgres(server, given.seconds, given.seed)
    print(f"seed {given.seed}: {table_of(committed, results)}")
    return 0 if all(result.is_as_expected for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
