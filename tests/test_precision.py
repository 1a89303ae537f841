"""Columns that keep less of a second than bounds do, clocks that go back, and the index of an xid8 column."""

from datetime import UTC, datetime, timedelta

import pytest
from cutting import Cutter
from mariadb_server import MariaDB
from postgres_server import Postgres
from sources import an_export, between, opened, rows_of

from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.source.read import preview

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXPORT = an_export(columns=["id"], cursor={"column": "at"})


def ids(url: str, low: datetime | None, high: datetime) -> list[int]:
    return [int(row[0]) for row in rows_of(url, EXPORT, between(low, high))]


@pytest.mark.parametrize("kind", ["timestamptz(0)", "timestamp(0)", "timestamptz(2)", "timestamp(1)", "timestamp"])
def test_a_row_that_is_rounded_below_the_bound_is_not_lost(postgres: Postgres, kind: str) -> None:
    made = postgres.fresh_database(f"CREATE DOMAIN stamp AS {kind}", "CREATE TABLE t (id int, at stamp)")
    url, bound = postgres.url(made), NOON + timedelta(milliseconds=443)
    with postgres.connect(made) as connection:
        connection.execute("INSERT INTO t VALUES (1, '2026-03-01 11:59:59.4+00')")
        assert ids(url, None, bound) == [1]
        # Stamped after the bound, and stored before it.
        connection.execute("INSERT INTO t VALUES (2, '2026-03-01 12:00:00.444+00')")
    assert ids(url, bound, NOON + timedelta(minutes=1)) == [2]


@pytest.mark.parametrize("kind", ["DATETIME", "DATETIME(2)", "TIMESTAMP", "TIMESTAMP(1)", "DATETIME(6)"])
def test_mariadb_keeps_whole_seconds_when_nothing_is_said(mariadb: MariaDB, kind: str) -> None:
    made = mariadb.fresh_database(f"CREATE TABLE t (id INT, at {kind} NULL)")
    url, bound = mariadb.url(made), NOON + timedelta(milliseconds=443)
    with mariadb.connect(made) as connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1, '2026-03-01 11:59:59')")
        assert ids(url, None, bound) == [1]
        cursor.execute("INSERT INTO t VALUES (2, '2026-03-01 12:00:00.444')")
    assert ids(url, bound, NOON + timedelta(minutes=1)) == [2]
    query = an_export(query="SELECT id, at FROM t", cursor={"column": "at"})
    if "(" not in kind:
        assert [row[0] for row in rows_of(url, query, between(bound, NOON + timedelta(minutes=1)))] == ["2"]


def test_a_guarded_bound_is_kept_as_the_column_keeps_it(postgres: Postgres) -> None:
    made = postgres.fresh_database("CREATE TABLE t (id int, at timestamptz(0))")
    export = an_export(columns=["id"], cursor={"column": "at", "mode": "guarded"})
    frontier = Cutter(postgres.url(made), export).settle(NOON - timedelta(microseconds=1))
    assert frontier.high == "2026-03-01T11:59:59.000000+00:00" and frontier.until == NOON - timedelta(seconds=1)


def test_the_hour_that_comes_twice_is_delivered_once(postgres: Postgres) -> None:
    made = postgres.fresh_database("CREATE TABLE t (id int, at timestamp)")
    export = an_export(columns=["id"], cursor={"column": "at", "mode": "guarded"})
    cutter = Cutter(postgres.url(made), export, timezone="Europe/Brussels")
    # In UTC the clock went back at 01:00. Each row is written after a cut, and stamped by the local clock.
    rows = {"00:10": "02:12", "00:30": "02:35", "00:50": "02:55", "01:10": "02:15", "01:50": "02:55", "02:30": "03:35"}
    found = []
    with postgres.connect(made) as connection:
        for number, (moment, stored) in enumerate(rows.items()):
            found += cutter.cut(datetime.fromisoformat(f"2024-10-27T{moment}+00:00"))
            connection.execute("INSERT INTO t VALUES (%s, %s)", [number, f"2024-10-27 {stored}"])
    found += cutter.cut(datetime(2024, 10, 27, 3, tzinfo=UTC))
    assert sorted(found) == [0, 1, 2, 3, 4, 5]


def test_nulls_are_counted_in_guarded_and_unknown_to_xid(postgres: Postgres) -> None:
    made = postgres.fresh_database("CREATE TABLE t (id int, at timestamptz)", "INSERT INTO t VALUES (1, NULL)")
    with pytest.raises(ExportError) as caught:
        rows_of(postgres.url(made), an_export(cursor={"column": "at", "mode": "guarded"}), between(None, NOON))
    assert caught.value.code is Code.CURSOR_NULL
    assert Cutter(postgres.url(made), an_export(columns=["id"], cursor={"mode": "xid"})).cut() == [1]


def test_the_index_on_an_xid8_column_is_used(postgres: Postgres) -> None:
    made = postgres.fresh_database(
        "CREATE TABLE t (id int, changed xid8)",
        "INSERT INTO t SELECT n, n::text::xid8 FROM generate_series(1, 20000) n",
        "CREATE INDEX by_change ON t (changed)",
        "ANALYZE t",
    )
    export = an_export(columns=["id"], cursor={"mode": "xid", "column": "changed"})
    with opened(postgres.url(made)) as source:
        shown = preview(source, export, Bounds("100", "110"), 3)
        assert shown.rows == (("100",), ("101",), ("102",))
    with postgres.connect(made) as connection:
        plan = "\n".join(row[0] for row in connection.execute(f"EXPLAIN {shown.sql}"))
    assert "by_change" in plan and "Index Cond" in plan
