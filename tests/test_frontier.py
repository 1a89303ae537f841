"""Where PostgreSQL is settled: late commits, savepoints, rewrites and replaced sources; each row in one window."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cutting import Cutter
from postgres_server import Postgres, running
from sources import NO_SECRETS, an_export, opened, rows_of, sqlite_file
from sqlalchemy import text

from catalog.connections import Database
from catalog.errors import Code, ExportError, Remedy
from catalog.windows import Bounds, Frontier
from tasks.connect import open_source
from tasks.source.frontier import Moment, guarded_bound
from tasks.source.holders import Holder, held_by
from tasks.source.read import verify
from tasks.source.replaced import rewound
from tasks.source.snapshot import refuse_unreached

TABLE = """CREATE TABLE t (id int, at timestamptz NOT NULL DEFAULT clock_timestamp(),
                           changed xid8 NOT NULL DEFAULT pg_current_xact_id())"""
MODES: dict[str, dict[str, str]] = {
    "xid": {"mode": "xid"},
    "xid8": {"mode": "xid", "column": "changed"},
    "guarded": {"mode": "guarded", "column": "at"},
}
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def export_in(mode: str, **cursor: str) -> Any:
    return an_export(columns=["id"], cursor={**MODES[mode], **cursor})


@contextmanager
def transaction(server: Postgres, database: str, *statements: str) -> Iterator[psycopg.Connection]:
    """A connection with an open transaction, in which the statements were run."""
    with server.connect(database) as connection:
        connection.execute("BEGIN")
        for statement in statements:
            connection.execute(statement)
        yield connection


def until(cutter: Cutter, moment: datetime) -> list[int]:
    """Cut until the source is settled up to that moment; returns all ids that came."""
    found, deadline = cutter.cut(), time.monotonic() + 30
    while cutter.frontier is None or cutter.frontier.until < moment:
        assert time.monotonic() < deadline, cutter.frontier
        found += cutter.cut()
    return found


def refused(code: Code, work: Callable[[], object]) -> ExportError:
    with pytest.raises(ExportError) as caught:
        work()
    assert caught.value.code is code, caught.value
    return caught.value


@pytest.mark.parametrize("mode", MODES)
def test_late_commits_savepoints_and_rollbacks(postgres: Postgres, mode: str) -> None:
    made = postgres.fresh_database(TABLE)
    cutter = Cutter(postgres.url(made), export_in(mode))
    with ExitStack() as stack:
        slow = stack.enter_context(transaction(postgres, made, "INSERT INTO t VALUES (1)", "SAVEPOINT a"))
        undone = stack.enter_context(transaction(postgres, made, "INSERT INTO t VALUES (2)"))
        slow.execute("INSERT INTO t VALUES (3); RELEASE a; SAVEPOINT b; INSERT INTO t VALUES (4); ROLLBACK TO b")
        with postgres.connect(made) as quick:
            quick.execute("INSERT INTO t VALUES (5)")
        # The rows that are there wait for the older transaction, which could yet commit below them.
        found = cutter.cut()
        assert found == []
        slow.execute("COMMIT")
        found += cutter.cut()
        undone.execute("ROLLBACK")
        ended = datetime.now(UTC)
    found += until(cutter, ended)
    assert sorted(found) == [1, 3, 5]


@pytest.mark.parametrize("mode", MODES)
def test_a_prepared_transaction_holds_the_bound(postgres: Postgres, mode: str) -> None:
    made = postgres.fresh_database(TABLE)
    cutter = Cutter(postgres.url(made), export_in(mode))
    until(cutter, datetime.now(UTC))
    with transaction(postgres, made, "INSERT INTO t VALUES (1)", f"PREPARE TRANSACTION 'it''s {mode}'") as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        ended = datetime.now(UTC)
        assert cutter.cut() == [] and cutter.cut() == []
        hasty = Cutter(postgres.url(made), export_in(mode, max_hold="0s"))
        hasty.previous = cutter.previous
        error = refused(Code.FRONTIER_PREPARED, hasty.settle)
        assert f"it's {mode}" in error.message and f"COMMIT PREPARED 'it''s {mode}'" in (error.hint or "")
        assert error.code.remedy is Remedy.FIX
        connection.execute(f"COMMIT PREPARED 'it''s {mode}'")
    assert sorted(until(cutter, ended)) == [1, 2]


def test_a_first_guarded_window_waits_for_what_is_prepared(postgres: Postgres) -> None:
    made = postgres.fresh_database(TABLE)
    with transaction(postgres, made, "INSERT INTO t VALUES (1)", "PREPARE TRANSACTION 'first'") as connection:
        assert refused(Code.SOURCE_CONFLICT, Cutter(postgres.url(made), export_in("guarded")).cut).code.tried_again
        refused(Code.FRONTIER_PREPARED, Cutter(postgres.url(made), export_in("guarded", max_hold="0s")).cut)
        begun = Cutter(postgres.url(made), export_in("guarded", start="2020-01-01T00:00:00+00:00"))
        assert begun.cut() == []
        connection.execute("ROLLBACK PREPARED 'first'")


def test_only_writers_of_other_databases_hold_mode_xid(postgres: Postgres) -> None:
    made, other = postgres.fresh_database(TABLE, "INSERT INTO t VALUES (1)"), postgres.fresh_database(TABLE)
    with transaction(postgres, other, "SELECT * FROM t"):
        cutter = Cutter(postgres.url(made), export_in("xid"))
        assert cutter.cut() == [1]
    with transaction(postgres, other, "INSERT INTO t VALUES (1)"), postgres.connect(made) as connection:
        connection.execute("INSERT INTO t VALUES (2)")
        assert cutter.cut() == []
        error = refused(Code.FRONTIER_HELD, Cutter(postgres.url(made), export_in("xid", max_hold="0s")).settle)
        assert f"database {other}" in error.message and "idle in transaction" in error.message
        assert "pg_terminate_backend(" in (error.hint or "") and error.key == "cursor.max_hold"
        guarded = Cutter(postgres.url(made), export_in("guarded", max_hold="0s"))
        assert sorted(until(guarded, datetime.now(UTC))) == [1, 2]
    assert cutter.cut() == [2]


def test_a_reader_holds_mode_guarded_and_an_export_does_not(postgres: Postgres) -> None:
    made = postgres.fresh_database(TABLE, "INSERT INTO t VALUES (1)")
    url, export = postgres.url(made), export_in("guarded")
    with opened(url) as source:
        verify(source, export)
        assert until(Cutter(url, export), datetime.now(UTC)) == [1]
    with transaction(postgres, made) as connection:
        began = connection.execute("SELECT now()").fetchone()
        cutter = Cutter(url, export)
        assert until(cutter, (began or [NOON])[0]) == [1]
        assert cutter.settle(datetime.now(UTC)).until == (began or [NOON])[0]


def test_a_range_that_another_export_reads_does_not_hold_mode_guarded(postgres: Postgres) -> None:
    url = postgres.url(postgres.fresh_database(TABLE))
    with opened(url) as other:
        snapshot = other.connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
        with open_source("crm", Database(url=url), NO_SECRETS, snapshot=snapshot) as reading:
            began = reading.connection.execute(text("SELECT now()")).scalar_one()
            # What began within the last second may not be listed yet.
            time.sleep(1.5)
            assert Cutter(url, export_in("guarded")).settle(datetime.now(UTC)).until > began


def test_who_holds_the_bound_is_told_after_a_minute() -> None:
    export, now = export_in("xid"), datetime(2026, 3, 1, 12, tzinfo=UTC)
    holder = Holder(7, "crm", "app", "web", "idle in transaction", now - timedelta(minutes=2), None)
    words = "process 7 (user app, database crm, application web, idle in transaction) since 2026-03-01 11:58:00 UTC"
    assert held_by(export, holder, now, None) == words
    assert held_by(export, holder, now - timedelta(seconds=61), None) is None
    unseen = replace(holder, since=None)
    assert held_by(export, unseen, now, None) is None
    assert held_by(export, unseen, now, now - timedelta(minutes=2)) == words
    refused(Code.FRONTIER_HELD, lambda: held_by(export, holder, now + timedelta(hours=24), None))


def test_a_guarded_bound_is_the_least_of_all() -> None:
    export, second = export_in("guarded"), timedelta(seconds=1)
    old = Holder(7, "crm", "app", None, "active", NOON - 5 * second, None)
    prepared = replace(old, pid=None, gid="g")
    assert guarded_bound(export, NOON, Moment(NOON, [], []), None) == (NOON - second, None)
    assert guarded_bound(export, NOON - 9 * second, Moment(NOON, [old], []), None) == (NOON - 9 * second, None)
    assert guarded_bound(export, NOON, Moment(NOON, [replace(old, since=NOON), old], []), None) == (old.since, old)
    assert guarded_bound(export, NOON, Moment(NOON, [old], [prepared]), NOON - 60 * second)[0] == NOON - 60 * second


def test_who_may_see_too_little_is_refused(postgres: Postgres) -> None:
    made = postgres.fresh_database(TABLE, "INSERT INTO t VALUES (1)")
    with postgres.connect(made) as admin:
        role = f"reader_{made}"
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; GRANT SELECT ON t TO {role}")
        url = postgres.url(made, role)
        error = refused(Code.SOURCE_PRIVILEGE, Cutter(url, export_in("guarded")).cut)
        assert error.hint == f"GRANT pg_read_all_stats TO {role}" and error.code.remedy is Remedy.FIX
        assert Cutter(url, export_in("xid")).cut() == [1]
        admin.execute(f"GRANT pg_read_all_stats TO {role}")
        assert until(Cutter(url, export_in("guarded")), datetime.now(UTC)) == [1]
        with transaction(postgres, made, "SET track_activities = off"):
            assert "track_activities" in refused(Code.SOURCE_PRIVILEGE, Cutter(url, export_in("guarded")).cut).message


def settled(postgres: Postgres, mode: str, *statements: str) -> tuple[str, Cutter]:
    """A database and an export that has delivered what was there."""
    made = postgres.fresh_database(TABLE, "INSERT INTO t VALUES (1), (2)", "CREATE INDEX by_id ON t (id)", *statements)
    cutter = Cutter(postgres.url(made), export_in(mode))
    assert sorted(until(cutter, datetime.now(UTC))) == [1, 2]
    return made, cutter


@pytest.mark.parametrize("statement", ["VACUUM FULL t", "CLUSTER t USING by_id", "VACUUM FREEZE t", "TRUNCATE t"])
def test_what_keeps_the_rows_ids_passes(postgres: Postgres, statement: str) -> None:
    made, cutter = settled(postgres, "xid")
    with postgres.connect(made) as connection:
        connection.execute(statement)
        assert cutter.cut() == []
        connection.execute("INSERT INTO t VALUES (3)")
    if statement != "TRUNCATE t":
        assert cutter.cut() == [3]


@pytest.mark.parametrize("mode", ["xid", "xid8"])
def test_a_rewrite_that_makes_every_row_new_stops_mode_xid(postgres: Postgres, mode: str) -> None:
    made, cutter = settled(postgres, mode)
    with postgres.connect(made) as connection:
        connection.execute("ALTER TABLE t ALTER id TYPE bigint")
    if mode == "xid8":
        # The column's values are what they were.
        assert cutter.cut() == []
        return
    error = refused(Code.SOURCE_REWRITTEN, cutter.cut)
    assert "its file was" in error.message and "`exports ledger t --accept`" in (error.hint or "")
    assert error.code.remedy is Remedy.DECIDE


@pytest.mark.parametrize("mode", MODES)
def test_another_table_of_the_same_name_is_another_source(postgres: Postgres, mode: str) -> None:
    made, cutter = settled(postgres, mode)
    with postgres.connect(made) as connection:
        connection.execute("ALTER TABLE t RENAME TO old; CREATE TABLE t AS SELECT * FROM old")
    error = refused(Code.SOURCE_REPLACED, cutter.cut)
    assert "the table was" in error.message and "--restart start|now" in (error.hint or "")
    assert cutter.previous is not None
    # A person has accepted it.
    cutter.previous = replace(cutter.previous, source=None)
    cutter.cut()


@pytest.mark.parametrize(("mode", "high"), [("xid", "4000000000"), ("guarded", "2999-01-01T00:00:00.000000+00:00")])
def test_a_watermark_ahead_of_the_source(postgres: Postgres, mode: str, high: str) -> None:
    _, cutter = settled(postgres, mode)
    assert cutter.previous is not None
    cutter.previous = replace(cutter.previous, bounds=replace(cutter.previous.bounds, high=high))
    error = refused(Code.SOURCE_REWOUND, cutter.cut)
    assert high in error.message and error.code.remedy is Remedy.DECIDE
    assert rewound(cutter.export, "9", "8", standby=True).code is Code.SOURCE_CONFLICT


def test_a_standby_that_lags_behind_is_not_read(postgres: Postgres) -> None:
    _, cutter = settled(postgres, "xid")
    error = refused(Code.SOURCE_CONFLICT, lambda: rows_of(cutter.url, cutter.export, Bounds("1", "4000000000")))
    assert "ends at 4000000000" in error.message and error.code.tried_again
    refuse_unreached(cutter.export, 8, 8)


def test_ids_that_began_anew_need_a_column_of_their_own(postgres: Postgres) -> None:
    _, cutter = settled(postgres, "xid8")
    with running(epoch=1) as wrapped:
        made = wrapped.fresh_database(TABLE, "INSERT INTO t VALUES (1)")
        error = refused(Code.XID_WRAPPED, Cutter(wrapped.url(made), export_in("xid")).settle)
        assert "epoch 1" in error.message and error.key == "cursor.column" and error.code.remedy is Remedy.EDIT
        refused(Code.XID_WRAPPED, lambda: rows_of(wrapped.url(made), export_in("xid"), Bounds(None, "900")))
        other = Cutter(wrapped.url(made), export_in("xid8"))
        assert other.cut() == [1] and isinstance(other.frontier, Frontier) and int(other.frontier.high) > 2**32
        other.previous = cutter.previous
        assert "the server was" in refused(Code.SOURCE_REPLACED, other.settle).message
        with transaction(wrapped, made, "INSERT INTO t VALUES (2)"):
            hasty = Cutter(wrapped.url(made), export_in("xid8", max_hold="0s"))
            refused(Code.FRONTIER_HELD, hasty.settle)


def test_partitions_are_read_and_views_are_not(postgres: Postgres) -> None:
    made = postgres.fresh_database(
        "CREATE TABLE t (id int) PARTITION BY LIST (id)",
        "CREATE TABLE one PARTITION OF t FOR VALUES IN (1)",
        "CREATE TABLE two PARTITION OF t FOR VALUES IN (2)",
        "INSERT INTO t VALUES (1), (2)",
        "CREATE VIEW v AS SELECT * FROM t",
        "CREATE MATERIALIZED VIEW m AS SELECT * FROM t",
        "CREATE EXTENSION postgres_fdw",
        "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw",
    )
    cutter = Cutter(postgres.url(made), export_in("xid"))
    assert cutter.cut() == [1, 2]
    with postgres.connect(made) as connection:
        connection.execute("CREATE TABLE three PARTITION OF t FOR VALUES IN (3); INSERT INTO t VALUES (3)")
        assert cutter.cut() == [3]
        for name, kind in (("v", "is a view"), ("m", "is a materialized view"), ("t", "has a foreign partition")):
            if name == "t":
                connection.execute("CREATE FOREIGN TABLE f PARTITION OF t FOR VALUES IN (4) SERVER s")
            export = an_export(table=name, columns=["id"], cursor={"mode": "xid"})
            assert kind in refused(Code.XID_UNSUPPORTED, Cutter(cutter.url, export).settle).message
            with opened(cutter.url) as source:
                refused(Code.XID_UNSUPPORTED, lambda export=export, source=source: verify(source, export))


def test_what_a_mode_cannot_read(postgres: Postgres, tmp_path: Path) -> None:
    made = postgres.fresh_database(TABLE)
    lite = sqlite_file(tmp_path, "CREATE TABLE t (id INTEGER, at TEXT);")
    assert "use `cursor.mode: lag`" in (refused(Code.XID_UNSUPPORTED, Cutter(lite, export_in("xid")).settle).hint or "")
    assert "use `cursor.mode: lag`" in (refused(Code.CURSOR_TYPE, Cutter(lite, export_in("guarded")).settle).hint or "")
    for cursor in ({"mode": "xid", "column": "id"}, {"mode": "guarded", "column": "id"}):
        export = an_export(columns=["id"], cursor=cursor)
        assert "holds" in refused(Code.CURSOR_TYPE, Cutter(postgres.url(made), export).settle).message
        missing = an_export(columns=["id"], cursor={**cursor, "column": "chnaged"})
        assert "did you mean" in refused(Code.COLUMN_MISSING, Cutter(postgres.url(made), missing).settle).message
    nowhere = an_export(table="T", cursor={"mode": "xid"})
    refused(Code.COLUMN_MISSING, Cutter(postgres.url(made), nowhere).settle)
