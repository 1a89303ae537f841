"""SQL that people write is taken letter by letter, and what would write or break out is refused with the reason."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres
from sources import an_export, between, opened, rows_of, sqlite_file

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.rows.columns import column_of
from tasks.source.query import CursorRange, build_select
from tasks.source.read import preview
from tasks.source.statement import refuse_query, refuse_where

COLUMNS = [column_of(name, "text") for name in ("id", "name", 'a "b"', "percent %", "select")]


def sql(export: Export, cursor: CursorRange | None = None) -> str:
    return re.sub(r"\s+", " ", str(build_select(export, COLUMNS, cursor)))


def test_names_are_quoted_where_they_must_be() -> None:
    statement = sql(an_export(table="crm.t", columns=["id", 'a "b"', "select", {"name": "x"}], where="id > 1"))
    assert statement == 'SELECT id, "a ""b""", "select", name FROM crm.t WHERE (id > 1 )'


def test_the_filter_cannot_loosen_the_window() -> None:
    statement = sql(an_export(where="id = 1 OR id = 2 -- two", cursor={"column": "id"}), CursorRange(1, 2))
    assert "WHERE (id = 1 OR id = 2 -- two ) AND id >= :low AND id < :high" in statement


def test_the_first_window_has_no_lower_bound() -> None:
    assert sql(an_export(columns=["name"], cursor={"column": "id"}), CursorRange(None, 2)).endswith("WHERE id < :high")


@pytest.mark.parametrize("key", ["columns", "cursor"])
def test_a_missing_column_is_named_with_the_nearest(key: str) -> None:
    keys: dict[str, Any] = {"columns": ["Name"]} if key == "columns" else {"cursor": {"column": "Name"}}
    with pytest.raises(ExportError, match=r"no column 'Name'; did you mean 'name'\?") as caught:
        build_select(an_export(**keys), COLUMNS, CursorRange(None, 2))
    assert caught.value.code is Code.COLUMN_MISSING and str(caught.value.key).startswith(key)


TRICKY = ["'12:30'", "'a::b %s %(x)s 100%'", "E'\\\\:x'", "'\\:name'", "$$it's :x$$", "'a' || ':b' -- :c", "'--'"]


@pytest.mark.parametrize("expression", TRICKY)
@pytest.mark.parametrize("windowed", [False, True])
def test_a_query_arrives_as_it_was_written(postgres: Postgres, expression: str, windowed: bool) -> None:
    with postgres.connect() as connection:
        expected = connection.execute(f"SELECT {expression}\n").fetchone()
    keys = {"cursor": {"column": "at"}} if windowed else {}
    export = an_export(query=f"SELECT '2026-01-01'::date AS at, {expression}\n::text AS x", **keys)
    bounds = between(datetime(2025, 1, 1), datetime(2027, 1, 1)) if windowed else None
    assert rows_of(postgres.url(), export, bounds) == [["2026-01-01", *(expected or ())]]


def test_names_no_person_would_choose(postgres: Postgres, tmp_path: Path) -> None:
    names = ['a "b"', "per%cent", "%(x)s", ":low", "é🎂", "A"]
    table = 'CREATE TABLE "odd :table" ("a ""b""" int, "per%cent" int, "%(x)s" int, ":low" int, "é🎂" int, "A" int)'
    values = 'INSERT INTO "odd :table" VALUES (1, 2, 3, 4, 5, 6)'
    for url in (postgres.url(postgres.fresh_database(table, values)), sqlite_file(tmp_path, f"{table};{values};")):
        export = an_export(table="odd :table", columns=names)
        assert rows_of(url, export) == [["1", "2", "3", "4", "5", "6"]]
        with opened(url) as source:
            assert [name for name, _ in preview(source, export, Bounds(), 5).columns] == names


