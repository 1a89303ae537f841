"""xlsx: each cell is the value exactly, or its text; read back by another library, and at times by the letter."""

import io
import re
import threading
import zipfile
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.utils.escape import unescape
from written import OneWay, batch_of, written

from catalog.errors import Code, ExportError
from catalog.file import File
from tasks.rows.columns import column_of
from tasks.write import open_writer, spreadsheet

TEXT = column_of("t", "text")


def sheet(content: bytes) -> Any:
    return openpyxl.load_workbook(io.BytesIO(content)).active


def column(type_text: str, *values: Any) -> list[Any]:
    content = written([column_of("v", type_text), TEXT], [(value, "x") for value in values], format="xlsx")
    return [row[0].value for row in sheet(content).iter_rows(min_row=2)]


def xml(content: bytes, name: str = "xl/worksheets/sheet1.xml") -> str:
    return zipfile.ZipFile(io.BytesIO(content)).read(name).decode()


def test_the_header_is_bold_and_stays() -> None:
    found = sheet(written([column_of("=n", "bigint"), TEXT], [(1, "a")], format="xlsx"))
    assert [cell.value for cell in found[1]] == ["=n", "t"] and all(cell.font.b for cell in found[1])
    assert not found["A2"].font.b and found.freeze_panes == "A2" and found["A1"].data_type == "s"


def test_numbers_are_numbers_while_excel_keeps_every_digit() -> None:
    exact = [0, -7, 999_999_999_999_999, 10**18, None]
    assert column("bigint", *exact) == exact
    assert column("bigint", 2**53 + 1, -(2**53) - 1, 1_000_000_000_000_001) == [
        "9007199254740993",
        "-9007199254740993",
        "1000000000000001",
    ]
    assert column("numeric(38,10)", Decimal("-0.5"), Decimal("12345678901234.5"), Decimal("123456789012345.25")) == [
        -0.5,
        12345678901234.5,
        "123456789012345.2500000000",
    ]
    assert column("numeric", "0.10", "NaN", "1e30", "-12", "1" + "0" * 400, "0." + "0" * 400 + "1") == [
        0.1,
        "NaN",
        1e30,
        -12,
        "1" + "0" * 400,
        "0." + "0" * 400 + "1",
    ]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False, allow_subnormal=False), min_size=1, max_size=30))
def test_a_double_is_that_very_double(values: list[float]) -> None:
    held = [value if abs(value) <= 9.99999999999999e307 else None for value in values]
    assert column("double precision", *held) == held


def test_a_float_is_its_shortest_text_and_no_number_is_a_text() -> None:
    assert column("real", 0.1, 16777216.0, 1e20) == [0.1, 16777216, 1e20]
    found = column("double precision", float("nan"), float("inf"), float("-inf"), 1.7e308, 5e-324)
    assert found == ["NaN", "Infinity", "-Infinity", "1.7e+308", "5e-324"]


def test_booleans_and_null() -> None:
    assert column("boolean", True, None, False) == [True, None, False]
    content = written([TEXT, TEXT], [("", None)], format="xlsx")
    assert '<c r="A2"' in xml(content) and '<c r="B2"' not in xml(content)


def test_dates_are_dates_from_1900_on() -> None:
    days = [date(1900, 1, 1), date(1900, 2, 28), date(1900, 3, 1), date(2026, 11, 23), date(9999, 12, 31)]
    assert [found.date() for found in column("date", *days)] == days
    assert column("date", date(1899, 12, 31), date(1, 1, 1)) == ["1899-12-31", "0001-01-01"]


@settings(max_examples=100, deadline=None)
@given(st.datetimes(datetime(1900, 1, 1), datetime(2079, 1, 1)))
def test_a_timestamp_is_a_date_that_holds_its_microseconds(moment: datetime) -> None:
    content = written([column_of("at", "timestamp")], [(moment,)], format="xlsx")
    found = re.search(r'<c r="A2" s="\d"><v>([^<]+)</v>', xml(content))
    assert found
    days, fraction = divmod(float(found[1]), 1)
    origin = datetime(1899, 12, 30) if days > 60 else datetime(1899, 12, 31)
    assert origin + timedelta(days=days, microseconds=round(fraction * 86_400_000_000)) == moment


def test_timestamps_as_excel_shows_them() -> None:
    moments = [datetime(2026, 11, 23, 10, 0, 1), datetime(2026, 11, 23, 10, 0, 0, 250_000)]
    content = written([column_of("at", "timestamp")], [(moment,) for moment in moments], format="xlsx")
    cells = [row[0] for row in sheet(content).iter_rows(min_row=2)]
    assert [cell.value for cell in cells] == moments
    assert [cell.number_format for cell in cells] == ["yyyy-mm-dd hh:mm:ss", "yyyy-mm-dd hh:mm:ss.000"]


