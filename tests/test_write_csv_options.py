"""Cells as the csv options want them: by column, with NULL kept, and never an approximation."""

import csv
import io
import subprocess
import sys
from typing import Any

import pytest
from written import written

from catalog.errors import Code, ExportError
from catalog.file import CsvOptions
from catalog.places import ROOT
from tasks.rows.columns import Column, column_of

NUMBER, TEXT, BOOLEAN = column_of("n", "numeric"), column_of("t", "text"), column_of("b", "boolean")
DATE, NAIVE, ZONED = column_of("d", "date"), column_of("at", "timestamp"), column_of("z", "timestamptz")


def cells(column: Column, values: list[str | None], **options: Any) -> list[str]:
    text = written([column, TEXT], [(value, "x") for value in values], csv={"header": False, **options}).decode()
    return [row[0] for row in csv.reader(io.StringIO(text, newline=""), delimiter=options.get("delimiter", ","))]


def refused(column: Column, values: list[str | None], **options: Any) -> ExportError:
    with pytest.raises(ExportError) as caught:
        written([TEXT, column], [("x", value) for value in values], rows_before=10, csv=options)
    assert caught.value.code is Code.VALUE_UNENCODABLE
    assert not any(value and len(value) > 1 and value in caught.value.message for value in values)
    return caught.value


def test_the_decimal_mark_is_of_numbers_alone() -> None:
    values = ["1.50", "-0.1", "1.5e+20", "7", None, "NaN", "1.2.3", "a.b", "-Infinity"]
    expected = ["1,50", "-0,1", "1,5e+20", "7", "", "NaN", "1.2.3", "a.b", "-Infinity"]
    assert cells(NUMBER, values, decimal_mark=",", delimiter=";") == expected
    assert cells(TEXT, ["1.5"], decimal_mark=",", delimiter=";") == ["1.5"]
    assert cells(NUMBER, values, decimal_mark=",") == expected
    assert written([NUMBER], [("1.5",)], csv={"decimal_mark": ",", "header": False}) == b'"1,5"\n'


@pytest.mark.parametrize(
    ("column", "value", "pattern", "expected"),
    [
        (DATE, "2026-02-03", "%d/%m/%Y", "03/02/2026"),
        (DATE, "0001-01-01", "%Y%m%d", "00010101"),
        (DATE, "9999-12-31", "%A %d %B %y, %j", "Friday 31 December 99, 365"),
        (NAIVE, "2026-02-03 04:05:06.5", "%H:%M:%S", "04:05:06"),
        (NAIVE, "2026-02-03 04:05:06.000007", "%f|%S.%f", "000007|06.000007"),
        (NAIVE, "2026-02-03 04:05:06", "%Y-%m-%dT%H:%M:%S.%f%z", "2026-02-03T04:05:06.000000"),
        (ZONED, "2026-02-03 04:05:06.12+00", "%d.%m.%Y %H:%M:%S.%f%z %Z", "03.02.2026 04:05:06.120000+0000 UTC"),
        (NAIVE, "1969-12-31 23:59:59.999999", "%S.%f 100%% %%f", "59.999999 100% %f"),
        (NAIVE, "2026-02-03 16:00:00", "%I %p; à %H, le %d", "04 PM; à 16, le 03"),
    ],
)
def test_times_in_a_form_of_ones_own(column: Column, value: str, pattern: str, expected: str) -> None:
    options = {"date_format": pattern} if column is DATE else {"timestamp_format": pattern}
    assert cells(column, [None, value, value], **options) == ["", expected, expected]


def test_a_format_is_of_its_own_type_and_of_no_other() -> None:
    assert cells(DATE, ["2026-02-03"], timestamp_format="%Y") == ["2026-02-03"]
    assert cells(NAIVE, ["2026-02-03 04:05:06"], date_format="%Y") == ["2026-02-03 04:05:06"]
    assert cells(TEXT, ["2026-02-03"], timestamp_format="%Y", date_format="%Y") == ["2026-02-03"]
    assert cells(column_of("c", "time"), ["04:05:06"], timestamp_format="%Y") == ["04:05:06"]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (DATE, "infinity"),
        (DATE, "10000-01-01"),
        (DATE, "0044-03-15 BC"),
        (DATE, "2026-01-01 10:00:00"),
        (NAIVE, "-infinity"),
        (NAIVE, "10000-01-01 00:00:00"),
        (NAIVE, "2026-01-01 00:00:00.1234567"),
        (NAIVE, "2026-01-01 00:00:00+02"),
        (ZONED, "0044-03-15 00:00:00+00 BC"),
        (ZONED, "2026-01-01 00:00:00"),
        (NAIVE, "soon"),
    ],
)
def test_a_time_that_strftime_cannot_show_is_named(column: Column, value: str) -> None:
    good = {DATE: "2026-01-01", NAIVE: "2026-01-01 00:00:00", ZONED: "2026-01-01 00:00:00+00"}[column]
    error = refused(column, [good, None, value], date_format="%Y", timestamp_format="%Y")
    assert f"row 13, column {column.name!r}" in error.message


