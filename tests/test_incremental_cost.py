"""What an incremental run costs follows its new rows: PostgreSQL's own counters say how it read the table."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from postgres_server import Postgres
from sources import NO_SECRETS, an_export, between
from sqlalchemy import Engine, event

from catalog.connections import Database
from catalog.windows import Bounds, Window, instant
from tasks.extract import extract
from tasks.ledger.memory import Earlier, Memory

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ROWS = 50_000
LOW, HIGH = BEGIN + timedelta(seconds=40_000), BEGIN + timedelta(seconds=40_100)

#: A row each second; the number of its transaction is that of its second.
FILLED = (
    ("INSERT INTO t SELECT n, to_timestamp({begin} + n){at}, n::text::xid8, 'x' FROM generate_series(0, {rows} - 1) n")
    .replace("{begin}", str(int(BEGIN.timestamp())))
    .replace("{rows}", str(ROWS))
)
INDEXES = ("CREATE INDEX by_at ON t (at)", "CREATE INDEX by_changed ON t (changed)", "ANALYZE t")


def made(postgres: Postgres, kind: str = "timestamptz", table: str = "", indexes: tuple[str, ...] = INDEXES) -> str:
    """A database whose table `t` has a column `at` of that type and one `changed` of type xid8; returns its name."""
    created = table or f"CREATE TABLE t (id integer, at {kind}, changed xid8, filler text)"
    return postgres.fresh_database(
        "CREATE DOMAIN stamp AS timestamptz(3)", created, FILLED.replace("{at}", f"::{kind}"), *indexes
    )


def scans(connection: psycopg.Connection) -> tuple[int, int]:
    """How often `t`, with its partitions, was read from its beginning, and how often through an index."""
    # A backend has told its counts when it is gone.
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    while connection.execute(others + " AND backend_type = 'client backend'").fetchone() != (0,):
        time.sleep(0.01)
    connection.execute("SELECT pg_stat_clear_snapshot()")
    found = connection.execute(
        "SELECT sum(seq_scan), sum(idx_scan) FROM pg_stat_user_tables WHERE relid IN "
        "(SELECT relid FROM pg_partition_tree('t') UNION SELECT 't'::regclass)"
    ).fetchone()
    assert found is not None
    return int(found[0] or 0), int(found[1] or 0)


def read(
    postgres: Postgres, database: str, bounds: Bounds, memory: Memory | None = None, **keys: Any
) -> tuple[int, int, int]:
    """(rows, scans of the whole table, scans of an index) of one extraction."""
    with postgres.connect(database) as connection:
        before = scans(connection)
        window = Window("w", "t", 0, "scheduled", bounds, HIGH, "hash", "run", "", "t")
        load = Database(url=postgres.url(database))
        result = extract(an_export(**keys), window, NO_SECRETS, load=lambda _: load, memory=memory)
        after = scans(connection)
    return result.rows, after[0] - before[0], after[1] - before[1]


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool"))


#: By COPY, and by Arrow batches; with late rows, row by row.
FILES: dict[str, dict[str, Any]] = {
    "copy": {"name": "t.csv"},
    "batches": {"name": "t.parquet", "format": "parquet"},
}
PARTITIONED = (
    "CREATE TABLE t (id integer, at timestamptz, changed xid8, filler text) PARTITION BY RANGE (id);"
    f"CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO ({ROWS // 2});"
    f"CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM ({ROWS // 2}) TO ({ROWS})"
)


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize("mode", ["guarded", "lag"])
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "timestamptz(0)", "stamp", "partitioned"])
def test_a_window_of_a_time_column_is_read_through_its_index(
    postgres: Postgres, file: dict[str, Any], mode: str, kind: str
) -> None:
    database = made(postgres, "timestamptz", PARTITIONED) if kind == "partitioned" else made(postgres, kind)
    cursor = {"column": "at", "mode": mode, **({"lookback": "0s"} if mode == "lag" else {})}
    rows, whole, indexed = read(postgres, database, between(LOW, HIGH), cursor=cursor, file=file)
    assert (rows, whole) == (100, 0) and indexed


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_window_of_an_xid8_column_is_read_through_its_index(postgres: Postgres, file: dict[str, Any]) -> None:
    database = made(postgres)
    with postgres.connect(database) as connection:
        (last,) = connection.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int").fetchone() or (0,)
    high = min(last, ROWS)
    cursor = {"mode": "xid", "column": "changed"}
    rows, whole, indexed = read(postgres, database, Bounds(str(high - 100), str(high)), cursor=cursor, file=file)
    assert (rows, whole) == (100, 0) and indexed


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@pytest.mark.parametrize("delivered", [True, False], ids=["none is late", "late rows"])
def test_a_lookback_and_its_audit_are_read_through_the_index(
    postgres: Postgres, file: dict[str, Any], delivered: bool
) -> None:
    cursor = {"column": "at", "lookback": "1m", "key": ["id"]}
    database = made(postgres)
    export = an_export(cursor=cursor, file=file)
    window = Window("w", "t", 0, "scheduled", between(LOW - timedelta(minutes=1), LOW), LOW, "hash", "run", "", "t")
    nothing = Memory("salt", None, None, frozenset(), frozenset(), (), False)
    load = Database(url=postgres.url(database))
    first = extract(export, window, NO_SECRETS, load=lambda _: load, memory=nothing)
    by, known_from = first.findings.keyed_by, first.findings.keyed_from
    low = LOW - timedelta(hours=1)
    earlier = (
        Earlier("b", instant(LOW - timedelta(minutes=1)), instant(LOW), 60, by, True),
        Earlier("a", instant(low), instant(LOW - timedelta(minutes=1)), 3_540, by, False),
    )
    keys = frozenset(first.findings.keys) if delivered else frozenset()
    memory = Memory("salt", known_from, by, keys, frozenset(), earlier, True)
    rows, whole, indexed = read(postgres, database, between(LOW, HIGH), memory, cursor=cursor, file=file)
    assert (rows, whole) == (100 if delivered else 160, 0) and indexed


@pytest.mark.parametrize(
    ("declared", "whole"),
    [("NOT NULL", 1), ("", 2)],
    ids=["kept out by the table", "searched for"],
)
def test_nulls_are_searched_for_only_where_there_may_be_some(postgres: Postgres, declared: str, whole: int) -> None:
    table = f"CREATE TABLE t (id integer, at timestamptz {declared}, changed xid8, filler text)"
    database = made(postgres, table=table, indexes=("ANALYZE t",))
    with postgres.connect(database) as connection:
        connection.execute(f"ALTER DATABASE {database} SET max_parallel_workers_per_gather = 0")
    cursor = {"column": "at", "mode": "guarded"}
    assert read(postgres, database, between(LOW, HIGH), cursor=cursor, file=FILES["copy"]) == (100, whole, 0)


@pytest.mark.parametrize("subject", [{"table": "t"}, {"query": "SELECT * FROM t"}], ids=["table", "query"])
def test_the_columns_are_asked_for_once(postgres: Postgres, subject: dict[str, Any]) -> None:
    asked: list[str] = []

    def listen(*call: Any) -> None:
        asked.append(call[2])

    event.listen(Engine, "before_cursor_execute", listen)
    try:
        memory = Memory("salt", None, None, frozenset(), frozenset(), (), False)
        cursor = {"column": "at", "key": ["id"]}
        read(postgres, made(postgres), between(LOW, HIGH), memory, cursor=cursor, file=FILES["copy"], **subject)
    finally:
        event.remove(Engine, "before_cursor_execute", listen)
    assert sum("pg_get_expr" in statement or "1 = 0" in statement for statement in asked) == 1, asked


def test_without_an_index_the_counters_tell(postgres: Postgres) -> None:
    cursor = {"column": "at", "mode": "guarded"}
    rows, whole, _ = read(postgres, made(postgres, indexes=()), between(LOW, HIGH), cursor=cursor, file=FILES["copy"])
    assert rows == 100 and whole
