"""A PostgreSQL source that hands out its rows only while a gate is open: a test can act in the middle of a read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from postgres_server import Postgres
from workshop import Workshop

_GATE = 4711
_SCRIPT = (
    "CREATE TABLE kept (id integer PRIMARY KEY, updated_at timestamp NOT NULL)",
    "INSERT INTO kept VALUES (1, '2026-01-01 08:00'), (2, '2026-01-02 08:00'), (3, '2026-01-03 08:00')",
    "CREATE FUNCTION through_the_gate() RETURNS SETOF kept LANGUAGE plpgsql AS $$ BEGIN "
    f"PERFORM pg_advisory_xact_lock_shared({_GATE}); RETURN QUERY SELECT * FROM kept; END $$",
    "CREATE VIEW orders AS SELECT * FROM through_the_gate()",
)


class GatedSource:
    """The view `orders` (id, updated_at) of three rows, behind a gate that is open at first."""

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection

    def add(self, number: int, stamp: str) -> None:
        self._connection.execute("INSERT INTO kept VALUES (%s, %s)", [number, stamp])

    @contextmanager
    def closed(self) -> Iterator[None]:
        """No row comes out inside; whoever reads, waits."""
        self._connection.execute("SELECT pg_advisory_lock(%s)", [_GATE])
        try:
            yield
        finally:
            self.open()

    def open(self) -> None:
        """Let those who wait go on; opening it twice is fine."""
        self._connection.execute("SELECT pg_advisory_unlock_all()")

    def readers(self) -> int:
        """How many wait at the gate."""
        query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted"
        found = self._connection.execute(query, [_GATE]).fetchone()
        assert found is not None, "an aggregate has a row"
        return int(found[0])


@pytest.fixture
def gated(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatedSource]:
    """The workshop's database `crm`, with a gate."""
    database = postgres.fresh_database(*_SCRIPT)
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    with postgres.connect(database) as connection:
        yield GatedSource(connection)
