"""Parts by size: as many whole rows as fit, in the same places however the rows come."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime
from typing import Any

import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: 9,000 rows of 2 to about 120 bytes, and one that is larger than a part.
ROWS = """CREATE TABLE orders (id INTEGER, word TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 9000)
INSERT INTO orders SELECT i, CASE WHEN i = 5000 THEN printf('%.*c', 30000, 'é')
  ELSE substr('Łódź, "é" and more of it, so that rows differ in length', 1, i % 40) END FROM n;"""
MOST = 20_000
KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "csv": ({"name": "o_{part:03d}.csv"}, "utf-8"),
    "no header": ({"name": "o_{part:03d}.csv", "csv": {"header": False}}, "utf-8"),
    "utf-16": ({"name": "o_{part:03d}.csv", "csv": {"encoding": "utf-16"}}, "utf-16"),
    "gzip": ({"name": "o_{part:03d}.csv.gz", "compression": "gzip"}, "utf-8"),
    "jsonl": ({"name": "o_{part:03d}.jsonl", "format": "jsonl"}, "utf-8"),
}


def parts_of(workshop: Workshop, export_id: str, file: dict[str, Any]) -> list[bytes]:
    run_plainly(workshop, export_id, NOON)
    found = [content for _, content in sorted(workshop.files().items())]
    for path in workshop.drop.iterdir():
        path.unlink()
    return [gzip.decompress(part) for part in found] if file.get("compression") else found


def expected(whole: bytes, encoding: str, header: bool) -> list[bytes]:
    """The file cut by hand: row after row into the part, until the next one has no room."""
    lines = whole.decode(encoding).splitlines(keepends=True)
    head = lines.pop(0) if header else ""
    parts: list[str] = []
    for line in lines:
        if parts and parts[-1] and len((parts[-1] + line).encode(encoding)) <= MOST:
            parts[-1] += line
        else:
            parts.append(head + line)
    return [part.encode(encoding) for part in parts]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", ["table", "query"])
def test_a_part_holds_as_many_whole_rows_as_fit(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch, kind: str, source: str
) -> None:
    """A table is read in bulk and a query by rows: their batches end elsewhere."""
    workshop.sqlite(script=ROWS)
    monkeypatch.setattr("tasks.source.read._BATCH", 997)
    file, encoding = KINDS[kind]
    read = {"table": {}, "query": {"table": None, "query": "SELECT id, word FROM orders"}}[source]
    one = {**file, "name": file["name"].replace("_{part:03d}", "")}
    (whole,) = parts_of(workshop, workshop.export(workshop.id("one"), file=one, **read), file)
    limited = workshop.export(file={**file, "max_bytes": "20 KB"}, **read)
    found = parts_of(workshop, limited, file)
    header = file.get("format") != "jsonl" and file.get("csv", {}).get("header", True)
    assert found == expected(whole, encoding, header)
    assert len(found) > 5 and sum(len(part) > MOST for part in found) == 1, "the row that is larger has its own"


def test_postgresql_is_split_too(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one file would be written by the server itself."""
    database = postgres.fresh_database(
        "CREATE TABLE orders AS SELECT i AS id, repeat('é', i % 40) AS word FROM generate_series(1, 9000) i"
    )
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    (whole,) = parts_of(workshop, workshop.export(workshop.id("one"), file={"name": "o.csv"}), {})
    limited = workshop.export(file={"name": "o_{part:03d}.csv", "max_bytes": "20 KB"})
    assert parts_of(workshop, limited, {}) == expected(whole, "utf-8", header=True)


def test_the_limits_on_rows_and_bytes_hold_together(workshop: Workshop) -> None:
    workshop.sqlite(script=ROWS)
    file = {"name": "o_{part:03d}.csv", "max_bytes": MOST, "max_rows": 620}
    ran = run_plainly(workshop, workshop.export(where="id <> 5000", file=file), NOON)
    rows = [delivered.rows for delivered in workshop.ledger.delivered_by_run(ran.run_id)]
    sizes = [len(content) for content in workshop.files().values()]
    assert sum(rows) == 8999 and max(rows) == 620 and max(sizes) <= MOST
    assert any(count < 620 for count in rows[:-1]), "some parts end by their size"


def test_no_rows_are_one_part(workshop: Workshop) -> None:
    workshop.sqlite(script=ROWS)
    run_plainly(workshop, workshop.export(where="id < 0", file={"name": "o_{part}.csv", "max_bytes": 10}), NOON)
    assert workshop.files() == {"o_1.csv": b"id,word\n"}
