"""Mode `lag`: a row that comes after its window was read is delivered once by a later one, or counted."""

from __future__ import annotations

import csv
import sqlite3
import uuid
from collections.abc import Iterable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import explicit_bounds
from deployments.ledger_view import resolve_window
from tasks.ledger.memory import memory_before

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, updated_at {timestamp} NOT NULL)"
LAG = {"column": "updated_at", "lag": "1m", "lookback": "15m"}


class Source:
    """A table that rows come into, in SQLite or PostgreSQL."""

    def __init__(self, execute: Any) -> None:
        self._execute = execute

    def add(self, number: int, at: datetime) -> None:
        self._execute(f"INSERT INTO orders VALUES ({number}, 'c{number}', '{at:%Y-%m-%d %H:%M:%S}')")

    def touch(self, number: int, at: datetime) -> None:
        self._execute(f"UPDATE orders SET updated_at = '{at:%Y-%m-%d %H:%M:%S}' WHERE id = {number}")

    def remove(self, number: int) -> None:
        self._execute(f"DELETE FROM orders WHERE id = {number}")


@pytest.fixture(params=["sqlite", "postgresql"])
def source(request: pytest.FixtureRequest, workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> Iterable[Source]:
    if request.param == "sqlite":
        path = workshop.sqlite(script=TABLE.format(timestamp="DATETIME"))
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            yield Source(connection.execute)
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        database = postgres.fresh_database(TABLE.format(timestamp="timestamp"))
        monkeypatch.setenv("CRM_PASSWORD", postgres.password)
        workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
        with postgres.connect(database) as server:
            yield Source(server.execute)


@pytest.fixture(params=["csv", "parquet"])
def export_id(request: pytest.FixtureRequest, workshop: Workshop, source: Source) -> str:
    file = {"name": "orders_{date:%Y%m%dT%H%M%S}." + request.param, "format": request.param}
    return workshop.incremental(cursor=LAG, file=file)


def delivered(workshop: Workshop) -> dict[str, list[int]]:
    """The ids in each file, by name."""
    found = {}
    for path in sorted(workshop.drop.iterdir()):
        if path.suffix == ".csv":
            with path.open(newline="") as file:
                found[path.name] = [int(row["id"]) for row in csv.DictReader(file)]
        else:
            found[path.name] = _parquet_ids(path)
    return found


def _parquet_ids(path: Path) -> list[int]:
    import pyarrow.parquet as pq

    return [int(number) for number in pq.read_table(path)["id"].to_pylist()]


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


def test_a_late_row_is_delivered_once_by_the_next_run(workshop: Workshop, source: Source, export_id: str) -> None:
    source.add(1, minutes(-10))
    source.add(2, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    source.add(3, minutes(-3))  # stamped within the first window, committed after it was read
    source.add(4, minutes(5))
    second = run_plainly(workshop, export_id, minutes(10))
    third = run_plainly(workshop, export_id, minutes(20))
    assert [sorted(ids) for ids in delivered(workshop).values()] == [[1, 2], [3, 4], []]
    assert second.told.warnings == ["1 of the rows came after an earlier window was read"] and not third.told.warnings
    window = workshop.ledger.window_of_run(second.run_id)
    assert window is not None and workshop.ledger.findings(window.id).late == 1


def test_an_update_is_a_new_row(workshop: Workshop, source: Source, export_id: str) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    source.touch(1, minutes(3))
    run_plainly(workshop, export_id, minutes(10))
    run_plainly(workshop, export_id, minutes(20))
    assert list(delivered(workshop).values()) == [[1], [1], []]


def test_many_small_windows_look_back_over_each_other(workshop: Workshop, source: Source, export_id: str) -> None:
    source.add(0, minutes(-60))
    for number in range(1, 20):
        source.add(number, minutes(number - 1.5))
        if number > 8:
            source.add(100 + number, minutes(number - 8))  # each one seven windows late
        run_plainly(workshop, export_id, minutes(number))
    everything = [number for ids in delivered(workshop).values() for number in ids]
    assert sorted(everything) == [*range(0, 20), *range(109, 120)]


@pytest.mark.parametrize("later", [10, 60], ids=["shorter than the lookback", "longer"])
def test_a_window_that_is_read_again_finds_the_same_rows(
    workshop: Workshop, source: Source, export_id: str, later: int
) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    source.add(2, minutes(-3))
    source.add(3, minutes(5))
    workshop.target("drop", str(workshop.folder / "gone"))
    run_id = "11111111-1111-1111-1111-111111111111"
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, minutes(later), run_id)
    for spooled in (workshop.folder / "spool").glob(f"{export_id}/*/*"):
        spooled.unlink()
    workshop.target("drop", str(workshop.drop))
    run_plainly(workshop, export_id, minutes(later), run_id)
    run_plainly(workshop, export_id, minutes(later + 10))
    assert [sorted(ids) for ids in delivered(workshop).values()] == [[1], [2, 3], []]
    source.add(4, minutes(-3))
    (warning,) = run_plainly(workshop, export_id, minutes(60 * 24)).told.warnings
    assert warning.startswith("LATE_ROWS: 1 rows"), "what was found twice is counted once"


def test_what_was_extracted_ahead_does_not_repeat_a_window_that_is_read_again(
    workshop: Workshop, source: Source, export_id: str
) -> None:
    source.add(1, minutes(-2))
    workshop.target("drop", str(workshop.folder / "gone"))
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, NOON)
    source.add(2, minutes(-3))
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, minutes(10))
    lost = workshop.ledger.outstanding(export_id)[0]
    for spooled in (workshop.folder / "spool" / export_id / lost.id).iterdir():
        spooled.unlink()
    workshop.target("drop", str(workshop.drop))
    run_plainly(workshop, export_id, minutes(20))
    assert sorted(number for ids in delivered(workshop).values() for number in ids) == [1, 2]


