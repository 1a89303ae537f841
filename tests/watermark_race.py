"""The watermark race: writers at work, and several ways to cut windows reading beside them. Who loses a row?

    python tests/watermark_race.py --seconds 300 --seed 7

prints one table (of MariaDB too where Debian's package is installed), and exits 1 when one of ours loses, doubles or
invents a row, or when a naive one loses none: then the race is too tame to show anything. The truth is the writers' own
log of what they committed.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import mariadb_server
import postgres_server
import psycopg
import pymysql
from mariadb_server import MariaDB
from postgres_server import Postgres
from race_strategies import Fetch, Strategy, lag_strategies, naive_strategies, postgres_strategies
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


@dataclass(frozen=True)
class Outcome:
    """How one race ended: how many rows were committed, and who read what of them."""

    database: str
    committed: int
    results: Sequence[Result]

    @property
    def is_as_expected(self) -> bool:
        return all(result.is_as_expected for result in self.results)


def race(
    database: str, ground: Ground, strategies: Sequence[Strategy], fetch: Fetch, seconds: float, seed: int
) -> Outcome:
    """Let writers and strategies run for so many seconds.

    The table at the end resolves commits whose answer was lost, and must agree with the writers' log.
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
    there = {row_id for (row_id,) in fetch("SELECT id FROM events", [])}
    certain, maybe = writers.log.committed, writers.log.maybe
    assert certain <= there <= certain | maybe, "the table and the writers' log differ: the race itself is broken"
    for strategy, result in zip(strategies, results, strict=True):
        result.delivered.update(strategy.finish())
        result.cuts += 1
        result.hold_against(there)
    return Outcome(database, len(there), results)


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
_MARIADB_TABLE = (
    "CREATE TABLE events (id BIGINT AUTO_INCREMENT PRIMARY KEY, ts DATETIME(6) NOT NULL)",
    "CREATE INDEX by_ts ON events (ts)",
)


def race_on_postgres(server: Postgres, folder: Path, seconds: float, seed: int) -> Outcome:
    """The race on PostgreSQL, with prepared transactions and a writer in another database; `folder` keeps ledgers."""
    here, other = server.fresh_database(*_POSTGRES_TABLE), server.fresh_database(*_POSTGRES_TABLE)

    def fetch(sql: str, parameters: Sequence[Any]) -> Sequence[Any]:
        with server.connect(here) as connection:
            return connection.execute(sql, parameters).fetchall()

    ground = Ground(
        connect=lambda: server.connect(here),
        stamps=("now()", "clock_timestamp()"),
        prepares=True,
        elsewhere=lambda: server.connect(other),
        own_id="SELECT pg_backend_pid()",
        kill="SELECT pg_terminate_backend(%s)",
        is_cut_off=(psycopg.OperationalError,),
    )
    first = datetime(2000, 1, 1, tzinfo=UTC)
    url = server.url(here)
    strategies = [*postgres_strategies(url, fetch), *lag_strategies(url, folder), *naive_strategies(fetch, first)]
    return race("PostgreSQL", ground, strategies, fetch, seconds, seed)


def race_on_mariadb(server: MariaDB, folder: Path, seconds: float, seed: int) -> Outcome:
    """The race on MariaDB, where only mode `lag` can be used; `folder` keeps ledgers."""
    here = server.fresh_database(*_MARIADB_TABLE)

    def fetch(sql: str, parameters: Sequence[Any]) -> Sequence[Any]:
        with server.connect(here) as connection, connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            return cursor.fetchall()

    ground = Ground(
        connect=lambda: server.connect(here),
        stamps=("NOW(6)", "SYSDATE(6)"),
        prepares=False,
        elsewhere=None,
        own_id="SELECT connection_id()",
        kill="KILL %s",
        is_cut_off=(pymysql.err.OperationalError, pymysql.err.InterfaceError),
    )
    strategies = [*lag_strategies(server.url(here), folder), *naive_strategies(fetch, datetime(2000, 1, 1))]
    return race("MariaDB", ground, strategies, fetch, seconds, seed)


def table_of(outcomes: Sequence[Outcome]) -> str:
    """The outcomes as one Markdown table."""
    heads = ["database", "committed", "strategy", "cuts", "rows", "lost", "doubled", "phantom", "verdict"]
    lines = [heads, ["---"] * len(heads)]
    for outcome in outcomes:
        for found in outcome.results:
            verdict = "FAILED" if not found.is_as_expected else "sound" if found.sound else "loses, as it must"
            counts = [found.cuts, found.rows, found.lost, found.doubled, found.phantom]
            lines.append([outcome.database, str(outcome.committed), found.strategy, *map(str, counts), verdict])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the race as a command; returns its exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="how long, on each of the databases")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["EXPORTS_SPOOL"] = str(folder / "spool")
        with postgres_server.running() as postgres:
            outcomes = [race_on_postgres(postgres, folder, given.seconds, given.seed)]
        if mariadb_server.SERVER.exists():
            (folder / "mariadb").mkdir()
            os.environ["EXPORTS_SPOOL"] = str(folder / "mariadb" / "spool")
            with mariadb_server.running() as mariadb:
                outcomes.append(race_on_mariadb(mariadb, folder / "mariadb", given.seconds, given.seed))
    print(f"seed {given.seed}\n\n{table_of(outcomes)}")
    return 0 if all(outcome.is_as_expected for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
