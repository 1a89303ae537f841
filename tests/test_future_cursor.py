"""Rows whose cursor lies in the future are in no file before their time: each run tells of them, or fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from mariadb_server import MariaDB
from plain_run import run_plainly
from postgres_server import Postgres
from pydantic import ValidationError
from sources import an_export, between, opened, sqlite_file
from sqlalchemy import event
from workshop import Workshop

from catalog.errors import Code, ExportError
from flows.report import notes
from tasks.source import strays
from tasks.source.read import begin_reading
from tasks.source.strays import Strays

NOW = datetime.now(UTC)
TYPO = "UPDATE orders SET updated_at = '2099-01-03 08:00:00' WHERE id = 3"
NO_INDEX = "DROP INDEX by_change"
TOLD = (
    "CURSOR_IN_FUTURE: 1 rows have a cursor in the future, up to 2099-01-03 08:00:00, and are in no file before then; "
    "correct them, or set `cursor.future: ignore` if they are meant"
)


@pytest.fixture
def database(workshop: Workshop) -> Workshop:
    """A workshop whose row 3 says 2099."""
    workshop.sqlite()
    workshop.sqlite(script=TYPO)
    return workshop


def test_a_row_of_the_future_is_told_of_until_its_time_comes(database: Workshop) -> None:
    export_id = database.incremental(columns=["id"], file={"name": "orders_{date:%Y}.csv"})
    first = run_plainly(database, export_id, NOW)
    assert [content.decode() for content in database.files().values()] == ["id\n1\n2\n"]
    assert first.told.warnings == [TOLD] == notes(database.ledger, first.run_id)
    then = run_plainly(database, export_id, datetime(2099, 2, 1, tzinfo=UTC))
    assert database.text("orders_2099.csv") == "id\n3\n"
    assert then.told.warnings == [] == notes(database.ledger, then.run_id)


def test_the_report_of_the_run_and_its_state_say_so(prefect: Workshop) -> None:
    prefect.sqlite()
    prefect.sqlite(script=TYPO)
    report = prefect.json("run", prefect.incremental())
    assert (report["status"], report["rows"], report["notes"]) == ("succeeded", 2, [TOLD])
    assert report["message"].endswith(f"; {TOLD}")


def test_where_such_dates_are_meant_nothing_is_said(database: Workshop) -> None:
    ran = run_plainly(database, database.incremental(cursor={"future": "ignore"}), NOW)
    assert ran.told.warnings == [] == notes(database.ledger, ran.run_id)


def test_a_filter_that_leaves_them_out_keeps_them_out_of_the_count(database: Workshop) -> None:
    assert run_plainly(database, database.incremental(where="id < 3"), NOW).told.warnings == []


@pytest.mark.parametrize("script", ["", NO_INDEX], ids=["index", "no index"])
def test_a_run_may_fail_for_them_and_goes_on_when_they_are_corrected(database: Workshop, script: str) -> None:
    database.sqlite(script=script)
    export_id, run_id = database.incremental(cursor={"future": "fail"}), "0" * 32
    with pytest.raises(ExportError) as caught:
        run_plainly(database, export_id, NOW, run_id)
    assert caught.value.code is Code.CURSOR_IN_FUTURE and caught.value.key == "cursor.future"
    assert "1 rows" in caught.value.message and "up to 2099-01-03 08:00:00" in caught.value.message
    assert database.files() == {}
    database.sqlite(script="UPDATE orders SET updated_at = '2026-01-03 08:00:00' WHERE id = 3")
    assert run_plainly(database, export_id, NOW, run_id).told.warnings == []
    assert [content.count(b"\n") for content in database.files().values()] == [4]


@pytest.mark.parametrize(
    ("spoilt", "policy", "mild"),
    [(TYPO, "future", "warn"), ("UPDATE orders SET updated_at = NULL WHERE id = 3", "nulls", "skip")],
)
def test_a_run_that_failed_for_them_goes_on_when_the_definition_lets_them_wait(
    workshop: Workshop, spoilt: str, policy: str, mild: str
) -> None:
    workshop.sqlite()
    workshop.sqlite(script=spoilt)
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, workshop.incremental(cursor={policy: "fail"}), NOW)
    assert f"`cursor.{policy}: {mild}`" in (caught.value.hint or "")
    run_plainly(workshop, workshop.incremental(cursor={policy: mild}), NOW + timedelta(seconds=1))
    assert [content.count(b"\n") for _, content in sorted(workshop.files().items())] == [3, 1]


def test_a_table_without_index_is_not_searched_for_a_warning(database: Workshop) -> None:
    database.sqlite(script=NO_INDEX)
    assert run_plainly(database, database.incremental(), NOW).told.warnings == []


def test_a_query_is_asked_since_it_may_have_an_index(database: Workshop) -> None:
    export_id = database.incremental(table=None, query="SELECT * FROM orders", cursor={"lookback": "0s"})
    assert run_plainly(database, export_id, NOW).told.warnings == [TOLD]


def test_a_definition_that_leaves_the_key_out_keeps_its_version() -> None:
    plain, said, other = (
        an_export(cursor={"column": "at", **key}) for key in ({}, {"future": "warn"}, {"future": "fail"})
    )
    assert plain.hash == said.hash != other.hash and "future" not in plain.frozen()["cursor"]
    assert plain.source_key == other.source_key


def test_transaction_ids_have_no_future() -> None:
    with pytest.raises(ValidationError, match="`future` does not apply to mode `xid`"):
        an_export(cursor={"mode": "xid", "column": "changed", "future": "warn"})


#: The row that has no cursor is 1; in the future are 4 and 5, and 6, which `where` leaves out.
MOMENTS = [
    None,
    timedelta(days=-2),
    timedelta(minutes=30),
    timedelta(days=3),
    timedelta(days=800),
    timedelta(days=2000),
]
SAVED: dict[str, Callable[[datetime], str]] = {
    "%Y-%m-%d": lambda moment: f"'{moment:%Y-%m-%d}'",
    "%Y-%m-%d %H:%M:%S": lambda moment: f"'{moment:%Y-%m-%d %H:%M:%S}'",
    "T..Z": lambda moment: f"'{moment:%Y-%m-%dT%H:%M:%S}Z'",
    "seconds": lambda moment: str(int(moment.timestamp())),
    "milliseconds": lambda moment: str(int(moment.timestamp()) * 1000),
}
KINDS = [
    ("postgresql", "timestamptz", "%Y-%m-%d %H:%M:%S"),
    ("postgresql", "timestamp", "%Y-%m-%d %H:%M:%S"),
    ("postgresql", "timestamptz(0)", "%Y-%m-%d %H:%M:%S"),
    ("postgresql", "date", "%Y-%m-%d"),
    ("mariadb", "DATETIME(6)", "%Y-%m-%d %H:%M:%S"),
    ("mariadb", "DATE", "%Y-%m-%d"),
    ("sqlite", "DATETIME", "%Y-%m-%d %H:%M:%S"),
    ("sqlite", "DATE", "%Y-%m-%d"),
    ("sqlite", "TEXT", "T..Z"),
    ("sqlite", "INTEGER", "seconds"),
    ("sqlite", "INTEGER", "milliseconds"),
]


def made(request: pytest.FixtureRequest, dialect: str, statements: list[str]) -> str:
    """A database of that kind, filled by the statements; returns its URL."""
    if dialect == "sqlite":
        return sqlite_file(request.getfixturevalue("tmp_path"), ";".join(statements))
    server: Postgres | MariaDB = request.getfixturevalue("postgres" if dialect == "postgresql" else "mariadb")
    return server.url(server.fresh_database(*statements))


def found(url: str, **cursor: Any) -> Strays:
    export = an_export(cursor={"column": "at", "nulls": "skip", **cursor}, where="id < 6")
    with opened(url) as source:
        return begin_reading(source, export, between(None, NOW)).strays


@pytest.mark.parametrize(("dialect", "kind", "form"), KINDS)
def test_they_are_counted_in_every_form_of_a_cursor(
    request: pytest.FixtureRequest, dialect: str, kind: str, form: str
) -> None:
    cells = ["NULL" if ahead is None else SAVED[form](NOW + ahead) for ahead in MOMENTS]
    rows = ", ".join(f"({number}, {cell})" for number, cell in enumerate(cells, 1))
    table = [f"CREATE TABLE t (id INTEGER, at {kind} NULL)", "CREATE INDEX by_at ON t (at)"]
    url = made(request, dialect, [*table, f"INSERT INTO t VALUES {rows}"])
    latest = cells[4].strip("'") + ("+00" if "timestamptz" in kind else "")
    assert found(url) == Strays(1, 2, latest)
    assert found(url, future="ignore") == Strays(1, 0, None)


def test_infinity_is_a_time_that_never_comes(postgres: Postgres) -> None:
    table = ("CREATE TABLE t (id int, at timestamptz)", "CREATE INDEX by_at ON t (at)")
    url = postgres.url(postgres.fresh_database(*table, "INSERT INTO t VALUES (1, 'infinity'), (2, '-infinity')"))
    assert found(url, mode="guarded") == Strays(0, 1, "infinity")


@pytest.mark.parametrize("clock", ["00:30", "01:01"], ids=["for the first time", "for the second time"])
def test_the_hour_that_comes_twice_is_not_the_future(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: str
) -> None:
    # In Brussels 02:29 has just been, or 02:59 was two minutes ago.
    url = sqlite_file(
        tmp_path,
        "CREATE TABLE t (id INTEGER, at DATETIME); CREATE INDEX by_at ON t (at);"
        f"INSERT INTO t VALUES (1, '2026-10-25 {'02:29' if clock == '00:30' else '02:59'}:00');",
    )
    now = datetime.fromisoformat(f"2026-10-25T{clock}:00+00:00")
    monkeypatch.setattr(strays, "now_of", lambda source: now)
    export = an_export(cursor={"column": "at"})
    with opened(url, "Europe/Brussels") as source:
        assert begin_reading(source, export, between(None, now)).strays == Strays()


#: What in a plan says that of the index only what lies in the future was read.
PLANS = {
    "postgresql": ("EXPLAIN", "Index Cond: (at > '"),
    "mariadb": ("EXPLAIN", "t range by_at"),
    "sqlite": ("EXPLAIN QUERY PLAN", "by_at (at>?)"),
}


@pytest.mark.parametrize("dialect", PLANS)
def test_they_are_looked_for_through_the_index(request: pytest.FixtureRequest, dialect: str) -> None:
    filled = "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 20000) SELECT i, {at} FROM n"
    ago = {
        "postgresql": "now() - i * interval '1 minute'",
        "mariadb": "UTC_TIMESTAMP() - INTERVAL i MINUTE",
        "sqlite": "datetime('now', '-' || i || ' minutes')",
    }[dialect]
    table = ["CREATE TABLE t (id INTEGER, at TIMESTAMP NULL)", "CREATE INDEX by_at ON t (at)"]
    limit = ["SET max_recursive_iterations = 20000"] if dialect == "mariadb" else []
    analyze = "ANALYZE TABLE t" if dialect == "mariadb" else "ANALYZE"
    url = made(request, dialect, [*table, *limit, f"INSERT INTO t {filled.format(at=ago)}", analyze])
    asked: list[tuple[str, Any]] = []
    with opened(url) as source:
        event.listen(source.connection, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
        begin_reading(source, an_export(cursor={"column": "at"}), between(NOW - timedelta(minutes=5), NOW))
        ((statement, values),) = [call for call in asked if "count(*) - count" in call[0]]
        explain, wanted = PLANS[dialect]
        connection = source.connection.execution_options(stream_results=False)
        steps = [" ".join(map(str, step)) for step in connection.exec_driver_sql(f"{explain} {statement}", values)]
    assert wanted in "\n".join(steps), steps