DANGEROUS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1"]


def test_formulas_are_kept_escaped_or_rejected() -> None:
    harmless: list[str | None] = ["a=1", "1-1", "", "'=1", "\\x00"]
    assert cells(TEXT, [*DANGEROUS, *harmless]) == [*DANGEROUS, *harmless]
    assert cells(TEXT, [*DANGEROUS, *harmless], formulas="escape") == [*[f"'{text}" for text in DANGEROUS], *harmless]
    assert cells(TEXT, harmless, formulas="reject") == harmless
    for text in DANGEROUS:
        assert "row 13, column 't'" in refused(TEXT, ["a", None, text], formulas="reject").message


@pytest.mark.parametrize(("column", "value"), [(NUMBER, "-1.5"), (NUMBER, "-Infinity"), (NAIVE, "-infinity")])
def test_a_sign_of_a_number_is_no_formula_but_a_formula_among_numbers_is(column: Column, value: str) -> None:
    assert cells(column, [value, "-2+3+cmd|' /C calc'!A0", None], formulas="escape") == [
        value,
        "'-2+3+cmd|' /C calc'!A0",
        "",
    ]
    assert cells(column, [value], formulas="reject") == [value]


def test_a_name_of_a_column_can_be_a_formula() -> None:
    assert written([column_of("=n", "numeric")], csv={"formulas": "escape"}) == b"'=n\n"
    with pytest.raises(ExportError, match="the header, column '=n'"):
        written([column_of("=n", "numeric")], csv={"formulas": "reject"})


def test_formulas_and_decimal_marks_together() -> None:
    assert cells(NUMBER, ["-1.5", "=1.5"], formulas="escape", decimal_mark=",") == ["-1,5", "'=1.5"]


def test_what_becomes_the_null_text_is_quoted() -> None:
    options = {"header": False, "null": "1,5", "delimiter": ";", "decimal_mark": ","}
    assert written([NUMBER], [("1.5",), (None,)], csv=options) == b'"1,5"\n1,5\n'


def test_what_the_encoding_cannot_write_is_replaced_if_asked() -> None:
    content = written([TEXT], [("prénom 🎂",), (None,)], csv={"encoding": "cp1252", "unencodable": "replace"})
    assert content.decode("cp1252") == "t\nprénom ?\n\n"
    assert "row 12" in refused(TEXT, ["é", "🎂"], encoding="cp1252").message


def test_an_encoding_with_shifts_ends_where_it_began() -> None:
    content = written([TEXT], [("日",)], csv={"encoding": "iso2022_jp", "header": False, "quote": "all"})
    assert content.decode("iso2022_jp") == '"日"\n' and content.endswith(b'\x1b(B"\n')


@pytest.mark.parametrize("options", [{}, {"unencodable": "replace"}, {"quote": "all", "null": "x"}])
def test_what_leaves_the_cells_alone_is_canonical(options: dict[str, Any]) -> None:
    assert CsvOptions(**options).canonical


@pytest.mark.parametrize(
    "options",
    [{"decimal_mark": ","}, {"date_format": "%Y"}, {"timestamp_format": "%Y"}, {"formulas": "escape"}],
)
def test_what_changes_the_cells_is_not(options: dict[str, Any]) -> None:
    assert not CsvOptions(**options).canonical


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"date_format": "%Q"}, "%Q is none of the directives %Y %m"),
        ({"timestamp_format": "100%"}, "% is none of the directives"),
        ({"date_format": ""}, "at least 1 character"),
        ({"decimal_mark": ",", "quote": "none"}, "`decimal_mark` and `delimiter` must differ"),
        ({"decimal_mark": ",", "quote": "non_numeric"}, "`decimal_mark` and `delimiter` must differ"),
        ({"unencodable": "replace", "delimiter": "?"}, "question mark"),
        ({"unencodable": "replace", "null": "?"}, "question mark"),
    ],
)
def test_options_that_cannot_hold_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CsvOptions(**options)


def test_a_header_alone_does_not_import_pandas() -> None:
    """A fifth of a second, for which a run without rows, or with lines that PostgreSQL wrote, need not wait."""
    script = """
import io, sys
from catalog.file import CsvOptions
from tasks.rows.columns import Column
from tasks.write import CsvWriter
sink = io.BytesIO()
CsvWriter(CsvOptions(), [Column("id", "integer", "number", None)], sink, 0).close()
print(sink.getvalue(), "pandas" in sys.modules)
"""
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert ran.stdout == "b'id\\n' False\n", ran.stderr
