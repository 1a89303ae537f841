"""A table that gets other columns under an export: the file goes out and it is told, or the run fails first."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from custom_modules import CustomModules
from plain_run import Ran, Told, means, run_plainly
from postgres_server import Postgres
from prefect_server import NIGHTLY, run_again
from pydantic import ValidationError
from workshop import Workshop

from catalog.definition import Export
from catalog.errors import Code, ExportError, Remedy
from catalog.windows import explicit_bounds
from deployments.ledger_view import accept_source, restart
from flows.report import notes
from flows.story import Story
from tasks.connect import Source
from tasks.frames import frames
from tasks.steps import extraction

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = "CREATE TABLE orders (id integer PRIMARY KEY, customer text, updated_at timestamp, total numeric(10,2))"
ROWS = [f"INSERT INTO orders VALUES ({hour}, 'a', '2026-03-01 {hour}:30:00', {hour}.5)" for hour in range(11, 20)]
LAST = "other columns than in orders_12.csv of 2026-03-01 12:00 UTC: "
FAIL = {"on_schema_change": "fail"}


def at(hour: float) -> datetime:
    return NOON + timedelta(hours=hour)


class Table:
    """The table `orders` of a database of one kind, and an export of it that runs every hour from noon on."""

    def __init__(self, workshop: Workshop, execute: Callable[[str], object]) -> None:
        self.workshop, self._execute = workshop, execute
        self.export_id = workshop.id()
        self.sql(TABLE, *ROWS)

    def sql(self, *statements: str) -> None:
        for statement in statements:
            self._execute(statement)

    def define(self, **keys: Any) -> None:
        """A full export, but for the keys given."""
        file = {"name": "orders_{date:%H}.csv", **keys.pop("file", {})}
        self.workshop.export(self.export_id, **{"file": file, **keys})

    def incremental(self, **keys: Any) -> None:
        cursor = {"column": "updated_at", "lag": "0s", "lookback": "0s"}
        self.define(**{"type": "incremental", "cursor": cursor, **keys})

    def run(self, hour: float, run_id: str | None = None) -> Ran:
        return run_plainly(self.workshop, self.export_id, at(hour), run_id)

    def told(self, hour: float) -> list[str]:
        """What a run warns of, which is what its report notes."""
        ran = self.run(hour)
        assert notes(self.workshop.ledger, ran.run_id) == ran.told.warnings
        return ran.told.warnings

    def refused(self, hour: float, run_id: str | None = None) -> ExportError:
        before = self.workshop.files()
        with pytest.raises(ExportError) as caught:
            self.run(hour, run_id)
        assert caught.value.code is Code.SCHEMA_CHANGED and self.workshop.files() == before
        return caught.value

    def head(self, name: str) -> str:
        return self.workshop.text(name).split("\n", 1)[0]


@pytest.fixture(params=["sqlite", "postgresql"])
def table(request: pytest.FixtureRequest, workshop: Workshop) -> Iterator[Table]:
    if request.param == "postgresql":
        yield from in_postgres(workshop, request.getfixturevalue("postgres"))
        return
    with closing(sqlite3.connect(workshop.sqlite(script=""), isolation_level=None)) as connection:
        yield Table(workshop, connection.execute)


@pytest.fixture
def in_server(workshop: Workshop, postgres: Postgres) -> Iterator[Table]:
    yield from in_postgres(workshop, postgres)


def in_postgres(workshop: Workshop, postgres: Postgres) -> Iterator[Table]:
    database = postgres.fresh_database()
    with pytest.MonkeyPatch.context() as patched, postgres.connect(database) as connection:
        patched.setenv("CRM_PASSWORD", postgres.password)
        workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
        # Its statements are the tests' own.
        yield Table(workshop, lambda statement: connection.execute(statement.encode()))


DROPPED, EMAIL = "ALTER TABLE orders DROP COLUMN customer", "ALTER TABLE orders ADD COLUMN email text"
RETYPED = ["ALTER TABLE orders DROP COLUMN total", "ALTER TABLE orders ADD COLUMN total text"]
CHANGES = {
    "added": ([EMAIL], "added email"),
    "removed": ([DROPPED], "removed customer"),
    "retyped": (RETYPED, "retyped total (decimal128(10, 2) -> string)"),
    "reordered": (
        [DROPPED, "ALTER TABLE orders ADD COLUMN customer text"],
        "reordered: id, updated_at, total, customer",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_file_goes_out_and_the_change_is_told_once(table: Table, change: str) -> None:
    statements, words = CHANGES[change]
    table.define()
    assert table.told(0) == [], "the first has none before it"
    table.sql(*statements)
    assert table.told(1) == [f"SCHEMA_CHANGED: {LAST}{words}"]
    assert table.told(2) == []
    assert len(table.workshop.files()) == 3


@pytest.mark.parametrize("change", CHANGES)
def test_a_run_that_is_to_fail_delivers_nothing_until_a_person_accepts(table: Table, change: str) -> None:
    statements, words = CHANGES[change]
    table.define(**FAIL)
    table.run(0)
    table.sql(*statements)
    run_id = str(uuid.uuid4())
    for _ in range(2):
        error = table.refused(1, run_id)
        assert error.message == f"{table.export_id} has {LAST}{words}" and error.code.remedy is Remedy.DECIDE
        assert f"`exports ledger {table.export_id} --accept`" in (error.hint or "")
    table.workshop.run("ledger", table.export_id, "--accept")
    assert table.run(1, run_id).told.warnings == [f"SCHEMA_CHANGED: {LAST}{words}"]
    assert sorted(table.workshop.files()) == ["orders_12.csv", "orders_13.csv"]
    assert table.told(2) == []
    table.sql("ALTER TABLE orders ADD COLUMN later text")
    assert "orders_14.csv" in table.refused(3).message, "what was accepted is the change that came before it"


def test_an_incremental_export_goes_on_where_it_failed(table: Table) -> None:
    table.incremental(**FAIL)
    table.run(0)
    table.sql(EMAIL)
    table.refused(1)
    table.refused(2)
    accept_source(table.workshop.ledger, table.export_id)
    table.run(3)
    assert [table.head(f"orders_{hour}.csv").count(",") for hour in (12, 13, 14, 15)] == [3, 4, 4, 4]
    assert table.told(4) == []


def test_an_edited_definition_is_a_decision_for_the_window_that_failed_too(table: Table) -> None:
    table.incremental(**FAIL)
    table.run(0)
    table.sql(EMAIL, *RETYPED)
    table.refused(1)
    table.incremental(columns=["id", "total"], **FAIL)
    assert table.told(2) == []
    assert {table.head(f"orders_{hour}.csv") for hour in (13, 14)} == {"id,total"}
    table.sql("ALTER TABLE orders DROP COLUMN total", "ALTER TABLE orders ADD COLUMN total integer")
    assert "orders_14.csv" in table.refused(3).message


def test_columns_that_are_named_are_not_touched_by_others(table: Table) -> None:
    table.define(columns=["id", {"customer": "who"}], **FAIL)
    table.run(0)
    table.sql(EMAIL, *RETYPED)
    assert table.told(1) == []


def test_a_begun_generation_has_nothing_to_be_compared_with(table: Table) -> None:
    table.incremental(**FAIL)
    table.run(0)
    table.sql(EMAIL)
    restart(table.workshop.ledger, table.workshop.load(table.export_id), "start")
    assert table.told(1) == []


def test_the_columns_of_a_query(table: Table) -> None:
    table.define(table=None, query="SELECT * FROM orders")
    table.run(0)
    table.sql(EMAIL)
    assert table.told(1) == [f"SCHEMA_CHANGED: {LAST}added email"]


def test_a_type_that_only_values_say_is_not_compared(table: Table) -> None:
    # SQLite says nothing of an expression; of nothing but NULL it would be a text.
    table.define(table=None, query="SELECT id, CASE WHEN id > 19 THEN 5 END AS five FROM orders", **FAIL)
    table.run(0)
    table.sql("INSERT INTO orders VALUES (20, NULL, NULL, NULL)", "DELETE FROM orders WHERE id < 20")
    assert table.told(1) == [] and table.workshop.text("orders_13.csv") == "id,five\n20,5\n"


def test_what_stands_in_the_spool_is_not_compared_again(table: Table) -> None:
    table.define(**FAIL)
    table.run(0)
    away = table.workshop.folder / "away"
    table.workshop.drop.rename(away)
    run_id = str(uuid.uuid4())
    with pytest.raises(ExportError):
        table.run(1, run_id)
    table.sql(EMAIL)
    away.rename(table.workshop.drop)
    assert table.run(1, run_id).told.warnings == []
    assert table.head("orders_13.csv") == "id,customer,updated_at,total"
    assert "orders_13.csv" in table.refused(2).message


def test_a_window_that_is_read_again_is_compared_with_the_same_file(table: Table) -> None:
    table.define(**FAIL)
    table.run(0)
    table.sql(EMAIL)
    accept_source(table.workshop.ledger, table.export_id)
    away = table.workshop.folder / "away"
    table.workshop.drop.rename(away)
    run_id = str(uuid.uuid4())
    with pytest.raises(ExportError) as caught:
        table.run(1, run_id)
    assert caught.value.code is Code.TARGET_DENIED
    (spooled,) = (table.workshop.folder / "spool").glob(f"{table.export_id}/*/*")
    spooled.unlink()
    away.rename(table.workshop.drop)
    assert table.run(1, run_id).told.warnings == [f"SCHEMA_CHANGED: {LAST}added email"]
    assert table.told(2) == []


@pytest.mark.parametrize(("empty", "told"), [("header", 1), ("zero_bytes", 0), ("skip", 0)])
def test_a_window_without_rows_has_columns_where_its_file_has(table: Table, empty: str, told: int) -> None:
    table.incremental(file={"empty": empty})
    table.run(0)
    table.sql("DELETE FROM orders WHERE id = 12", EMAIL)
    assert len(table.told(1)) == told
    assert len(table.told(2)) == 1 - told, "whichever file is the first with the new columns"
    assert table.told(3) == []


def test_a_file_that_one_target_has_counts(table: Table) -> None:
    table.workshop.target("other", str(table.workshop.folder / "other"))
    table.define(target=["drop", "other"])
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    with pytest.raises(ExportError):
        table.run(0, first)
    table.sql(EMAIL)
    with pytest.raises(ExportError):
        table.run(1, second)
    assert notes(table.workshop.ledger, first) == []
    assert notes(table.workshop.ledger, second) == [f"SCHEMA_CHANGED: {LAST}added email"]
    assert sorted(table.workshop.files()) == ["orders_12.csv", "orders_13.csv"]


def test_what_was_only_read_is_no_measure(table: Table) -> None:
    table.incremental()
    table.run(0)
    table.sql(EMAIL)
    table.workshop.drop.rename(table.workshop.folder / "away")
    for hour in (1, 2):
        run_id = str(uuid.uuid4())
        with pytest.raises(ExportError):
            table.run(hour, run_id)
        assert notes(table.workshop.ledger, run_id) == [f"SCHEMA_CHANGED: {LAST}added email"]


def test_a_window_that_one_target_has_is_not_compared_with_itself(table: Table) -> None:
    other = table.workshop.folder / "other"
    other.mkdir()
    table.workshop.target("other", str(other))
    table.define(target=["drop", "other"])
    table.run(0)
    table.sql(EMAIL)
    away, run_id = other.rename(table.workshop.folder / "away"), str(uuid.uuid4())
    with pytest.raises(ExportError):
        table.run(1, run_id)
    (spooled,) = (table.workshop.folder / "spool").glob(f"{table.export_id}/*/*")
    spooled.unlink()
    away.rename(other)
    assert table.run(1, run_id).told.warnings == [f"SCHEMA_CHANGED: {LAST}added email"]
    assert table.told(2) == []


def test_a_backfill_is_told_of_the_change_and_the_schedule_still_is(table: Table) -> None:
    table.incremental()
    table.run(0)
    table.sql(EMAIL)
    span = explicit_bounds(table.workshop.load(table.export_id), at(-2), at(-0.1), NOON)
    for _ in range(2):
        ran = run_plainly(table.workshop, table.export_id, at(0.5), explicit=span)
        assert ran.told.warnings == [f"SCHEMA_CHANGED: {LAST}added email"]
    assert table.told(1) == [f"SCHEMA_CHANGED: {LAST}added email"]
    assert table.told(2) == []


@pytest.mark.parametrize(
    "file", [{"partitions": 2}, {"partitions": 2, "name": "orders_{date:%H}.csv"}, {"max_rows": 2}], ids=str
)
def test_parts_and_partitions_are_one_file_in_this(in_server: Table, file: dict[str, Any]) -> None:
    in_server.define(**FAIL, file={"name": "orders_{date:%H}_{part}.csv", **file})
    in_server.run(0)
    first = sorted(in_server.workshop.files())[0]
    in_server.sql("ALTER TABLE orders ALTER id TYPE bigint, ALTER customer TYPE varchar(9)")
    assert in_server.refused(1).message == (
        f"{in_server.export_id} has other columns than in {first} of 2026-03-01 12:00 UTC: retyped id (int32 -> int64)"
    ), "a text of another length is a text"
    accept_source(in_server.workshop.ledger, in_server.export_id)
    assert len(in_server.told(2)) == 1 and in_server.told(3) == []


def test_partitions_without_rows_have_no_columns_where_they_have_no_file(in_server: Table) -> None:
    in_server.define(file={"name": "orders_{date:%H}.csv", "partitions": 2, "empty": "skip"})
    in_server.run(0)
    in_server.sql("DELETE FROM orders", EMAIL)
    assert in_server.told(1) == []
    in_server.sql("INSERT INTO orders VALUES (20)")
    assert in_server.told(2) == [f"SCHEMA_CHANGED: {LAST}added email"]


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet", "xlsx"])
def test_every_way_of_reading_sees_the_same_columns(in_server: Table, format: str) -> None:
    name = {"name": f"orders_{{date:%H}}.{format}", "format": format}
    in_server.sql("ALTER TABLE orders ADD note json, ADD worth numeric, ADD tags text[]")
    # The second window looks back, which no bulk path does.
    in_server.incremental(file=name, cursor={"column": "updated_at", "lag": "0s", "lookback": "30m"})
    in_server.run(0)
    assert in_server.told(1) == []
    in_server.sql("ALTER TABLE orders ALTER note TYPE text, ALTER worth TYPE text, ALTER tags TYPE text")
    (told,) = in_server.told(2)
    assert told.endswith("retyped note (json -> string), worth (number -> string)")


def test_a_rewritten_table_that_was_accepted_is_still_told_of(in_server: Table) -> None:
    in_server.define(type="incremental", cursor={"mode": "xid"}, **FAIL)
    in_server.run(0)
    in_server.sql("ALTER TABLE orders ALTER id TYPE bigint")
    with pytest.raises(ExportError) as caught:
        in_server.run(1)
    assert caught.value.code is Code.SOURCE_REWRITTEN
    accept_source(in_server.workshop.ledger, in_server.export_id)
    assert in_server.told(2) == [f"SCHEMA_CHANGED: {LAST}retyped id (int32 -> int64)"]


def test_what_a_transform_makes_is_compared(table: Table, custom_modules: CustomModules) -> None:
    module = f"changes_{table.workshop.suffix}"
    custom_modules.write(module, "def same(batch):\n    return batch.assign(n=1)\n")
    table.incremental(type="incremental_custom", transform=f"{module}:same")
    table.run(0)
    custom_modules.write(module, "def same(batch):\n    return batch.assign(n='x', m=1).drop(columns='total')\n")
    assert table.told(1) == [f"SCHEMA_CHANGED: {LAST}added m; removed total"], "the type of n is its values'"
    assert table.told(2) == []


def test_what_a_custom_export_writes_is_compared(table: Table) -> None:
    table.define(type="custom", table=None, **FAIL)
    export, ledger = table.workshop.load(table.export_id), table.workshop.ledger
    ledger.register(export)
    wanted = ["id, total"]

    def rows(source: Source) -> Iterator[pd.DataFrame]:
        yield from frames(source, f"SELECT {wanted[0]} FROM orders")

    def run(hour: float) -> None:
        Story(export, ledger, str(uuid.uuid4()), at(hour), means(Told()), extraction(rows)).deliver(None)

    run(0)
    wanted[0] = "total, id"
    with pytest.raises(ExportError, match="reordered: total, id"):
        run(1)
    assert sorted(table.workshop.files()) == ["orders_12.csv"]


def test_the_key_changes_no_definition_that_does_not_say_fail(workshop: Workshop) -> None:
    workshop.sqlite()
    plain = workshop.load(workshop.export(workshop.id("plain")))
    said = workshop.load(workshop.export(workshop.id("plain"), on_schema_change="deliver"))
    assert plain.hash == said.hash and "on_schema_change" not in plain.frozen()
    assert workshop.load(workshop.export(workshop.id("plain"), **FAIL)).hash != plain.hash
    with pytest.raises(ValidationError, match="a one shot has none"):
        Export.model_validate({**plain.frozen(), "type": "one_shot", **FAIL})


def test_a_run_in_prefect_fails_is_accepted_and_relaunched(prefect: Workshop) -> None:
    prefect.sqlite()
    export_id = prefect.export(schedule=NIGHTLY, **FAIL)
    prefect.run("activate", export_id)
    assert prefect.json("run", export_id)["notes"] == []
    prefect.sqlite(script=EMAIL)
    failed = prefect.json("run", export_id, exit_code=1)
    assert failed["error_code"] == "SCHEMA_CHANGED" and failed["files"] == [] and not failed["relaunchable"]
    assert failed["error_message"].endswith("added email") and "--accept" in failed["error_hint"]
    prefect.run("ledger", export_id, "--accept")
    prefect.run("relaunch", export_id)
    report = run_again(prefect, failed["run_id"], export_id)
    (note,) = report["notes"]
    assert report["status"] == "succeeded" and note.startswith("SCHEMA_CHANGED: other columns than in orders.csv of ")
    assert report["message"].endswith(f"to drop; {note}") and prefect.text("orders.csv").startswith("id,customer,total")
    assert prefect.json("run", export_id)["notes"] == []
