"""The table that is exported: twelve columns of the types people use, in PostgreSQL and in SQLite."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from postgres_server import Postgres

_POSTGRES = """
CREATE TABLE t AS SELECT i AS id, md5(i::text || 'u')::uuid AS uid,
  (ARRAY['plain words', 'with, a comma', 'say "yes" or no', 'Łódź é'])[1 + i % 4] || ' ' || md5(i::text) AS note,
  timestamptz '2020-01-01' + i * interval '17.123457 seconds' AS updated_at,
  ((i * 37 % 100000000)::numeric / 100)::numeric(12,2) AS amount, (i * 0.123456789)::float8 AS ratio,
  i % 3 = 0 AS active, CASE WHEN i % 5 > 0 THEN 'c' || i % 1000 END AS code,
  date '2000-01-01' + (i % 9000)::int AS day, jsonb_build_object('k', i % 100, 'tags', ARRAY['a', 'b,c']) AS payload,
  (i % 32000)::int AS qty, 'city ' || i % 500 AS city
FROM generate_series(1, {rows}::bigint) i
"""
_SQLITE = """
CREATE TABLE t (id INTEGER PRIMARY KEY, uid TEXT, note TEXT, updated_at TIMESTAMP, amount NUMERIC(12,2), ratio REAL,
  active BOOLEAN, code TEXT, day DATE, payload TEXT, qty INTEGER, city VARCHAR(80))
"""
_AS_SQLITE_HAS_IT = """
SELECT id, uid::text, note, (updated_at AT TIME ZONE 'UTC')::text, amount::float8, ratio, active::int, code, day::text,
  payload::text, qty, city FROM t
"""
_AT_ONCE = 20_000


def fill_postgres(server: Postgres, rows: int) -> str:
    """A database with so many rows in its table `t`; returns its name."""
    return server.fresh_database(_POSTGRES.format(rows=rows), "ALTER TABLE t ADD PRIMARY KEY (id)", "VACUUM ANALYZE t")


def fill_sqlite(server: Postgres, database: str, path: Path) -> None:
    """The same rows in a SQLite file."""
    with server.connect(database) as source, closing(sqlite3.connect(path)) as copy, copy:
        copy.execute(_SQLITE)
        source.autocommit = False
        with source.cursor("rows") as cursor:
            cursor.itersize = _AT_ONCE
            cursor.execute(_AS_SQLITE_HAS_IT)
            while found := cursor.fetchmany(_AT_ONCE):
                copy.executemany(f"INSERT INTO t VALUES ({','.join('?' * 12)})", found)
