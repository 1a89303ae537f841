"""The table that everything is measured on: 12 columns, about 1 GB as csv at five million rows, in each database."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pymysql
from mariadb_server import MariaDB
from postgres_server import Postgres

COLUMNS = ["id", "uid", "note", "updated_at", "amount", "ratio", "active", "code", "day", "payload", "qty", "city"]
_MADE = """
SELECT i AS id, md5(i::text || 'u')::uuid AS uid,
       (ARRAY['plain words', 'with, a comma', 'say "yes" or no', 'Łódź é'])[1 + i % 4] || ' ' || md5(i::text) AS note,
       timestamptz '2020-01-01' + i * interval '17.123457 seconds' AS updated_at,
       (i * 37 % 100000000)::numeric(12, 2) / 100 AS amount, (i * 0.123456789)::float8 AS ratio, i % 3 = 0 AS active,
       CASE WHEN i % 5 = 0 THEN NULL ELSE 'c' || i % 1000 END AS code, date '2000-01-01' + (i % 9000)::int AS day,
       jsonb_build_object('k', i % 100, 'tags', ARRAY['a', 'b,c']) AS payload, (i % 32000)::int AS qty,
       'city ' || i % 500 AS city
FROM generate_series({first}::bigint, {last}::bigint) AS i
"""
#: What every database can take in: times without a zone in UTC, true and false as 1 and 0.
_PLAIN = """
SELECT id, uid::text, note, (updated_at AT TIME ZONE 'UTC')::text, amount, ratio, active::int, code, day, payload::text,
       qty, city
FROM {table} ORDER BY id
"""
_TABLE = {
    "sqlite": """CREATE TABLE {table} (id INTEGER PRIMARY KEY, uid TEXT, note TEXT, updated_at TIMESTAMP,
        amount NUMERIC(12, 2), ratio REAL, active BOOLEAN, code TEXT, day DATE, payload TEXT, qty INTEGER,
        city VARCHAR(80))""",
    "mariadb": """CREATE TABLE {table} (id BIGINT PRIMARY KEY, uid UUID, note TEXT, updated_at DATETIME(6),
        amount DECIMAL(12, 2), ratio DOUBLE, active BOOLEAN, code TEXT, day DATE, payload JSON, qty INTEGER,
        city VARCHAR(80)) CHARACTER SET utf8mb4""",
    "duckdb": """CREATE TABLE {table} (id BIGINT PRIMARY KEY, uid UUID, note VARCHAR, updated_at TIMESTAMP,
        amount DECIMAL(12, 2), ratio DOUBLE, active BOOLEAN, code VARCHAR, day DATE, payload JSON, qty INTEGER,
        city VARCHAR)""",
}


def name_of(rows: int) -> str:
    """The table's name at that size."""
    return f"t_{rows}"


def made(first: int, last: int) -> str:
    """The SELECT that makes the rows of these numbers, both included."""
    return _MADE.format(first=first, last=last)


def fill_postgres(server: Postgres, rows: int) -> None:
    """Make the table there."""
    table = name_of(rows)
    with server.connect() as connection:
        connection.execute(f"CREATE TABLE {table} AS {made(1, rows)}")
        # The declared type is that of the issue; a CREATE TABLE AS forgets the precision.
        connection.execute(f"ALTER TABLE {table} ALTER amount TYPE numeric(12, 2), ADD PRIMARY KEY (id)")
        connection.execute(f"VACUUM (FREEZE, ANALYZE) {table}")


def fill_sqlite(server: Postgres, rows: int, path: Path) -> None:
    """Copy the table into a SQLite file, unless one of an earlier sitting stands there."""
    if path.exists():
        return
    unfinished, table = path.with_suffix(".tmp"), name_of(rows)
    unfinished.unlink(missing_ok=True)
    with (
        server.connect() as source,
        source.transaction(),
        source.cursor(f"all_{table}") as cursor,
        closing(sqlite3.connect(unfinished)) as copy,
        copy,
    ):
        copy.execute(_TABLE["sqlite"].format(table=table))
        cursor.execute(_PLAIN.format(table=table).replace("amount", "amount::float8").replace("day,", "day::text,"))
        while found := cursor.fetchmany(20_000):
            copy.executemany(f"INSERT INTO {table} VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", found)
    unfinished.rename(path)


def fill_mariadb(server: Postgres, mariadb: MariaDB, database: str, rows: int, folder: Path) -> None:
    """Copy the table into MariaDB, whose LOAD DATA reads what COPY writes."""
    table, passage = name_of(rows), folder / "passage"
    _copy_out(server, _PLAIN.format(table=table), passage)
    address = {"host": "127.0.0.1", "port": mariadb.port, "user": "test", "password": "secret", "database": database}
    with pymysql.connect(**address, local_infile=True, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(_TABLE["mariadb"].format(table=table))
        cursor.execute(f"LOAD DATA LOCAL INFILE '{passage}' INTO TABLE {table} CHARACTER SET utf8mb4")
        cursor.execute(f"ANALYZE TABLE {table}")
    passage.unlink()


def can_fill_duckdb() -> bool:
    """Whether this environment has DuckDB and its SQLAlchemy dialect, without which an export cannot read it."""
    return find_spec("duckdb") is not None and find_spec("duckdb_engine") is not None


def fill_duckdb(server: Postgres, rows: int, path: Path) -> None:
    """Copy the table into a DuckDB file, unless one of an earlier sitting stands there."""
    import duckdb

    if path.exists():
        return
    unfinished, passage, table = path.with_suffix(".tmp"), path.with_suffix(".csv"), name_of(rows)
    unfinished.unlink(missing_ok=True)
    _copy_out(server, _PLAIN.format(table=table), passage, "(FORMAT csv)")
    with duckdb.connect(str(unfinished)) as connection:
        connection.execute(_TABLE["duckdb"].format(table=table))
        connection.execute(f"COPY {table} FROM '{passage}' (FORMAT csv)")
    passage.unlink()
    unfinished.rename(path)


def _copy_out(server: Postgres, query: str, path: Path, how: str = "") -> None:
    with (
        server.connect() as connection,
        path.open("wb") as file,
        connection.cursor().copy(f"COPY ({query}) TO STDOUT {how}") as copy,
    ):
        file.writelines(copy)
