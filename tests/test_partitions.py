"""Ranges of a table read at the same time: one snapshot, the same bytes each time, and all of them or nothing."""

from __future__ import annotations

import gzip
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
from partitioned import IDS, ONE_FILE, PARTS, TABLE, OneAfterTheOther, contents, extracted
from postgres_server import Postgres
from publishers import files_in

from catalog.errors import ExportError
from tasks.partitions import Submit


@pytest.fixture(scope="module")
def url(postgres: Postgres) -> str:
    return postgres.url(postgres.fresh_database(*TABLE))


@pytest.mark.parametrize("file", ONE_FILE, ids=str)
def test_one_file_is_the_one_that_a_single_stream_gives(
    url: str, spool: Path, threads: Submit, file: dict[str, Any]
) -> None:
    (single,) = contents(extracted(url, None, file=file))
    for partitions in (2, 5):
        found = extracted(url, threads, file={**file, "partitions": partitions})
        assert contents(found) == [single] and found.rows == len(IDS)
        assert list(found.files[0].path.parent.iterdir()) == [found.files[0].path]


@pytest.mark.parametrize("file", PARTS, ids=str)
def test_parts_are_the_same_bytes_in_whatever_order_they_end(url: str, spool: Path, file: dict[str, Any]) -> None:
    first, *others = (
        contents(extracted(url, OneAfterTheOther(order), file={**file, "partitions": 4}))
        for order in ([1, 2, 3, 4], [4, 3, 2, 1], [2, 4, 1, 3])
    )
    assert len(first) == 4 and others == [first, first]


def test_every_row_is_in_one_part_and_a_part_without_rows_is_a_file_too(url: str, spool: Path, threads: Submit) -> None:
    told: list[tuple[int, int]] = []
    found = extracted(url, threads, lambda *known: told.append(known), file={"name": "t_{part}.csv", "partitions": 20})
    assert [file.name for file in found.files] == [f"t_{part}.csv" for part in range(1, 21)]
    lines = [content.decode().splitlines() for content in contents(found)]
    assert [int(line.split(",")[0]) for part in lines for line in part[1:]] == IDS
    assert ["id,word,even,ratio,moment"] in lines and {part[0] for part in lines} == {"id,word,even,ratio,moment"}
    rows = [rows for rows, _ in told]
    assert rows == sorted(rows) and rows[-1] <= len(IDS)
    parquet = {"name": "t_{part}.parquet", "format": "parquet", "partitions": 20}
    tables = [pq.read_table(file.path) for file in extracted(url, threads, file=parquet).files]
    assert [number for table in tables for number in table.column("id").to_pylist()] == IDS


@pytest.mark.parametrize("name", ["t.csv", "t_{part}.csv"])
@pytest.mark.parametrize("empty", ["header", "skip", "zero_bytes"])
def test_a_table_without_rows_follows_file_empty(url: str, spool: Path, threads: Submit, name: str, empty: str) -> None:
    file = {"name": name, "empty": empty, "partitions": 3}
    found = extracted(url, threads, file=file, where="false", columns=["id", "even"])
    count = 3 if "{part" in name else 1
    assert contents(found) == {"header": [b"id,even\n"] * count, "skip": [], "zero_bytes": [b""] * count}[empty]
    with pytest.raises(ExportError, match="EMPTY_RESULT"):
        extracted(url, threads, file={**file, "empty": "fail"}, where="false")
    assert len(files_in(spool)) == len(found.files)


@pytest.mark.parametrize("file", [PARTS[0], PARTS[3], ONE_FILE[0]], ids=str)
def test_what_is_written_meanwhile_is_not_seen(postgres: Postgres, spool: Path, file: dict[str, Any]) -> None:
    made = postgres.fresh_database(*TABLE)
    before = contents(extracted(postgres.url(made), OneAfterTheOther([1, 2, 3]), file={**file, "partitions": 3}))
    with postgres.connect(made) as writer:

        def write() -> None:
            """Move every row to another place, take some away, and add others where there is room."""
            writer.execute("UPDATE t SET ratio = ratio + 1")
            writer.execute("DELETE FROM t WHERE id % 3 = 0")
            writer.execute("INSERT INTO t SELECT -i, 'new' FROM generate_series(1, 1000) i")
            writer.execute("VACUUM t")
            writer.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                writer.execute("VACUUM FULL t")

        found = extracted(postgres.url(made), OneAfterTheOther([2, 3, 1], write), file={**file, "partitions": 3})
        assert contents(found) == before
        after = contents(extracted(postgres.url(made), OneAfterTheOther([1, 2, 3]), file={**file, "partitions": 3}))
    assert after != before