def test_a_longer_lookback_does_not_repeat_what_was_delivered_before(workshop: Workshop, source: Source) -> None:
    export_id = workshop.incremental(cursor={**LAG, "lookback": "2m"})
    source.add(1, minutes(-30))
    source.add(2, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    workshop.incremental(export_id, cursor={**LAG, "lookback": "1h"})
    source.add(3, minutes(-2.5))
    run_plainly(workshop, export_id, minutes(10))
    run_plainly(workshop, export_id, minutes(20))
    assert list(delivered(workshop).values()) == [[1, 2], [3], []]


def test_rows_later_than_the_lookback_are_counted_by_the_next_days_audit(
    workshop: Workshop, source: Source, export_id: str
) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    run_plainly(workshop, export_id, minutes(60))
    source.add(2, minutes(-5))
    source.add(3, minutes(-6))
    audited = run_plainly(workshop, export_id, minutes(60 * 24))
    assert list(delivered(workshop).values()) == [[1], [], []]
    (warning,) = audited.told.warnings
    assert warning.startswith("LATE_ROWS: 2 rows came later") and "exports backfill" in warning
    again = run_plainly(workshop, export_id, minutes(60 * 48))
    assert again.told.warnings == [], "what was counted once is not counted again"


def test_rows_found_by_the_lookback_are_not_counted_by_the_audit(
    workshop: Workshop, source: Source, export_id: str
) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    source.add(2, minutes(-3))
    run_plainly(workshop, export_id, minutes(5))
    source.remove(1)
    audited = run_plainly(workshop, export_id, minutes(60 * 24))
    assert audited.told.warnings == []


def test_an_export_that_runs_once_a_month_looks_back_and_counts_too(
    workshop: Workshop, source: Source, export_id: str
) -> None:
    source.add(1, minutes(-10))
    run_plainly(workshop, export_id, NOON)
    source.add(2, minutes(-5))
    run_plainly(workshop, export_id, NOON + timedelta(days=31))
    source.add(3, minutes(-4))
    third = run_plainly(workshop, export_id, NOON + timedelta(days=62))
    assert list(delivered(workshop).values()) == [[1], [2], []]
    assert [warning.split(":")[1][:7] for warning in third.told.warnings] == [" 1 rows"]


@pytest.mark.parametrize("before", [{"cursor": {**LAG, "key": ["id", "customer"]}}, {"where": "id < 5"}])
def test_another_key_or_filter_makes_no_earlier_row_look_late(
    workshop: Workshop, source: Source, before: dict[str, Any]
) -> None:
    export_id = workshop.incremental(**{"cursor": LAG, **before})
    source.add(1, minutes(-2))
    source.add(7, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    workshop.incremental(export_id, cursor=LAG)
    runs = [run_plainly(workshop, export_id, at) for at in (minutes(5), minutes(60 * 24))]
    assert list(delivered(workshop).values())[1:] == [[], []]
    assert [run.told.warnings for run in runs] == [[], []]


def test_a_window_that_was_given_up_hides_none_before_it(workshop: Workshop, source: Source, export_id: str) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    window = workshop.allot(export_id, str(uuid.uuid4()), minutes(5))
    resolve_window(workshop.ledger, export_id, window.id, "abandon")
    source.add(2, minutes(-3))
    run_plainly(workshop, export_id, minutes(10))
    assert list(delivered(workshop).values()) == [[1], [2]]


def test_a_window_that_was_given_up_for_one_target_hides_nothing_from_the_others(
    workshop: Workshop, source: Source
) -> None:
    workshop.target("partner", str(workshop.folder / "gone"))
    file = {"name": "orders_{date:%Y%m%dT%H%M%S}.csv"}
    export_id = workshop.incremental(cursor=LAG, file=file, target=["drop", "partner"])
    source.add(1, minutes(-2))
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, NOON)
    (window,) = workshop.ledger.windows(export_id)
    resolve_window(workshop.ledger, export_id, window.id, "abandon", "partner")
    source.add(2, minutes(-3))
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, minutes(10))
    assert list(delivered(workshop).values()) == [[1], [2]]


