"""Clocks that are changed: twice a year by law, and at any time by hand. No row is lost or doubled by it."""

from __future__ import annotations

import csv
import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError

#: The moments at which each zone's clock goes forward and back.
CHANGES = {
    "Europe/Paris": (datetime(2026, 3, 29, 1, tzinfo=UTC), datetime(2026, 10, 25, 1, tzinfo=UTC)),
    "America/New_York": (datetime(2026, 3, 8, 7, tzinfo=UTC), datetime(2026, 11, 1, 6, tzinfo=UTC)),
    # By half an hour only.
    "Australia/Lord_Howe": (datetime(2026, 10, 3, 15, 30, tzinfo=UTC), datetime(2026, 4, 4, 15, tzinfo=UTC)),
}
_TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, payload TEXT, updated_at DATETIME)"
_STEP = timedelta(minutes=10)


def delivered(workshop: Workshop) -> list[int]:
    """The ids in all files."""
    files = [io.StringIO(content.decode()) for content in workshop.files().values()]
    return sorted(int(row["id"]) for file in files for row in csv.DictReader(file))


def ticks(change: datetime) -> Iterator[datetime]:
    """Every ten minutes of the hours around the change."""
    moment = change - timedelta(hours=3)
    while moment < change + timedelta(hours=3):
        yield moment
        moment += _STEP


@pytest.mark.parametrize("every", [1, 3, 6], ids=["every 10 min", "every 30 min", "every hour"])
@pytest.mark.parametrize("way", [0, 1], ids=["forward", "back"])
@pytest.mark.parametrize("zone", sorted(CHANGES))
def test_rows_stamped_by_a_local_clock_that_is_changed(workshop: Workshop, zone: str, way: int, every: int) -> None:
    change = CHANGES[zone][way]
    path = workshop.sqlite(script=_TABLE)
    workshop.database("crm", f"sqlite:///{path}", timezone=zone)
    export_id = workshop.incremental(
        cursor={"lookback": "0s"},
        file={"name": "orders_{date:%Y%m%dT%H%M}.csv"},
        schedule={"cron": "*/10 * * * *", "timezone": zone},
    )
    refused = 0
    for number, moment in enumerate(ticks(change)):
        if number % every == 0:
            # At the very moment at which the next row is stamped: that one is the next window's.
            refused += is_refused(workshop, export_id, moment)
        stamp = moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("INSERT INTO orders VALUES (?, 'x', ?)", (number, stamp))
    run_plainly(workshop, export_id, change + timedelta(hours=5))
    assert delivered(workshop) == list(range(len(list(ticks(change)))))
    # Only the names of the hour that came before can come twice.
    assert (refused > 0) is (way == 1 and (zone != "Australia/Lord_Howe" or every < 6))


def is_refused(workshop: Workshop, export_id: str, moment: datetime) -> bool:
    """Run at that moment; whether its name was another window's already, which is the one thing it may say."""
    before = workshop.files()
    try:
        run_plainly(workshop, export_id, moment)
    except ExportError as error:
        assert error.code is Code.NAME_NOT_UNIQUE and workshop.files() == before
        return True
    return False


_PG_TABLE = """
CREATE TABLE orders (id int PRIMARY KEY, payload text, updated_at timestamptz DEFAULT clock_timestamp())
"""


@pytest.fixture
def database(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of PostgreSQL, which is the catalog's `crm`."""
    made = postgres.fresh_database(_PG_TABLE)
    monkeypatch.setenv("SOURCE", postgres.url(made))
    workshop.database("crm", "{{ $SOURCE }}")
    return made


def test_the_clock_of_the_machine_is_set_forth_and_back(workshop: Workshop, postgres: Postgres, database: str) -> None:
    """Mode `xid` reads no clock: what a stepped one costs is at most that a row comes with a later run."""
    file = {"name": "orders_{date:%Y%m%dT%H%M%S}.csv"}
    export_id = workshop.export(type="incremental", cursor={"mode": "xid"}, file=file)
    began = datetime.now(UTC)
    steps = [timedelta(hours=hours) for hours in (0, 1, 0, 0, -1, -1, 1, 2)]
    for number, step in enumerate(steps):
        with postgres.connect(database) as connection:
            connection.execute("INSERT INTO orders VALUES (%s, 'x')", [number])
        run_plainly(workshop, export_id, began + timedelta(minutes=10 * number) + step)
    assert delivered(workshop) == list(range(len(steps)))


def test_a_window_that_ends_in_the_future_of_the_database_is_not_read(workshop: Workshop, database: str) -> None:
    """Mode `lag` trusts the machine's clock with the bound, and asks the database's before it reads."""
    export_id = workshop.incremental(cursor={"lag": "1s", "lookback": "0s"})
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, datetime.now(UTC) + timedelta(hours=1))
    assert caught.value.code is Code.CLOCK_BEHIND and workshop.files() == {}
