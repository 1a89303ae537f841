"""SQLite's cursor: through an index, what would be lost is found as a look at every row finds it, at another cost."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sources import an_export, between, opened, rows_of, sqlite_file

from catalog.errors import Code, ExportError
from tasks.source.read import begin_reading

EXPORT = an_export(columns=["id"], cursor={"column": "at"})
LOW, HIGH = datetime(2026, 3, 10, 12, tzinfo=UTC), datetime(2026, 3, 10, 13, tzinfo=UTC)
USUAL = ["2025-12-31 10:00:00", "2026-03-09 12:00:00", "2026-03-10 12:30:00", "2026-03-11 01:00:00"]
INDEX = "CREATE INDEX by_at ON t (at);"


def table(folder: Path, values: list[object], index: str = INDEX, kind: str = "DATETIME") -> str:
    rows = ", ".join(f"({number}, {value!r})" for number, value in enumerate(values, 1))
    return sqlite_file(folder, f"CREATE TABLE t (id INTEGER, at {kind}); {index} INSERT INTO t VALUES {rows};")


@pytest.mark.parametrize("kind", ["DATETIME", "TEXT", "TEXT COLLATE NOCASE", ""])
@pytest.mark.parametrize(
    "other",
    [
        "2026-03-10T12:10:00",
        "2026-03-10",
        "2019-05-05T00:00:00",
        "2025-12-31",
        "10/03/2026 12:10",
        "",
        "2026-03-10 12:10:00Z",
        "2026-03-10 00:10:00-12:00",
        1772366400,
        1772366400.5,
    ],
)
def test_a_row_of_another_form_is_found_wherever_it_sorts(tmp_path: Path, kind: str, other: object) -> None:
    # The largest and the smallest are of the usual form: neither end of the index shows the other one.
    ends = ["0001-01-01 00:00:00", "9999-12-31 00:00:00"]
    for zone in ("UTC", "Asia/Tokyo", "America/New_York"):
        with pytest.raises(ExportError) as caught:
            rows_of(table(tmp_path, [*USUAL, *ends, other], kind=kind), EXPORT, between(LOW, HIGH), timezone=zone)
        assert caught.value.code is Code.CURSOR_TYPE
        (tmp_path / "source.sqlite").unlink()


@pytest.mark.parametrize("other", ["2026-03-09 13:00:00-12:00", "2026-03-10 01:00:00Z"])
def test_a_zone_is_found_where_its_row_sorts_on_the_day_before(tmp_path: Path, other: str) -> None:
    low = datetime(2026, 3, 10, 0, 30, tzinfo=UTC)
    with pytest.raises(ExportError, match="more than one form"):
        rows_of(table(tmp_path, [*USUAL, other]), EXPORT, between(low, low + timedelta(hours=1)))


@pytest.mark.parametrize("index", [INDEX, "", "CREATE INDEX some ON t (at) WHERE id > 1;"])
def test_the_filter_says_whose_forms_count(tmp_path: Path, index: str) -> None:
    url = table(tmp_path, [*USUAL, "2026-03-10T12:10:00"], index)
    filtered = an_export(columns=["id"], cursor={"column": "at"}, where="id <= 4")
    assert rows_of(url, filtered, between(LOW, HIGH)) == [["3"]]
    with pytest.raises(ExportError, match="more than one form"):
        rows_of(url, EXPORT, between(LOW, HIGH))


@pytest.mark.parametrize("other", ["2026-03-10T12:10:00", "2026-03-10 00:10:00-12:00"])
def test_a_form_in_a_query_or_a_view_is_found_too(tmp_path: Path, other: str) -> None:
    url = table(tmp_path, [*USUAL, other], f"{INDEX} CREATE VIEW v AS SELECT id, at FROM t;")
    for subject in ({"query": "SELECT id, at FROM t"}, {"table": "v"}):
        with pytest.raises(ExportError, match="more than one form"):
            rows_of(url, an_export(cursor={"column": "at"}, **subject), between(LOW, HIGH))


def test_numbers_and_days_pass_through_the_index(tmp_path: Path) -> None:
    moments = [LOW - timedelta(days=400), LOW + timedelta(minutes=5), HIGH + timedelta(days=1)]
    assert rows_of(table(tmp_path, [int(m.timestamp()) for m in moments]), EXPORT, between(LOW, HIGH)) == [["2"]]
    (tmp_path / "source.sqlite").unlink()
    days = [moment.date().isoformat() for moment in moments]
    assert rows_of(table(tmp_path, list(days)), EXPORT, between(LOW, HIGH + timedelta(days=1))) == [["2"]]


def steps(folder: Path, days: int, index: str) -> int:
    """How many thousands of its own steps SQLite takes before a window's first row; one row a minute in the table."""
    folder.mkdir()
    url = sqlite_file(
        folder,
        f"""CREATE TABLE t (id INTEGER, at TEXT); {index}
        WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {days * 1440})
        INSERT INTO t SELECT i, datetime('2026-03-10 14:00', '-' || i || ' minutes') FROM n""",
    )
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += 1
        return 0

    with opened(url) as source:
        driver = source.connection.connection.dbapi_connection
        assert driver is not None
        driver.set_progress_handler(count, 1000)
        begin_reading(source, EXPORT, between(LOW, HIGH))
    return taken


def test_the_steps_follow_the_window_and_the_days_not_the_rows(tmp_path: Path) -> None:
    few, many = steps(tmp_path / "few", 10, INDEX), steps(tmp_path / "many", 200, INDEX)
    # A day more is one more seek, however many rows it has: 1,440 rows would take twenty times as many steps.
    assert few > 0 and many - few < 190 * 0.1, (few, many)
    assert steps(tmp_path / "unindexed", 200, "") > many * 10