def test_times_that_excel_does_not_hold_are_texts() -> None:
    assert column("timestamp", datetime(1899, 12, 31, 23, 59, 59, 500_000)) == ["1899-12-31 23:59:59.5"]
    assert column("timestamptz", datetime(2026, 1, 1, 10, tzinfo=UTC)) == ["2026-01-01 10:00:00+00"]
    assert column("time", time(12, 34, 56, 789_000)) == ["12:34:56.789"]
    # So far from 1900 there is no number for each microsecond, but one for each millisecond.
    assert column("timestamp", datetime(9000, 1, 1, 0, 0, 0, 2)) == ["9000-01-01 00:00:00.000002"]
    coarse = [datetime(9000, 1, 1, 12, 34, second, 789_000) for second in range(60)]
    assert column("timestamp", *coarse) == coarse


def test_everything_else_is_the_text_of_csv() -> None:
    assert column("bytea", b"\x00\xff") == ["\\x00ff"]
    assert column("jsonb", '{"a": 1}') == ['{"a": 1}']


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "{=1}",
        "http://example.com",
        "mailto:a@b.c",
        "007",
        "1e5",
        "<r>&</r>",
        "<r></r>",
        " a ",
        "a\n\tb",
        "🎂<&>",
    ],
)
def test_a_text_stays_a_text(text: str) -> None:
    content = written([TEXT], [(text,)], format="xlsx")
    cell = sheet(content)["A2"]
    assert (cell.value, cell.data_type, cell.hyperlink) == (text, "s", None) and "<f>" not in xml(content)


@pytest.mark.parametrize("text", ["\x00\x01\x1f\r", "_x0041_", "\ufffe\uffff", "a\r\nb"])
def test_control_characters_are_written_as_excel_writes_them(text: str) -> None:
    assert unescape(sheet(written([TEXT], [(text,)], format="xlsx"))["A2"].value) == text


def refused(rows: list[tuple[Any, ...]], rows_before: int = 0) -> ExportError:
    with pytest.raises(ExportError) as caught:
        written([column_of("n", "bigint"), TEXT], rows, format="xlsx", rows_before=rows_before)
    assert caught.value.code is Code.VALUE_UNENCODABLE
    return caught.value


def test_a_text_that_is_too_long_is_named() -> None:
    assert sheet(written([TEXT], [("a" * 32_767,)], format="xlsx"))["A2"].value == "a" * 32_767
    assert "row 12, column 't'" in refused([(1, "a"), (2, "a" * 32_768)], 10).message
    # Excel counts as UTF-16 does.
    assert "row 1, column 't'" in refused([(1, "🎂" * 16_384)]).message


def test_what_xlsxwriter_would_escape_twice_is_named() -> None:
    assert "row 1, column 't'" in refused([(1, "<r>\r</r>")]).message


def test_a_sheet_that_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spreadsheet, "XLSX_ROWS", 3)
    rows = [(number, "a") for number in range(3)]
    assert sheet(written([column_of("n", "bigint"), TEXT], rows, format="xlsx")).max_row == 4
    error = refused([*rows, (4, "a")])
    assert "row 4" in error.message and "max_rows" in (error.hint or "")


def test_equal_rows_give_equal_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(datetime(2026, 1, 1), f"row {number}") for number in range(100)]
    columns = [column_of("at", "timestamp"), TEXT]
    whole = written(columns, rows, format="xlsx")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert written(columns, rows[:7], rows[7:], format="xlsx") == whole
    stamps = {member.date_time[:3] for member in zipfile.ZipFile(io.BytesIO(whole)).infolist()}
    assert stamps == {(1980, 1, 31)} and "1980-01-01" in xml(whole, "docProps/core.xml")


def test_a_full_disk_is_an_os_error(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    threads = threading.active_count()
    sink: Any = OneWay(100)
    writer = open_writer(File(name="a.xlsx", format="xlsx"), [TEXT], sink, 0, "a.xlsx")
    writer.write(batch_of([TEXT], [("a",)], "typed"))
    with pytest.raises(OSError, match="No space left"):
        writer.close()
    assert list(tmp_path.iterdir()) == [] and threading.active_count() == threads


def test_a_full_folder_for_temporary_files_is_an_os_error(small_disk: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(small_disk))
    with pytest.raises(OSError, match="No space left"):
        written([TEXT], [(f"{number:030000d}",) for number in range(200)], format="xlsx")
    assert list(small_disk.iterdir()) == []
