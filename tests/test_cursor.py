"""Windows on the cursor column: whatever its type, form and zone, each row falls into one window and none is lost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pyarrow as pa
import pytest
from postgres_server import Postgres
from sources import an_export, between, rows_of, sqlite_file

from catalog.errors import Code, ExportError
from tasks.rows.columns import Column
from tasks.source.cursor import typed_range

EXPORT = an_export(columns=["id"], cursor={"column": "at"})
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def ids(url: str, low: datetime | None, high: datetime, timezone: str = "UTC") -> list[int]:
    return [int(row[0]) for row in rows_of(url, EXPORT, between(low, high), timezone=timezone)]


def windows(url: str, timezone: str = "UTC") -> list[list[int]]:
    """Rows by window: up to noon, the microsecond of noon, and after."""
    after = NOON + timedelta(microseconds=1)
    spans = [(None, NOON), (NOON, after), (after, NOON + timedelta(days=40))]
    return [ids(url, low, high, timezone) for low, high in spans]


@pytest.mark.parametrize(
    ("kind", "before", "at", "after", "timezone"),
    [
        (
            "timestamptz",
            "2026-03-01 12:59:59.999999+01",
            "2026-03-01 13:00+01",
            "2026-03-01 12:00:00.000001Z",
            "Asia/Tokyo",
        ),
        ("timestamp", "2026-03-01 11:59:59.999999", "2026-03-01 12:00", "2026-03-01 12:00:00.000001", "UTC"),
        ("timestamp", "2026-03-01 20:59:59.999999", "2026-03-01 21:00", "2026-03-01 21:00:00.000001", "Asia/Tokyo"),
    ],
)
def test_postgres_timestamps(postgres: Postgres, kind: str, before: str, at: str, after: str, timezone: str) -> None:
    made = postgres.fresh_database(
        f"CREATE DOMAIN stamp AS {kind}",
        "CREATE TABLE t (id int, at stamp)",
        f"INSERT INTO t VALUES (1, '{before}'), (2, '{at}'), (3, '{after}'), (4, '-infinity')",
    )
    assert windows(postgres.url(made), timezone) == [[1, 4], [2], [3]]


@pytest.mark.parametrize(("timezone", "expected"), [("UTC", [[1], [], [2, 3]]), ("Asia/Tokyo", [[1], [], [2, 3]])])
def test_a_day_is_delivered_when_it_is_over(postgres: Postgres, timezone: str, expected: list[list[int]]) -> None:
    made = postgres.fresh_database(
        "CREATE TABLE t (id int, at date)",
        "INSERT INTO t VALUES (1, '2026-02-28'), (2, '2026-03-01'), (3, '2026-03-02')",
    )
    assert windows(postgres.url(made), timezone) == expected


def test_columns_that_cannot_be_ordered_by_time(postgres: Postgres) -> None:
    for kind in ("int", "text", "json", "time", "interval"):
        made = postgres.fresh_database(f"CREATE TABLE t (id int, at {kind})")
        with pytest.raises(ExportError, match="the cursor column 'at' holds") as caught:
            windows(postgres.url(made))
        assert caught.value.code is Code.CURSOR_TYPE and caught.value.key == "cursor.column"


FORMS = {
    "space": ("2026-03-01 11:59:59.999", "2026-03-01 12:00:00", "2026-03-01 12:00:00.5"),
    "T": ("2026-03-01T11:59:59", "2026-03-01T12:00:00", "2026-03-01T12:00:01"),
    "Z": ("2026-03-01T11:59:59.9Z", "2026-03-01T12:00:00Z", "2026-03-01T12:00:01.25Z"),
    "offset": ("2026-03-01 11:59:59+00:00", "2026-03-01 12:00:00+00:00", "2026-03-01 12:00:01+00:00"),
    "seconds": (1772366399, 1772366400, 1772366401),
    "milliseconds": (1772366399999, 1772366400000, 1772366400001),
    "microseconds": (1772366399999999, 1772366400000000, 1772366400000001),
    "real": (1772366399.9, 1772366400.0, 1772366400.1),
}


@pytest.mark.parametrize("form", FORMS)
def test_sqlite_stores_times_in_many_forms(tmp_path: Path, form: str) -> None:
    values = ", ".join(f"({number}, {value!r})" for number, value in enumerate(FORMS[form], 1))
    url = sqlite_file(tmp_path, f"CREATE TABLE t (id INTEGER, at DATETIME); INSERT INTO t VALUES {values};")
    found = windows(url)
    # `12:00:00Z` sorts after `12:00:00.000001`: a window later, which is late but not lost.
    assert found == ([[1], [], [2, 3]] if form == "Z" else [[1], [2], [3]])


def test_a_sqlite_time_without_zone_is_meant_in_the_databases(tmp_path: Path) -> None:
    rows = "INSERT INTO t VALUES (1, '2026-03-01 20:59'), (2, '2026-03-01 21:00:00');"
    url = sqlite_file(tmp_path, f"CREATE TABLE t (id INTEGER, at TEXT); {rows}")
    assert windows(url, "Asia/Tokyo") == [[1], [2], []]


@pytest.mark.parametrize(
    "values",
    [
        "('2026-03-01 23:00:00'), ('2026-03-01T08:00:00')",
        "('2026-03-01'), ('2026-03-01 08:00:00')",
        "('2026-03-01 23:00:00'), ('2026-03-01 08:00:00Z')",
        "(1772366399), ('2026-03-01 08:00:00')",
        "('10/03/2026 12:10'), ('2026-03-01 08:00:00')",
    ],
)
def test_a_mix_of_forms_would_lose_rows_and_is_refused(tmp_path: Path, values: str) -> None:
    url = sqlite_file(tmp_path, f"CREATE TABLE t (at DATETIME, id INTEGER); INSERT INTO t (at) VALUES {values};")
    with pytest.raises(ExportError, match="more than one form") as caught:
        windows(url)
    assert caught.value.code is Code.CURSOR_TYPE


@pytest.mark.parametrize("value", ["'soon'", "'01/03/2026'", "'2026-03-01 12:00:00+01:00'", "7", "x'00'"])
def test_what_is_no_time_is_refused(tmp_path: Path, value: str) -> None:
    url = sqlite_file(tmp_path, f"CREATE TABLE t (id INTEGER, at DATETIME); INSERT INTO t VALUES (1, {value});")
    with pytest.raises(ExportError, match="the cursor column 'at' holds") as caught:
        windows(url)
    assert caught.value.code is Code.CURSOR_TYPE


def test_rows_without_a_cursor_are_counted_within_the_filter(tmp_path: Path) -> None:
    script = (
        "CREATE TABLE t (id INTEGER, at TEXT); INSERT INTO t VALUES (1, NULL), (2, NULL), (3, '2026-01-01 00:00:00');"
    )
    url = sqlite_file(tmp_path, script)
    with pytest.raises(ExportError, match="2 rows have NULL in the cursor column 'at'") as caught:
        windows(url)
    assert caught.value.code is Code.CURSOR_NULL
    filtered = an_export(columns=["id"], cursor={"column": "at"}, where="id > 2")
    assert rows_of(url, filtered, between(None, NOON)) == [["3"]]


@pytest.mark.parametrize(
    "zone", ["Europe/Brussels", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "UTC"]
)
def test_bounds_on_a_local_clock_never_go_back(zone: str) -> None:
    """Minute by minute over a year of every change of the clock: a bound that went back would send rows twice."""
    column = Column("at", "timestamp", "temporal", pa.timestamp("us"))
    start, bound = datetime(2018, 1, 1, tzinfo=UTC), datetime.min
    for minute in range(0, 366 * 1440, 7):
        moment = start + timedelta(minutes=minute)
        high = typed_range(column, between(None, moment), ZoneInfo(zone)).high
        # Nothing stamped from now on lies below the bound.
        assert bound <= high <= moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
        bound = high


def test_the_hour_that_comes_twice_waits_for_its_second_time() -> None:
    brussels = ZoneInfo("Europe/Brussels")
    column = Column("at", "timestamp", "temporal", pa.timestamp("us"))

    def bound(hour: int, minute: int) -> str:
        moment = datetime(2026, 10, 25, hour, minute, 30, tzinfo=UTC)
        return typed_range(column, between(None, moment), brussels).high.time().isoformat()

    assert [bound(0, 0), bound(0, 59), bound(1, 0), bound(1, 59), bound(2, 0)] == [
        "02:00:00",
        "02:00:00",
        "02:00:30",
        "02:59:30",
        "03:00:30",
    ]