@pytest.mark.parametrize("later", [10, 90])
def test_a_window_that_was_given_up_is_delivered_once_after_all(
    workshop: Workshop, source: Source, export_id: str, later: int
) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    source.add(2, minutes(3))
    workshop.target("drop", str(workshop.folder / "gone"))
    run_id = str(uuid.uuid4())
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, minutes(5), run_id)
    workshop.target("drop", str(workshop.drop))
    given_up = workshop.ledger.window_of_run(run_id)
    assert given_up is not None
    resolve_window(workshop.ledger, export_id, given_up.id, "abandon")
    source.add(3, minutes(3.5))
    run_plainly(workshop, export_id, minutes(later))
    resolve_window(workshop.ledger, export_id, given_up.id, "again")
    run_plainly(workshop, export_id, minutes(later + 10))
    assert [sorted(ids) for ids in delivered(workshop).values()] == [[1], [2, 3], [], []]


def test_a_failed_backfill_does_not_keep_keys_for_ever(workshop: Workshop, source: Source, export_id: str) -> None:
    source.add(1, minutes(-2))
    run_plainly(workshop, export_id, NOON)
    workshop.target("drop", str(workshop.folder / "gone"))
    span = explicit_bounds(workshop.load(export_id), minutes(-10), minutes(-5), NOON)
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, minutes(1), explicit=span)
    workshop.target("drop", str(workshop.drop))
    run_plainly(workshop, export_id, minutes(60))
    run_plainly(workshop, export_id, minutes(120))
    window = workshop.allot(export_id, str(uuid.uuid4()), minutes(180))
    assert memory_before(workshop.ledger.engine, window, timedelta(minutes=15)).keys == frozenset()


def test_a_table_without_a_key_needs_one(workshop: Workshop) -> None:
    workshop.sqlite(script="CREATE TABLE orders (id INTEGER, updated_at DATETIME UNIQUE);")
    export_id = workshop.incremental(cursor=LAG)
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON)
    assert caught.value.code is Code.KEY_MISSING and "lookback: 0s" in (caught.value.hint or "")
    (problem,) = workshop.json("check", export_id, exit_code=1)
    assert problem["code"] == "KEY_MISSING" and problem["key"] == "cursor.key"
    workshop.incremental(export_id, cursor={**LAG, "key": ["id"]})
    run_plainly(workshop, export_id, minutes(1))
    workshop.incremental(export_id, cursor={"column": "updated_at", "lookback": "0s"})
    run_plainly(workshop, export_id, minutes(2))
    workshop.incremental(export_id, cursor={**LAG, "key": ["idd"]})
    (problem,) = workshop.json("check", export_id, exit_code=1)
    assert problem["code"] == "COLUMN_MISSING" and "did you mean 'id'" in problem["message"]


def test_a_window_ends_in_the_past_of_the_databases_own_clock(
    workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    database = postgres.fresh_database(TABLE.format(timestamp="timestamp"))
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    export_id = workshop.incremental(cursor=LAG)
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, datetime.now(UTC) + timedelta(minutes=5))
    assert caught.value.code is Code.CLOCK_BEHIND and caught.value.code.tried_again
    assert "the clock of database crm shows" in caught.value.message