def test_a_new_name_is_never_cut_off(postgres: Postgres) -> None:
    # PostgreSQL cuts identifiers at 63 bytes.
    url, long = postgres.url(postgres.fresh_database("CREATE TABLE t AS SELECT 1 AS id")), "ä" * 80
    with opened(url) as source:
        shown = preview(source, an_export(columns=[{"id": long}, "id", {"id": "again"}]), Bounds(), 5)
    assert shown.columns == ((long, "int4"), ("id", "int4"), ("again", "int4")) and shown.rows == (("1",) * 3,)


def test_two_columns_of_one_name_are_refused(postgres: Postgres) -> None:
    with pytest.raises(ExportError, match="gives two columns the name 'a'") as caught:
        rows_of(postgres.url(), an_export(query="SELECT 1 AS a, 2 AS a"))
    assert caught.value.code is Code.QUERY_INVALID


READS = [
    "SELECT 1",
    "(SELECT 1) UNION ALL (SELECT 2)",
    "WITH a AS (SELECT 1 AS delete) SELECT * FROM a -- DELETE; FROM b",
    "/* ; */ SELECT ';', 'INSERT', \"update\" FROM t",
    "VALUES (1), (2)",
    "SELECT replace(a, 'x', 'y'), last_update FROM t ORDER BY 1 LIMIT 5",
    "SELECT a, count(*) FILTER (WHERE b) OVER w FROM t WINDOW w AS (PARTITION BY c)",
]


@pytest.mark.parametrize("query", READS)
@pytest.mark.parametrize("dialect", ["postgresql", "sqlite", "mysql", "nosuch"])
def test_queries_that_read_pass(query: str, dialect: str) -> None:
    refuse_query(query, dialect)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("INSERT INTO t VALUES (1)", "begins with INSERT"),
        ("EXPLAIN ANALYZE DELETE FROM t", "begins with EXPLAIN"),
        ("WITH a AS (UPDATE t SET a = 1 RETURNING a) SELECT * FROM a", "UPDATE"),
        ("SELECT * INTO gone FROM t", "INTO"),
        ("SELECT * FROM t FOR UPDATE", "LOCK"),
        ("SELECT * FROM (SELECT * FROM t FOR SHARE) q", "LOCK"),
        ("SELECT 1; SELECT 2", "more than one statement"),
        ("SELECT 1;", "ends with a semicolon"),
        ("-- nothing", "empty"),
        ("SELECT 'a", "cannot be read"),
    ],
)
def test_queries_that_do_not_are_refused_with_the_reason(query: str, reason: str) -> None:
    with pytest.raises(ExportError, match=reason) as caught:
        refuse_query(query, "postgresql")
    assert caught.value.code is Code.QUERY_INVALID and caught.value.key == "query"


@pytest.mark.parametrize(
    "where", ["a = ')' -- )", "a IN (1, (2)) /* ; */", "a = 'DROP t; '", "\"delete\" AND a = E'\\')'", "$$;)$$ = a"]
)
def test_filters_that_stay_one_condition_pass(where: str) -> None:
    refuse_where(where, "postgresql")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("1 = 1) OR (1 = 1", "closes a parenthesis"),
        ("(1 = 1", "left open"),
        ("1 = 1; SELECT 2", "second statement"),
        ("a = 'open", "cannot be read"),
        ("EXISTS (DELETE FROM t)", "DELETE"),
    ],
)
def test_filters_that_break_out_are_refused_with_the_reason(where: str, reason: str) -> None:
    with pytest.raises(ExportError, match=reason) as caught:
        refuse_where(where, "postgresql")
    assert caught.value.code is Code.QUERY_INVALID and caught.value.key == "where"


def test_what_the_check_cannot_see_the_transaction_refuses(postgres: Postgres) -> None:
    made = postgres.fresh_database(
        "CREATE TABLE t AS SELECT 1 AS id",
        "CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM t RETURNING id'",
    )
    for query in ("SELECT wipe()", "SELECT set_config('transaction_read_only', 'off', false)"):
        with pytest.raises(ExportError) as caught:
            rows_of(postgres.url(made), an_export(query=query))
        assert caught.value.code in (Code.QUERY_INVALID, Code.SQL_ERROR)
    assert rows_of(postgres.url(made), an_export()) == [["1"]]
