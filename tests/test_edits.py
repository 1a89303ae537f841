"""Definitions, sources and minds that change while windows are outstanding."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import explicit_bounds
from deployments.ledger_view import resolve_window, restart
from tasks.allotting import allot

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at DATETIME NOT NULL);"


def minutes(number: float) -> datetime:
    return NOON + timedelta(minutes=number)


@pytest.fixture
def rows(workshop: Workshop) -> Path:
    path = workshop.sqlite(script=TABLE)
    with closing(sqlite3.connect(path)) as connection, connection:
        for number, at in ((1, minutes(-10)), (2, minutes(-4))):
            connection.execute("INSERT INTO orders VALUES (?, ?)", (number, f"{at:%Y-%m-%d %H:%M:%S}"))
    return path


def test_a_file_in_the_way_is_replaced_once_the_definition_says_so(workshop: Workshop, rows: Path) -> None:
    file = {"name": "orders_{date:%H%M}.csv"}
    export_id = workshop.incremental(file=file)
    (workshop.drop / "orders_1200.csv").write_text("somebody else's")
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON)
    assert caught.value.code is Code.FILE_EXISTS and "file.conflict: replace" in (caught.value.hint or "")
    workshop.incremental(export_id, file={**file, "conflict": "replace"})
    run_plainly(workshop, export_id, minutes(5))
    assert workshop.text("orders_1200.csv").splitlines()[1:] == ["1,2026-03-01 11:50:00", "2,2026-03-01 11:56:00"]


@pytest.mark.parametrize("gone", ["targets", "databases"])
def test_a_window_of_a_definition_that_cannot_be_mended_names_the_way_out(
    workshop: Workshop, rows: Path, gone: str
) -> None:
    workshop.target("old", str(workshop.drop))
    export_id = workshop.incremental(target="old")
    window = workshop.allot(export_id, str(uuid.uuid4()), NOON)
    place = workshop.catalog_folder / gone
    old = {"targets": "old", "databases": "crm"}[gone]
    (place / f"{old}.yaml").rename(place / "renamed.yaml")
    workshop.incremental(export_id, **{"target": "old", gone.removesuffix("s"): "renamed"})
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, minutes(5))
    assert f"give the window up with `exports ledger {export_id} --resolve {window.id[:8]} abandon`" in (
        caught.value.hint or ""
    )
    resolve_window(workshop.ledger, export_id, window.id, "abandon")
    run_plainly(workshop, export_id, minutes(10))
    assert len(workshop.files()) == 2


def test_a_restart_at_the_start_is_at_the_tables_beginning(workshop: Workshop, rows: Path) -> None:
    export_id = workshop.incremental(cursor={"start": "2026-03-01T11:55"})
    run_plainly(workshop, export_id, NOON)
    restart(workshop.ledger, workshop.load(export_id), "start")
    run_plainly(workshop, export_id, minutes(5))
    first, second = (workshop.text(name).splitlines()[1:] for name in sorted(workshop.files()))
    assert [len(first), len(second)] == [1, 2]


def test_the_longest_name_has_room_for_a_backfills_manifest(workshop: Workshop, rows: Path) -> None:
    longest = {"name": "n" * 163 + "_{date:%H}.csv", "manifest": True}
    export_id = workshop.incremental(file={"name": "n" * 164 + "_{date:%H}.csv"})
    with pytest.raises(ExportError, match="longer than 170 bytes"):
        workshop.load(export_id)
    workshop.incremental(export_id, file=longest)
    span = explicit_bounds(workshop.load(export_id), minutes(-20), minutes(-1), NOON)
    run_plainly(workshop, export_id, NOON, explicit=span)
    assert sorted(len(name) for name in workshop.files()) == [188, 202]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00+14:00", "9999-12-31T23:59-10:00", "yesterday"])
def test_moments_off_the_calendar_are_refused(workshop: Workshop, rows: Path, moment: str) -> None:
    export_id = workshop.incremental()
    run_plainly(workshop, export_id, NOON)
    refused = workshop.json("ledger", export_id, "--restart", moment, "--yes", exit_code=1)
    assert refused["error"]["code"] == "DEFINITION_INVALID"


@pytest.fixture
def orders(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    database = postgres.fresh_database("CREATE TABLE orders (id int)", "INSERT INTO orders VALUES (1)")
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    return database


def test_a_relaunch_does_not_read_from_another_source(workshop: Workshop, orders: str, postgres: Postgres) -> None:
    export_id = workshop.export(type="incremental", cursor={"mode": "xid"}, file={"name": "{run}.csv"})
    run_id, export = str(uuid.uuid4()), workshop.load(export_id)
    workshop.ledger.register(export)
    window = allot(workshop.ledger, export, run_id, datetime.now(UTC), None, lambda name: "").window
    assert window is not None
    with postgres.connect(orders) as connection:
        connection.execute("DROP TABLE orders")
        connection.execute("CREATE TABLE orders (id int)")
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, datetime.now(UTC), run_id)
    assert caught.value.code is Code.SOURCE_REPLACED and workshop.files() == {}
    with pytest.raises(ExportError) as caught:
        restart(workshop.ledger, export, "start")
    hint = f"--resolve {window.id[:8]} abandon"
    assert caught.value.code is Code.STATUS_REFUSED and hint in (caught.value.hint or "")
    resolve_window(workshop.ledger, export_id, window.id, "abandon")
    restart(workshop.ledger, export, "start")
    last = run_plainly(workshop, export_id, datetime.now(UTC))
    assert workshop.files() == {f"{last.run_id[:8]}.csv": b"id\n"}
