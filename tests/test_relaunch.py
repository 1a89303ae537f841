"""What a relaunch does, by the class of the error: it fails as before, and delivers once what was wrong is mended."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError, Remedy
from catalog.places import spool_folder
from deployments.ledger_view import accept_source

TABLE = "CREATE TABLE orders (id integer PRIMARY KEY, updated_at timestamptz DEFAULT now() - interval '1 hour')"
LAG = {"column": "updated_at", "mode": "lag", "lag": "0s", "lookback": "0s"}
GUARDED = {"column": "updated_at", "mode": "guarded", "lag": None, "max_hold": "1s"}
XID = {"column": None, "mode": "xid", "lag": None, "max_hold": "1s"}


class Bench:
    """An incremental export of a PostgreSQL table, whose one run is tried again and again."""

    def __init__(self, workshop: Workshop, postgres: Postgres) -> None:
        self.workshop, self.postgres = workshop, postgres
        self.database = postgres.fresh_database(TABLE, "INSERT INTO orders VALUES (1), (2)")
        self.admin = postgres.connect(self.database)
        self.other = postgres.connect(self.database)
        self.export_id = workshop.id()
        self.log_in_as("test", postgres.password)
        self.next_run(datetime.now(UTC))

    def log_in_as(self, user: str, password: str) -> None:
        self.workshop.database("crm", self.postgres.url(self.database, user, "{{ $CRM_PASSWORD }}"))

    def define(self, cursor: dict[str, Any], **keys: Any) -> None:
        wanted = {key: value for key, value in cursor.items() if value is not None}
        name = {"name": "orders_{date:%Y%m%dT%H%M%S%f}.csv"}
        self.workshop.export(self.export_id, **{"type": "incremental", "cursor": wanted, "file": name, **keys})

    def next_run(self, at: datetime) -> None:
        self.run_id, self.at = str(uuid.uuid4()), at

    def run(self) -> int:
        """Rows that the run delivered."""
        run_plainly(self.workshop, self.export_id, self.at, self.run_id)
        return sum(file.rows for file in self.workshop.ledger.delivered_by_run(self.run_id))

    def delivered_once(self) -> None:
        """A first run, so that there is a watermark; what follows is about the next."""
        assert self.run() == 2
        self.admin.execute("INSERT INTO orders VALUES (3)")
        self.next_run(datetime.now(UTC))

    def sql(self, *statements: str) -> None:
        for statement in statements:
            self.admin.execute(statement)


@pytest.fixture
def bench(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    made = Bench(workshop, postgres)
    yield made
    made.other.close()
    made.admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid()"
    )
    made.admin.close()


@dataclass(frozen=True)
class Case:
    """How an error is provoked, and what mends it; `rows` are delivered then."""

    breaks: Callable[[Bench], None]
    mends: Callable[[Bench], None]
    rows: int


def a_view(bench: Bench) -> None:
    bench.sql("CREATE VIEW seen AS SELECT * FROM orders")
    bench.define(XID, table="seen")


def no_key(bench: Bench) -> None:
    bench.sql("ALTER TABLE orders DROP CONSTRAINT orders_pkey")
    bench.define({**LAG, "lookback": "15m"})


def a_null(bench: Bench) -> None:
    bench.define(LAG)
    bench.sql("INSERT INTO orders VALUES (3, NULL)")


def held(bench: Bench) -> None:
    bench.define(GUARDED)
    bench.other.execute("BEGIN")
    bench.other.execute("INSERT INTO orders VALUES (3)")
    bench.sql("SELECT pg_sleep(1.1)")
    bench.next_run(datetime.now(UTC))


def prepared(bench: Bench) -> None:
    bench.define(XID)
    for statement in ("BEGIN", "INSERT INTO orders VALUES (3)", f"PREPARE TRANSACTION '{bench.database}'"):
        bench.other.execute(statement)
    bench.sql("SELECT pg_sleep(1.1)")


def no_privilege(bench: Bench) -> None:
    role = bench.database
    bench.sql(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'", f"GRANT SELECT ON orders TO {role}")
    bench.log_in_as(role, "secret")
    bench.define(GUARDED)


def replaced(bench: Bench) -> None:
    bench.define(XID)
    bench.delivered_once()
    bench.sql(
        "ALTER TABLE orders RENAME TO old", TABLE.replace("PRIMARY KEY", ""), "INSERT INTO orders SELECT * FROM old"
    )


def rewritten(bench: Bench) -> None:
    bench.define(XID)
    bench.delivered_once()
    bench.sql("ALTER TABLE orders ALTER id TYPE bigint")


def foreign_file(bench: Bench) -> None:
    bench.define(LAG, file={"name": "orders.csv"})
    (bench.workshop.drop / "orders.csv").write_text("somebody else's")


def gone(bench: Bench) -> None:
    bench.define(LAG)
    bench.workshop.drop.rmdir()


def ahead(bench: Bench) -> None:
    bench.define(LAG)
    bench.next_run(datetime.now(UTC) + timedelta(seconds=4))


def passed(bench: Bench) -> None:
    bench.workshop.wait_for(lambda: datetime.now(UTC) > bench.at)


def accepted(bench: Bench) -> None:
    accept_source(bench.workshop.ledger, bench.export_id)


CASES = {
    Code.XID_UNSUPPORTED: Case(a_view, lambda bench: bench.define(XID), 2),
    Code.KEY_MISSING: Case(no_key, lambda bench: bench.define({**LAG, "lookback": "15m", "key": ["id"]}), 2),
    Code.CURSOR_NULL: Case(a_null, lambda bench: bench.sql("DELETE FROM orders WHERE id = 3"), 2),
    Code.FRONTIER_HELD: Case(held, lambda bench: bench.other.rollback(), 2),
    Code.FRONTIER_PREPARED: Case(prepared, lambda bench: bench.sql(f"ROLLBACK PREPARED '{bench.database}'"), 2),
    Code.SOURCE_PRIVILEGE: Case(
        no_privilege, lambda bench: bench.sql(f"GRANT pg_read_all_stats TO {bench.database}"), 2
    ),
    Code.SOURCE_REPLACED: Case(replaced, accepted, 3),
    Code.SOURCE_REWRITTEN: Case(rewritten, accepted, 3),
    Code.FILE_EXISTS: Case(foreign_file, lambda bench: (bench.workshop.drop / "orders.csv").unlink(), 2),
    Code.TARGET_DENIED: Case(gone, lambda bench: bench.workshop.drop.mkdir(), 2),
    Code.CLOCK_BEHIND: Case(ahead, passed, 2),
}


@pytest.mark.parametrize("code", CASES, ids=str)
def test_the_same_run_again_does_what_its_class_says(bench: Bench, code: Code) -> None:
    case = CASES[code]
    case.breaks(bench)
    for _ in range(2):
        with pytest.raises(ExportError) as caught:
            bench.run()
        assert caught.value.code is code and caught.value.hint, caught.value
    assert code.relaunchable is (code.remedy in (Remedy.FIX, Remedy.AUTO, Remedy.RELAUNCH))
    case.mends(bench)
    assert bench.run() == case.rows
    assert bench.run() == case.rows, "once more, and nothing is delivered twice"
    everything = {Code.SOURCE_REPLACED: 5, Code.SOURCE_REWRITTEN: 5, Code.FILE_EXISTS: 2}.get(code, 2)
    assert sum(content.count(b"\n") - 1 for content in bench.workshop.files().values()) == everything


def test_spool_bytes_that_were_changed_since_are_read_again_and_never_sent(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id, run_id, at = workshop.export(), str(uuid.uuid4()), datetime.now(UTC)
    workshop.drop.rename(away := workshop.drop.with_name("away"))
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, at, run_id)
    (kept,) = [path for path in (spool_folder() / export_id).rglob("*") if path.is_file()]
    extracted = kept.read_bytes()
    kept.write_bytes(extracted.swapcase())
    away.rename(workshop.drop)
    run_plainly(workshop, export_id, at, run_id)
    assert [path.read_bytes() for path in workshop.drop.iterdir()] == [extracted]
