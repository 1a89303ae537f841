"""Ranges that fail: the others stop, nothing is left in the spool, and the error says which and why."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from partitioned import BREAKS, ONE_FILE, PARTS, TABLE, OneAfterTheOther, extracted
from postgres_server import Postgres
from publishers import files_in
from tcp_proxy import Proxies

from catalog.errors import Code, ExportError
from tasks import connect
from tasks.partitions import Submit


@pytest.mark.parametrize("file", [PARTS[0], PARTS[3], ONE_FILE[0]], ids=str)
def test_when_one_range_fails_the_others_stop_and_nothing_is_left(
    postgres: Postgres, spool: Path, threads: Submit, file: dict[str, Any]
) -> None:
    made = postgres.fresh_database(*TABLE, BREAKS)
    with pytest.raises(ExportError, match="partition 3 of 3: database crm: broken") as caught:
        extracted(postgres.url(made), threads, file={**file, "partitions": 3}, where="fine(id)")
    assert caught.value.code is Code.SQL_ERROR and list(spool.rglob("*")) == [spool / "t"]
    with postgres.connect() as server:
        active = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND state = 'active'"
        deadline = time.monotonic() + 30
        # A process of the server takes note of the end of its connection in its own time.
        while server.execute(active, [made]).fetchone() != (0,):
            assert time.monotonic() < deadline


@pytest.mark.parametrize("rows", [11_000, 40_000], ids=["joining", "reading"])
def test_a_full_spool_leaves_nothing_and_says_so(
    postgres: Postgres, spool: Path, small_disk: Path, threads: Submit, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    """Where the ranges fit and the file beside them does not, and where they do not fit themselves."""
    monkeypatch.setenv("EXPORTS_SPOOL", str(small_disk))
    made = f"SELECT i AS id, repeat(md5(i::text), 2) AS word FROM generate_series(1, {rows}) i"
    url = postgres.url(postgres.fresh_database(f"CREATE TABLE t AS {made}"))
    with pytest.raises(ExportError, match="MB free") as caught:
        extracted(url, threads, file={"name": "t.csv", "partitions": 2})
    assert caught.value.code is Code.SPOOL_FULL and files_in(small_disk) == {}
    assert ("partition" in caught.value.message) == (rows > 11_000)


def test_a_value_that_cannot_be_written_is_named_with_its_partition(
    postgres: Postgres, spool: Path, threads: Submit
) -> None:
    made = postgres.fresh_database(*TABLE, "UPDATE t SET moment = 'infinity' WHERE id = 20000")
    parquet = {**PARTS[3], "partitions": 2}
    with pytest.raises(ExportError, match=r"partition 2 of 2: row [0-9]+, column 'moment'") as caught:
        extracted(postgres.url(made), threads, file=parquet)
    assert caught.value.code is Code.VALUE_UNENCODABLE and files_in(spool) == {}


@pytest.mark.parametrize("file", [PARTS[0], PARTS[3]], ids=str)
def test_a_connection_that_is_cut_is_a_lost_source(
    postgres: Postgres, proxies: Proxies, spool: Path, threads: Submit, file: dict[str, Any]
) -> None:
    wide = "SELECT i AS id, repeat(md5(i::text), 4) AS word FROM generate_series(1, 400000) i"
    proxy = proxies(postgres.port)
    url = postgres.url(postgres.fresh_database(f"CREATE TABLE t AS {wide}"))

    # In the middle of the one that is read first.
    cut = OneAfterTheOther([2, 1], lambda: proxy.fail("reset", "to client", after=10_000_000))
    through = url.replace(f":{postgres.port}/", f":{proxy.port}/")
    with pytest.raises(ExportError) as caught:
        extracted(through, cut, file={**file, "partitions": 2})
    assert caught.value.code is Code.SOURCE_LOST and files_in(spool) == {}
    proxy.heal()
    assert extracted(through, threads, file={**file, "partitions": 2}).rows == 400_000


def test_a_snapshot_whose_holder_is_gone_is_a_lost_source(postgres: Postgres, spool: Path) -> None:
    made = postgres.fresh_database(*TABLE)
    held = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    )
    with postgres.connect(made) as server:
        kill = OneAfterTheOther([1, 2], lambda: server.execute(held, [made]))
        with pytest.raises(ExportError, match="has not the snapshot") as caught:
            extracted(postgres.url(made), kill, file={"name": "t.csv", "partitions": 2})
    assert caught.value.code is Code.SOURCE_LOST and files_in(spool) == {}


def test_who_wants_the_table_alone_is_not_waited_for_for_ever(
    postgres: Postgres, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for the first connection, whose ranges would wait for them."""
    monkeypatch.delitem(connect._RANGE_SETTINGS, "lock_timeout")
    monkeypatch.setitem(connect._RANGE_SETTINGS, "lock_timeout", "100ms")
    made = postgres.fresh_database(*TABLE)
    waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    with ThreadPoolExecutor(1) as pool, postgres.connect(made) as server, postgres.connect(made) as other:
        altered: list[Future[Any]] = []

        def alter() -> None:
            if not altered:
                altered.append(pool.submit(server.execute, "ALTER TABLE t ADD more text"))
            while other.execute(waits, [made]).fetchone() == (0,):
                assert not altered[0].done()

        with pytest.raises(ExportError) as caught:
            extracted(postgres.url(made), OneAfterTheOther([1, 2], alter), file={"name": "t.csv", "partitions": 2})
        altered[0].result()
    assert caught.value.code is Code.SOURCE_TIMEOUT and files_in(spool) == {}
