"""A ledger that the first version wrote is upgraded in place: nothing is forgotten, nothing is sent again."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from ledgers import a_run
from plain_run import run_plainly
from sqlalchemy import inspect, text
from workshop import Workshop

from catalog.errors import ExportError
from catalog.windows import State, instant
from tasks.ledger import Ledger, tables
from tasks.ledger.connection import open_engine

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
#: As version 1 made its tables; what stands in it was written by hand.
FIRST_VERSION = """
CREATE TABLE definition (hash VARCHAR(64) PRIMARY KEY, export VARCHAR(100) NOT NULL, json TEXT NOT NULL,
  registered_at VARCHAR(32) NOT NULL);
CREATE TABLE "window" (id VARCHAR(32) PRIMARY KEY, export VARCHAR(100) NOT NULL, generation INTEGER NOT NULL,
  kind VARCHAR(16) NOT NULL, low TEXT, high TEXT, since VARCHAR(32), until VARCHAR(32),
  logical_time VARCHAR(32) NOT NULL, definition VARCHAR(64) NOT NULL REFERENCES definition (hash),
  run_id VARCHAR(36) NOT NULL UNIQUE, target VARCHAR(100) NOT NULL, folder TEXT NOT NULL, file_name TEXT NOT NULL,
  allotted_at VARCHAR(32) NOT NULL);
CREATE INDEX window_of_export ON "window" (export, logical_time);
CREATE TABLE extraction ("window" VARCHAR(32) NOT NULL REFERENCES "window" (id), part INTEGER NOT NULL,
  name TEXT NOT NULL, spool_path TEXT NOT NULL, rows BIGINT NOT NULL, bytes BIGINT NOT NULL,
  sha256 VARCHAR(64) NOT NULL, extracted_at VARCHAR(32) NOT NULL, PRIMARY KEY ("window", part));
CREATE TABLE delivery ("window" VARCHAR(32) NOT NULL REFERENCES "window" (id), target VARCHAR(100) NOT NULL,
  part INTEGER NOT NULL, state VARCHAR(16) NOT NULL, temp_name TEXT, path TEXT, target_identity TEXT,
  committed_by VARCHAR(36), updated_at VARCHAR(32) NOT NULL, PRIMARY KEY ("window", target, part));
CREATE INDEX delivery_committed_by ON delivery (committed_by);
CREATE INDEX delivery_state ON delivery (state);
CREATE TABLE schema_version (version INTEGER PRIMARY KEY);
INSERT INTO schema_version VALUES (1);
INSERT INTO definition VALUES (:hash, :export, :json, :noon);
INSERT INTO "window" VALUES ('w1', :export, 1, 'scheduled', NULL, :noon, NULL, :noon, :noon, :hash, :run1, 'drop', '',
  'orders_1.csv', :noon);
INSERT INTO extraction VALUES ('w1', 1, 'orders_1.csv', '/nowhere', 2, 9, 'abc', :noon);
INSERT INTO delivery VALUES ('w1', 'drop', 1, 'COMMITTED', '.t', '/drop/orders_1.csv', 'file:///drop', :run1, :noon);
INSERT INTO "window" VALUES ('w2', :export, 1, 'scheduled', :noon, :later, :noon, :later, :later, :hash, :run2, 'drop',
  '', 'orders_2.csv', :later);
INSERT INTO delivery VALUES ('w2', 'drop', 1, 'PLANNED', NULL, NULL, NULL, NULL, :later);
"""
ROWS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at DATETIME NOT NULL);
INSERT INTO orders VALUES (1, '2026-03-01 08:00'), (2, '2026-03-01 11:55'), (3, '2026-03-01 12:30'),
  (4, '2026-03-01 13:30');
"""


@pytest.fixture
def old(workshop: Workshop, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An export whose ledger is of version 1: one window was delivered, the next is outstanding."""
    monkeypatch.setenv("EXPORTS_LEDGER", ledger_url)
    workshop.ledger = Ledger(ledger_url)
    workshop.sqlite(script=ROWS)
    export_id = workshop.incremental(columns=["id"], file={"name": "orders_{date:%H}.csv"})
    export = workshop.load(export_id)
    values = {
        "hash": export.hash,
        "export": export_id,
        "noon": instant(NOON),
        "later": instant(NOON + timedelta(hours=1)),
        "run1": a_run(),
        "run2": a_run(),
        "json": json.dumps(export.frozen()),
    }
    (workshop.folder / "state").mkdir(exist_ok=True)
    # By the driver itself: values stand in the script, and it has no parameters.
    with open_engine(ledger_url).begin() as connection, closing(connection.connection.cursor()) as cursor:
        for statement in FIRST_VERSION.split(";\n")[:-1]:
            for name, value in values.items():
                statement = statement.replace(f":{name}", f"'{value}'")
            cursor.execute(statement)
    return export_id


def test_windows_and_watermark_are_kept(workshop: Workshop, old: str) -> None:
    entries = workshop.json("ledger", old)
    assert [(entry["window"], entry["state"]) for entry in entries] == [("w2", "PLANNED"), ("w1", "COMMITTED")]
    assert entries[1]["files"][0]["path"] == "/drop/orders_1.csv" and entries[1]["files"][0]["rows"] == 2
    newest = workshop.ledger.newest(old)
    assert newest is not None and newest.bounds.high == instant(NOON + timedelta(hours=1))


def test_the_next_run_delivers_what_is_outstanding_and_nothing_twice(workshop: Workshop, old: str) -> None:
    ran = run_plainly(workshop, old, NOON + timedelta(hours=2))
    assert {name: content.decode() for name, content in workshop.files().items()} == {
        "orders_2.csv": "id\n3\n",
        "orders_14.csv": "id\n4\n",
    }
    assert [file.name for file in workshop.ledger.delivered_by_run(ran.run_id)] == ["orders_2.csv", "orders_14.csv"]
    assert {window.state for window in workshop.ledger.windows(old)} == {State.COMMITTED}


def test_the_tables_are_those_of_a_new_ledger(workshop: Workshop, old: str) -> None:
    workshop.json("ledger", old)
    standing = inspect(workshop.ledger.engine)
    assert set(standing.get_table_names()) == set(tables.METADATA.tables)
    for name, table in tables.METADATA.tables.items():
        assert {column["name"] for column in standing.get_columns(name)} == set(table.columns.keys())


def test_a_file_from_before_version_6_is_no_measure_of_columns(
    workshop: Workshop, ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORTS_LEDGER", ledger_url)
    workshop.ledger = Ledger(ledger_url)
    workshop.sqlite(script=ROWS)
    export_id = workshop.export(file={"name": "orders_{date:%H}.csv"}, on_schema_change="fail")
    run_plainly(workshop, export_id, NOON)
    with workshop.ledger.engine.begin() as connection:
        for name in ("future", "latest", "columns", "columns_changed", "columns_accepted_at"):
            connection.execute(text(f'ALTER TABLE "window" DROP COLUMN {name}'))
        connection.execute(text("UPDATE schema_version SET version = 5"))
    workshop.ledger = Ledger(ledger_url)
    workshop.sqlite(script="ALTER TABLE orders ADD COLUMN first TEXT")
    assert run_plainly(workshop, export_id, NOON + timedelta(hours=1)).told.warnings == []
    workshop.sqlite(script="ALTER TABLE orders ADD COLUMN second TEXT")
    with pytest.raises(ExportError, match=r"SCHEMA_CHANGED: .* orders_13\.csv of 2026-03-01 13:00 UTC: added second"):
        run_plainly(workshop, export_id, NOON + timedelta(hours=2))