def test_writers_that_never_rest_lose_and_double_nothing(postgres: Postgres, spool: Path, threads: Submit) -> None:
    """Each transaction takes a row away, adds another, and moves a hundred, which are the same in this."""
    made = postgres.fresh_database(
        "CREATE TABLE t AS SELECT i AS id, 0 AS turn, repeat('x', 100) AS pad FROM generate_series(1, 20000) i",
        "CREATE INDEX ON t (id)",
    )
    stopped: list[bool] = []
    writes: list[int] = []

    def write() -> None:
        with psycopg.connect(postgres.conninfo(made)) as connection:
            while not stopped:
                number = 1 + len(writes)
                connection.execute("UPDATE t SET turn = turn + 1 WHERE id BETWEEN 19000 AND 19100 OR id = 20000")
                connection.execute("DELETE FROM t WHERE id = %s", [number])
                connection.execute("INSERT INTO t VALUES (%s, 0, 'new')", [100_000 + number])
                connection.commit()
                writes.append(number)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        for _ in range(6):
            seen = len(writes)
            (content,) = contents(extracted(postgres.url(made), threads, file={"name": "t.csv", "partitions": 4}))
            rows = [line.split(",") for line in content.decode().splitlines()[1:]]
            assert len({row[0] for row in rows}) == len(rows) == 20_000
            moved = [row[1] for row in rows if 19_000 <= int(row[0]) <= 19_100 or row[0] == "20000"]
            assert len(moved) == 102 and len(set(moved)) == 1, "half of a transaction"
            assert not writing.done() and len(writes) > seen
        stopped.append(True)
        writing.result()


def test_the_plan_of_the_day_does_not_show_in_the_file(postgres: Postgres, spool: Path, threads: Submit) -> None:
    """By an index the rows would come in another order, and from several processes of the server in any."""
    made = postgres.fresh_database(
        "CREATE TABLE t AS SELECT -i AS id, repeat('x', 200) AS pad FROM generate_series(1, 50000) i", "ANALYZE t"
    )
    export: dict[str, Any] = {"file": {"name": "t.csv", "partitions": 4}, "where": "id < -49000"}
    before = contents(extracted(postgres.url(made), threads, **export))
    with postgres.connect(made) as server:
        server.execute("CREATE INDEX ON t (id)")
        server.execute("ANALYZE t")
        for setting in ("parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0"):
            server.execute(f"ALTER DATABASE {made} SET {setting}")
    assert contents(extracted(postgres.url(made), threads, **export)) == before


@pytest.mark.parametrize("kind", ["partitioned", "materialized view"])
def test_what_has_blocks_of_its_own_can_be_read_so(postgres: Postgres, spool: Path, threads: Submit, kind: str) -> None:
    rows = "SELECT i AS id, md5(i::text) AS word FROM generate_series(1, 9000) i"
    statements = {
        "partitioned": (
            "CREATE TABLE t (id integer, word text) PARTITION BY RANGE (id)",
            "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (1000)",
            "CREATE TABLE high PARTITION OF t FOR VALUES FROM (1000) TO (10000)",
            f"INSERT INTO t {rows}",
        ),
        "materialized view": (f"CREATE MATERIALIZED VIEW t AS {rows}",),
    }
    url = postgres.url(postgres.fresh_database(*statements[kind]))
    file = {"name": "t.csv.gz", "compression": "gzip", "partitions": 3}
    (content,) = contents(extracted(url, threads, file=file))
    ids = [int(line.split(b",")[0]) for line in gzip.decompress(content).splitlines()[1:]]
    assert sorted(ids) == list(range(1, 9001))
    assert contents(extracted(url, threads, file=file)) == [content]


def test_a_partition_that_is_attached_meanwhile_is_in_no_range(postgres: Postgres, spool: Path) -> None:
    made = postgres.fresh_database(
        "CREATE TABLE t (id integer) PARTITION BY RANGE (id)",
        "CREATE TABLE low PARTITION OF t FOR VALUES FROM (0) TO (10000)",
        "INSERT INTO t SELECT generate_series(0, 9999)",
        "CREATE TABLE high AS SELECT generate_series(10000, 19999) AS id",
    )
    attached: list[str] = []

    def attach() -> None:
        if not attached:
            attached.append("ALTER TABLE t ATTACH PARTITION high FOR VALUES FROM (10000) TO (20000)")
            with postgres.connect(made) as server:
                server.execute(attached[0])

    file = {"name": "t_{part}.csv", "partitions": 2}
    assert extracted(postgres.url(made), OneAfterTheOther([1, 2], attach), file=file).rows == 10_000
    assert extracted(postgres.url(made), OneAfterTheOther([1, 2]), file=file).rows == 20_000
