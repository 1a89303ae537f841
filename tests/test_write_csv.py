"""Whatever the cells hold, a reader that knows the rules gets them back: text, NULL and the empty string apart."""

import io
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from catalog.errors import Code, ExportError
from catalog.file import CsvOptions, File
from tasks.rows.columns import Column, column_of
from tasks.write import open_writer

Row = Sequence[str | None]


def written(options: CsvOptions, *batches: Sequence[Row], columns: Sequence[Column] | None = None) -> bytes:
    columns = columns or [column_of(f"c{number}", "text") for number in range(len(batches[0][0]))]
    sink = io.BytesIO()
    writer = open_writer(File(name="a.csv", csv=options), columns, sink, 0, "a.csv")
    for rows in batches:
        arrays = [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]
        writer.write(pa.RecordBatch.from_arrays(arrays, [column.name for column in columns]))
    writer.close()
    return sink.getvalue()


def parsed(text: str, options: CsvOptions) -> list[list[str | None]]:
    """A reader by the letter of the rules: quoted is text, unquoted is NULL if it is the null text."""
    rows: list[list[str | None]] = []
    row: list[str | None] = []
    position = 0
    while position < len(text):
        if text[position] == '"':
            cell = ""
            while True:
                end = text.index('"', position + 1)
                cell, position = cell + text[position + 1 : end], end
                if text[position + 1 : position + 2] != '"':
                    break
                cell, position = cell + '"', position + 1
            position += 1
            row.append(cell)
        else:
            ends = [text.find(mark, position) for mark in (options.delimiter, options.line_end)]
            end = min(found for found in ends if found >= 0)
            bare = text[position:end]
            row.append(None if bare == options.null else bare)
            position = end
        if text.startswith(options.line_end, position):
            rows.append(row)
            row, position = [], position + len(options.line_end)
        else:
            assert text.startswith(options.delimiter, position)
            position += len(options.delimiter)
            if text.startswith(options.line_end, position) and options.null == "":
                rows.append([*row, None])
                row, position = [], position + len(options.line_end)
    assert row == []
    return rows


CELLS = st.none() | st.sampled_from(["", '"', '""', "NULL", "\\N", "a;b", "\r", "\n", "\r\n", " ", "a\u0085b", "-"])
TEXTS = CELLS | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
OPTIONS = st.builds(
    CsvOptions,
    delimiter=st.sampled_from([",", ";", "\t", "|", "^", "]", "/", "-", "¦"]),
    quote=st.sampled_from(["minimal", "all", "non_numeric"]),
    null=st.sampled_from(["", "NULL", "\\N", "(null)", "é$", " "]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    header=st.just(False),
)


@settings(max_examples=300, deadline=None)
@given(OPTIONS, st.integers(2, 3).flatmap(lambda width: st.lists(st.tuples(*[TEXTS] * width), min_size=1, max_size=6)))
@example(CsvOptions(header=False), [(None, None), ("", ""), ("x", None)])
def test_every_cell_comes_back(options: CsvOptions, rows: list[Row]) -> None:
    half = len(rows) // 2 or 1
    batches = [part for part in (rows[:half], rows[half:]) if part]
    text = written(options, *batches).decode(options.encoding)
    assert parsed(text, options) == [list(row) for row in rows]


def test_pandas_reads_the_same_text() -> None:
    rows = [("1", 'a "b", c\r\nü🎂'), ("007", " x "), ("9007199254740993", "#")]
    frame = pd.read_csv(io.BytesIO(written(CsvOptions(), rows)), dtype=str, keep_default_na=False)
    assert list(frame.itertuples(index=False, name=None)) == rows


@pytest.mark.parametrize("value", ["a;b", 'a"b', "a\nb", ""])
def test_without_quotes_what_needs_them_is_refused(value: str) -> None:
    options = CsvOptions(quote="none", delimiter=";")
    assert written(options, [("a,b", None)]) == b"c0;c1\na,b;\n"
    with pytest.raises(ExportError, match="row 3, column 'c1': the text needs quotes") as caught:
        written(options, [("x", "y"), ("x", "y")], [("x", value)])
    assert caught.value.code is Code.VALUE_UNENCODABLE and (not value or value not in caught.value.message)


@pytest.mark.parametrize(("options", "name"), [({"encoding": "ascii"}, "prénom"), ({"quote": "none"}, "a,b")])
def test_a_name_that_cannot_be_written_is_one_of_the_header(options: dict[str, Any], name: str) -> None:
    with pytest.raises(ExportError, match="the header, column") as caught:
        written(CsvOptions(**options), [("x",)], columns=[column_of(name, "text")])
    assert caught.value.code is Code.VALUE_UNENCODABLE


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"null": "a,b"}, "must not hold the delimiter"),
        ({"null": '"'}, "must not hold the delimiter"),
        ({"null": "\n"}, "must not hold the delimiter"),
        ({"null": "∅", "encoding": "cp1252"}, "cannot write the `delimiter` or the `null` text"),
        ({"delimiter": "¦", "encoding": "ascii"}, "cannot write the `delimiter` or the `null` text"),
        ({"date_format": "%Y年%m月", "encoding": "cp1252"}, "cannot write the `date_format`"),
        ({"timestamp_format": "%Hh%M′", "encoding": "ascii"}, "or the `timestamp_format`"),
    ],
)
def test_marks_that_would_spoil_the_file_are_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        CsvOptions(**options)
