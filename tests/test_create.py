"""`exports create`: everything as options in a script, or asked for on a terminal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pexpect
import pytest
from postgres_server import Postgres
from sources import an_export, opened
from workshop import Workshop

from tasks.source.explore import cursor_choices, table_names
from tasks.source.read import source_columns


def test_a_script_gives_everything_as_options(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.id()
    found = workshop.json(
        *("create", export_id, "--name", "Orders, new ones", "--type", "incremental", "--database", "crm"),
        *("--table", "orders", "--column", "id", "--column", "total:amount", "--where", "total > 1"),
        *("--cursor", "updated_at", "--file-name", "orders_{date:%Y%m%dT%H%M%S}.csv", "--target", "drop"),
        *("--cron", "0 2 * * *", "--timezone", "Europe/Brussels"),
        *("--set", "file.csv.delimiter=;", "--set", "retries=1"),
    )
    assert found["definition"] == {
        "id": export_id,
        "name": "Orders, new ones",
        "type": "incremental",
        "database": "crm",
        "table": "orders",
        "columns": ["id", {"total": "amount"}],
        "where": "total > 1",
        "cursor": {"column": "updated_at"},
        "file": {"name": "orders_{date:%Y%m%dT%H%M%S}.csv", "csv": {"delimiter": ";"}},
        "target": "drop",
        "schedule": {"cron": "0 2 * * *", "timezone": "Europe/Brussels"},
        "retries": 1,
    }
    assert workshop.load(export_id).frozen() == found["definition"]
    assert workshop.json("check", export_id) == []


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--table", "ordres", "--file-name", "o.csv", "--target", "drop"], "COLUMN_MISSING"),
        (["--table", "orders", "--file-name", "o.csv"], "DEFINITION_INVALID"),
        (
            ["--table", "orders", "--file-name", "o.csv", "--target", "drop", "--set", "fiel.x=1"],
            "DEFINITION_INVALID",
        ),
    ],
)
def test_what_check_refuses_is_not_written(workshop: Workshop, options: list[str], code: str) -> None:
    workshop.sqlite()
    fixed = ["--type", "periodic_full", "--database", "crm"]
    error = workshop.json("create", workshop.id(), *fixed, *options, exit_code=1)["error"]
    assert (error["code"], error["file"], error["line"]) == (code, None, None)
    assert not list((workshop.catalog_folder / "exports").iterdir())


def test_set_reads_values_as_the_catalog_does(workshop: Workshop) -> None:
    workshop.sqlite()
    options = ["--type", "periodic_full", "--database", "crm", "--table", "orders", "--file-name", "o.csv"]
    options += ["--target", "drop", "--cron", "0 2 * * *"]
    found = workshop.json("create", workshop.id(), *options, "--set", "expect_by=12:30", "--set", "file.csv.null=no")
    assert (found["definition"]["expect_by"], found["definition"]["file"]["csv"]) == ("12:30", {"null": "no"})
    for broken in (["where=a: b: c"], ["file=o.csv", "file.format=csv"], ["retries"]):
        words = [*options, *(f"--set={each}" for each in broken)]
        assert "--set" in workshop.run("create", workshop.id("no"), *words, exit_code=2).stderr
    assert len(list((workshop.catalog_folder / "exports").iterdir())) == 1


def test_an_export_that_is_there_is_left_alone(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.export()
    before = (workshop.catalog_folder / "exports" / f"{export_id}.yaml").read_bytes()
    options = ["--type", "periodic_full", "--database", "crm", "--table", "orders", "--file-name", "o.csv"]
    error = workshop.json("create", export_id, *options, "--target", "drop", exit_code=1)["error"]
    assert error["code"] == "DEFINITION_DUPLICATE"
    assert (workshop.catalog_folder / "exports" / f"{export_id}.yaml").read_bytes() == before


def asked(workshop: Workshop, export_id: str, *options: str) -> pexpect.spawn[str]:
    command = Path(sys.executable).with_name("exports")
    environment = {
        **os.environ,
        "EXPORTS_CATALOG": str(workshop.catalog_folder),
        "EXPORTS_LEDGER": workshop.ledger.url,
        "TERM": "dumb",
    }
    return pexpect.spawn(str(command), ["create", export_id, *options], env=environment, encoding="utf-8", timeout=60)


def test_on_a_terminal_it_asks_its_way_through(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.id()
    talk = asked(workshop, export_id)
    for question, answer in [
        ("Name", "Orders of the day"),
        ("Database", ""),
        ("Type", "incremental"),
        ("Table", "ordres"),
        ("ordres is none of them", "orders"),
        # The columns are shown with types and values.
        (r"NUMERIC\(10, ?2\).*Columns", "id, total:amount, updated_at"),
        ("Only rows where", "nonsense >"),
        ("SQL_ERROR.*Only rows where", "total > 5"),
        ("lag updated_at: .*What is new is known by", "1"),
        ("Format", ""),
        ("File name", ""),
        ("Target", "1"),
        ("When", "61 * * * *"),
        ("In the time zone", ""),
        ("no cron expression.*When", "0 5 * * *"),
        ("In the time zone", "Europe/Brussels"),
        ("next: .*Write it", "y"),
    ]:
        talk.expect(f"(?s){question}")
        talk.sendline(answer)
    talk.expect("is written")
    talk.wait()
    assert workshop.load(export_id).frozen() == {
        "id": export_id,
        "name": "Orders of the day",
        "type": "incremental",
        "database": "crm",
        "table": "orders",
        "columns": ["id", {"total": "amount"}, "updated_at"],
        "where": "total > 5",
        "cursor": {"column": "updated_at"},
        "file": {"name": f"{export_id}_{{date:%Y%m%dT%H%M%S}}.csv"},
        "target": "drop",
        "schedule": {"cron": "0 5 * * *", "timezone": "Europe/Brussels"},
    }


def test_a_no_at_the_end_writes_nothing(workshop: Workshop) -> None:
    workshop.sqlite()
    talk = asked(workshop, workshop.id())
    for question, answer in [
        *[(question, "") for question in ("Name", "Database")],
        ("Type", "one_shot"),
        *[(question, "") for question in ("Table", "Columns", "Only rows", "Format", "File name")],
        ("Target", "drop"),
        ("Write it", "n"),
    ]:
        talk.expect(question)
        talk.sendline(answer)
    talk.expect(pexpect.EOF)
    assert not list((workshop.catalog_folder / "exports").iterdir())


def test_an_option_that_cannot_be_is_said_before_anything_is_asked_of_the_rows(workshop: Workshop) -> None:
    workshop.sqlite()
    options = ["--name", "O", "--database", "crm", "--type", "one_shot", "--table", "orders"]
    talk = asked(workshop, workshop.id(), *options, "--column", "id:a", "--column", "total:a")
    talk.expect("DEFINITION_INVALID: .*'a' would stand twice")


def test_what_postgresql_offers(postgres: Postgres) -> None:
    made = postgres.fresh_database(
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.orders (id int PRIMARY KEY, created_at timestamptz, updated_at timestamptz, changed xid8)",
        "CREATE INDEX ON sales.orders (updated_at)",
        "CREATE VIEW latest AS SELECT * FROM sales.orders",
    )
    with opened(postgres.url(made)) as source:
        assert table_names(source) == ["latest", "sales.orders"]
        table = an_export(table="sales.orders")
        offered = cursor_choices(source, table, source_columns(source, table))
        assert [choice.cursor for choice in offered] == [
            {"mode": "xid", "column": "changed"},
            {"mode": "xid"},
            *({"mode": mode, "column": name} for name in ("updated_at", "created_at") for mode in ("guarded", "lag")),
        ]
        unindexed = {choice.cursor.get("column") for choice in offered if "without an index" in choice.reason}
        assert unindexed == {"changed", "created_at"}
        for rows in (an_export(table="latest"), an_export(query="SELECT * FROM latest")):
            offered = cursor_choices(source, rows, source_columns(source, rows))
            # Neither transaction ids, nor a key by which late rows could be told apart.
            assert [(choice.cursor["mode"], choice.cursor.get("lookback")) for choice in offered] == [
                ("guarded", None),
                ("lag", "0s"),
            ] * 2
