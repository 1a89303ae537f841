"""Reading a table in partitions, as a test wants it: the table, who begins the ranges, and what came of it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sources import NO_SECRETS, an_export

from catalog.connections import Database
from catalog.windows import Bounds, Window
from tasks.extract import Extraction, extract
from tasks.partitions import Partitions, Submit

ROWS = 20_000
#: Texts that need quotes, NULLs and a stretch without rows.
TABLE = (
    """CREATE TABLE t AS SELECT i AS id,
       CASE WHEN i % 7 > 0 THEN repeat('Łódź, "é" ', i % 9) || md5(i::text) END AS word, i % 2 = 0 AS even,
       i * 0.1::float8 AS ratio, timestamptz '2026-01-01' + i * interval '1 second' AS moment
       FROM generate_series(1, 20000) i""",
    "DELETE FROM t WHERE id BETWEEN 4000 AND 11000",
    # The server makes a table longer by many blocks at once, and its own VACUUM takes them away again at any moment.
    "VACUUM t",
)
IDS = [*range(1, 4000), *range(11_001, ROWS + 1)]
ONE_FILE: list[dict[str, Any]] = [
    {"name": "t.csv"},
    {"name": "t.csv", "csv": {"header": False, "quote": "all"}},
    {"name": "t.csv", "csv": {"encoding": "utf-8-sig", "delimiter": ";"}},
    {"name": "t.csv", "csv": {"encoding": "utf-16", "line_end": "\r\n"}},
    {"name": "t.jsonl", "format": "jsonl"},
    {"name": "t.csv.gz", "compression": "gzip"},
    {"name": "t.csv.zip", "compression": "zip"},
    {"name": "t.jsonl.zst", "format": "jsonl", "compression": "zstd"},
]
PARTS: list[dict[str, Any]] = [
    {"name": "t_{part}.csv"},
    {"name": "t_{part}.csv", "csv": {"quote": "all", "line_end": "\r\n"}},
    {"name": "t_{part}.csv.gz", "compression": "gzip"},
    {"name": "t_{part}.parquet", "format": "parquet"},
]
BREAKS = """CREATE FUNCTION fine(id integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF id = 1 THEN PERFORM pg_sleep(1000); END IF;
    IF id = 20000 THEN RAISE EXCEPTION 'broken'; END IF;
    RETURN true; END $$"""


@pytest.fixture
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool"))
    monkeypatch.setattr("tasks.parts.PROGRESS_SECONDS", 0.01)
    monkeypatch.setattr("tasks.partitions.PROGRESS_SECONDS", 0.01)
    return tmp_path / "spool"


@pytest.fixture
def threads() -> Iterator[Submit]:
    with ThreadPoolExecutor(8) as pool:
        yield lambda partitions, number: pool.submit(partitions.read, number)


class OneAfterTheOther:
    """Reads the ranges in a given order, each to its end, with something done before each."""

    def __init__(self, order: Sequence[int], before: Callable[[], object] = int) -> None:
        self._order, self._before = order, before
        self._waiting: dict[int, Future[Any]] = {}

    def __call__(self, partitions: Partitions, number: int) -> Future[Any]:
        future: Future[Any] = Future()
        self._waiting[number] = future
        if len(self._waiting) == partitions.count:
            for chosen in self._order:
                try:
                    self._before()
                    self._waiting[chosen].set_result(partitions.read(chosen))
                except Exception as error:
                    self._waiting[chosen].set_exception(error)
        return future


def extracted(url: str, submit: Submit | None, on_progress: Any = lambda *_: None, **keys: Any) -> Extraction:
    export = an_export(**keys)
    window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", export.file.name)
    return extract(export, window, NO_SECRETS, on_progress, lambda _: Database(url=url), submit=submit)


def contents(found: Extraction) -> list[bytes]:
    """The bytes of every part, which are what was recorded of them."""
    read = [file.path.read_bytes() for file in found.files]
    for content, file in zip(read, found.files, strict=True):
        assert (file.bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert sum(file.rows for file in found.files) == found.rows
    return read
