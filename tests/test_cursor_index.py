"""`exports check` warns when no index serves the cursor column."""

from __future__ import annotations

from pathlib import Path

import pytest
from mariadb_server import MariaDB
from postgres_server import Postgres
from sources import an_export, opened, sqlite_file
from workshop import Workshop

from tasks.source.indexes import lacks_cursor_index

EXPORT = an_export(cursor={"column": "at"})
TABLE = "CREATE TABLE t (id int PRIMARY KEY, at {kind})"
PARTITIONED = "CREATE TABLE t (id int, at timestamp) PARTITION BY RANGE (id)"
PARTS = (
    "CREATE TABLE t_1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
    "CREATE TABLE t_2 PARTITION OF t FOR VALUES FROM (9) TO (99)",
)


def lacks(url: str) -> bool:
    with opened(url) as source:
        return lacks_cursor_index(source, EXPORT)


@pytest.mark.parametrize(
    ("statements", "lacking"),
    [
        ([TABLE], True),
        ([TABLE, "CREATE INDEX i ON t (at)"], False),
        ([TABLE, "CREATE INDEX i ON t (at, id)"], False),
        ([TABLE, "CREATE INDEX i ON t (id, at)"], True),
        ([TABLE, "CREATE INDEX i ON t (at) WHERE id > 5"], True),
        (
            [
                TABLE,
                "CREATE INDEX i ON t (at)",
                "UPDATE pg_index SET indisvalid = false WHERE indrelid = 't'::regclass",
            ],
            True,
        ),
        ([TABLE, "CREATE INDEX i ON t (date_trunc('day', at))"], True),
        ([TABLE, "CREATE INDEX i ON t USING hash (at)"], True),
        ([TABLE, "CREATE INDEX i ON t USING brin (at)"], False),
        (["CREATE TABLE t (id int, at timestamp PRIMARY KEY)"], False),
        (["CREATE TABLE t (id int, at timestamp UNIQUE)"], False),
        ([PARTITIONED, *PARTS], True),
        ([PARTITIONED, *PARTS, "CREATE INDEX ON t (at)"], False),
        ([PARTITIONED, *PARTS, "CREATE INDEX ON t_1 (at)"], True),
        ([PARTITIONED, *PARTS, "CREATE INDEX ON t_1 (at)", "CREATE INDEX ON t_2 (at)"], False),
        (["CREATE VIEW t AS SELECT 1 AS id, localtimestamp AS at"], False),
        (["CREATE MATERIALIZED VIEW t AS SELECT 1 AS id, localtimestamp AS at"], True),
    ],
)
def test_postgres(postgres: Postgres, statements: list[str], lacking: bool) -> None:
    made = postgres.fresh_database(*(statement.format(kind="timestamp") for statement in statements))
    assert lacks(postgres.url(made)) is lacking


@pytest.mark.parametrize(
    ("statements", "lacking"),
    [
        ([TABLE], True),
        ([TABLE, "CREATE INDEX i ON t (at)"], False),
        ([TABLE, "CREATE UNIQUE INDEX i ON t (at, id)"], False),
        ([TABLE, "CREATE INDEX i ON t (id, at)"], True),
        ([TABLE, "CREATE INDEX i ON t (at) WHERE id > 5"], True),
        ([TABLE, "CREATE INDEX i ON t (date(at))"], True),
        (["CREATE TABLE t (id INTEGER, at TEXT PRIMARY KEY)"], False),
        (["CREATE TABLE t (id INTEGER, at INTEGER PRIMARY KEY)"], False),
        (["CREATE TABLE t (id INTEGER, at TEXT UNIQUE)"], False),
        (["CREATE VIEW t AS SELECT 1 AS id, '2026-01-01' AS at"], False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_sqlite(tmp_path: Path, statements: list[str], lacking: bool) -> None:
    script = ";".join(statement.format(kind="TEXT") for statement in statements)
    assert lacks(sqlite_file(tmp_path, script)) is lacking


@pytest.mark.parametrize(
    ("statements", "lacking"),
    [
        ([TABLE], True),
        ([TABLE, "CREATE INDEX i ON t (at)"], False),
        ([TABLE, "CREATE INDEX i ON t (id, at)"], True),
        (["CREATE TABLE t (id INT, at DATETIME UNIQUE)"], False),
        ([TABLE, "RENAME TABLE t TO u", "CREATE VIEW t AS SELECT * FROM u"], False),
    ],
)
def test_mariadb(mariadb: MariaDB, statements: list[str], lacking: bool) -> None:
    made = mariadb.fresh_database(*(statement.format(kind="DATETIME") for statement in statements))
    assert lacks(mariadb.url(made)) is lacking


def test_the_command_warns_and_goes_on(workshop: Workshop) -> None:
    workshop.sqlite()
    workshop.sqlite(script="DROP INDEX by_change")
    (warning,) = workshop.json("check", workshop.incremental())
    assert (warning["severity"], warning["code"], warning["key"]) == ("warning", "CURSOR_UNINDEXED", "cursor.column")
    assert "reads the whole table" in warning["message"] and "index on orders (updated_at)" in warning["hint"]
