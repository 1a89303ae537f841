"""What stands in the file, in each format and compression: read back by other people's programs."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import zipfile
from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from catalog.errors import Code, ExportError
from catalog.file import File
from tasks.columns import Column, column_of
from tasks.write import FORMS, open_writer

TEXTS: dict[str, list[str | None]] = {
    "bigint": ["1", "-9007199254740993", None],
    "numeric": ["1.50", "NaN", None],
    "text": ['say "yes", \\ tab\there', "two\nlines \x01 é😀", ""],
    "boolean": ["true", "false", None],
    "jsonb": ['{"a": [1, "x,y"]}', "null", None],
    "date": ["2026-01-31", "2026-02-01", None],
    "timestamp with time zone": ["2026-01-31 10:00:00.5+00", "2026-01-31 10:00:00+00", None],
}


def text_columns(kinds: Sequence[str]) -> list[Column]:
    return [column_of(kind.split()[0], kind) for kind in kinds]


def written(texts: dict[str, list[str | None]], batch: int = 100, name: str = "t.csv", **keys: Any) -> bytes:
    """The file of these canonical texts, handed to the writer so many rows at a time."""
    columns = text_columns(list(texts))
    table = pa.table([pa.array(cells, pa.string()) for cells in texts.values()], [column.name for column in columns])
    return file_of(table, columns, batch, name=name, **keys)


def file_of(table: pa.Table, columns: Sequence[Column], batch: int = 100, **keys: Any) -> bytes:
    sink = io.BytesIO()
    file = File.model_validate(keys)
    writer = open_writer(file, columns, sink, 0, file.name)
    for piece in table.to_batches(max_chunksize=batch):
        writer.write(piece)
    writer.close()
    return sink.getvalue()


def test_json_lines_are_read_by_any_json_parser() -> None:
    lines = written(TEXTS, name="t.jsonl", format="jsonl").decode().split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line, parse_float=Decimal, parse_constant=pytest.fail) for line in lines]
    assert rows[0] == {
        "bigint": 1,
        "numeric": Decimal("1.50"),
        "text": 'say "yes", \\ tab\there',
        "boolean": True,
        "jsonb": {"a": [1, "x,y"]},
        "date": "2026-01-31",
        "timestamp": "2026-01-31 10:00:00.5+00",
    }
    assert (rows[1]["bigint"], rows[1]["numeric"], rows[1]["jsonb"]) == (-9007199254740993, "NaN", None)
    assert rows[1]["text"] == "two\nlines \x01 é😀"
    assert rows[2] == {**dict.fromkeys(rows[2]), "text": ""}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"decimal_mark": ",", "delimiter": ";"}, b"1;1,50\n-9007199254740993;NaN\n;\n"),
        ({"decimal_mark": ","}, b'1,"1,50"\n-9007199254740993,NaN\n,\n'),
        ({"quote": "all", "line_end": "\r\n"}, b'"1","1.50"\r\n"-9007199254740993","NaN"\r\n,\r\n'),
    ],
)
def test_numbers_as_the_options_want_them(options: dict[str, Any], expected: bytes) -> None:
    numbers = {kind: TEXTS[kind] for kind in ("bigint", "numeric")}
    assert written(numbers, csv={"header": False, **options}) == expected


def test_times_as_the_options_want_them() -> None:
    times = {kind: TEXTS[kind] for kind in ("date", "timestamp with time zone")}
    options = {"header": False, "date_format": "%d.%m.%Y", "timestamp_format": "%Y%m%dT%H%M%S.%f"}
    assert written(times, csv=options) == b"31.01.2026,20260131T100000.500000\n01.02.2026,20260131T100000.000000\n,\n"


@pytest.mark.parametrize("moment", ["infinity", "12026-01-01", "0044-03-15 BC"])
def test_a_time_that_no_format_can_show_is_named(moment: str) -> None:
    with pytest.raises(ExportError, match="row 2, column 'date'") as caught:
        written({"date": ["2026-01-01", moment]}, csv={"date_format": "%d.%m.%Y"})
    assert caught.value.code is Code.VALUE_UNENCODABLE
    assert moment.encode() in written({"date": ["2026-01-01", moment]})


def test_formulas_are_kept_escaped_or_rejected() -> None:
    cells: dict[str, list[str | None]] = {"text": ["=1+1", "plain", "@x", "-1"], "integer": ["-1", "2", None, "3"]}
    header = {"header": False}
    assert written(cells, csv=header) == b"=1+1,-1\nplain,2\n@x,\n-1,3\n"
    assert written(cells, csv={**header, "formulas": "escape"}) == b"'=1+1,-1\nplain,2\n'@x,\n'-1,3\n"
    with pytest.raises(ExportError, match="row 1, column 'text'") as caught:
        written(cells, csv={**header, "formulas": "reject"})
    assert caught.value.code is Code.VALUE_UNENCODABLE


def test_what_an_encoding_cannot_write_fails_or_is_replaced() -> None:
    cells: dict[str, list[str | None]] = {"text": ["é", "Ł"]}
    with pytest.raises(ExportError, match="row 2, column 'text'"):
        written(cells, csv={"encoding": "cp1252"})
    assert written(cells, csv={"encoding": "cp1252", "unencodable": "replace"}) == b"text\n\xe9\n?\n"


MANY: dict[str, list[str | None]] = {
    "bigint": [str(number) for number in range(200_000)],
    "text": [f"row {number * 7919 % 10007}, with words" for number in range(200_000)],
}


@pytest.mark.parametrize("compression", ["gzip", "zstd", "zip"])
def test_compression_gives_the_same_bytes_whatever_came_at_once_and_is_read_by_others(compression: str) -> None:
    name = {"gzip": "t.csv.gz", "zstd": "t.csv.zst", "zip": "t.csv.zip"}[compression]
    packed = written(MANY, batch=10_000, name=name, compression=compression)
    assert packed == written(MANY, batch=777, name=name, compression=compression)
    plain = written(MANY)
    assert len(packed) < len(plain) / 3
    assert _unpacked(packed, compression) == plain


def _unpacked(packed: bytes, compression: str) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdDecompressor().stream_reader(packed).read()
    if compression == "zip":
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            assert archive.testzip() is None
            assert archive.namelist() == ["t.csv"]
            return archive.read("t.csv")
    found = subprocess.run(["gzip", "-dc"], input=packed, capture_output=True, check=True).stdout
    assert gzip.decompress(packed) == found
    return found


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd", "zip"])
def test_a_full_disk_is_met_by_every_compression(compression: str) -> None:
    class Full(io.BytesIO):
        def write(self, data: Any) -> int:
            raise OSError(28, "No space left on device")

    file = File.model_validate({"name": "t.zip", "compression": compression})
    columns = text_columns(list(MANY))
    batch = pa.RecordBatch.from_arrays([pa.array(cells, pa.string()) for cells in MANY.values()], ["bigint", "text"])

    def all_of_it() -> None:
        writer = open_writer(file, columns, Full(), 0, file.name)
        try:
            writer.write(batch)
        finally:
            writer.close()

    with pytest.raises(OSError, match="No space left"):
        all_of_it()


def typed(columns: dict[str, pa.Array]) -> tuple[pa.Table, list[Column]]:
    table = pa.table(list(columns.values()), list(columns))
    return table, [Column(name, "", "other", array.type) for name, array in columns.items()]


def test_parquet_does_not_depend_on_how_rows_come() -> None:
    table, columns = typed({"id": pa.array(range(250_000)), "city": pa.array([f"c{n % 9}" for n in range(250_000)])})
    keys: dict[str, Any] = {"name": "t.parquet", "format": "parquet"}
    content = file_of(table, columns, 10_000, **keys)
    assert content == file_of(table, columns, 7_777, **keys)
    found = pq.ParquetFile(io.BytesIO(content))
    assert [found.metadata.row_group(index).num_rows for index in range(3)] == [100_000, 100_000, 50_000]
    assert found.read().equals(table)


def test_excel_cells_have_types_and_nothing_is_rounded_or_becomes_a_formula() -> None:
    table, columns = typed(
        {
            "id": pa.array([1, 2**53 + 1]),
            "total": pa.array([Decimal("1.50"), Decimal("12345678901234567.89")], pa.decimal128(19, 2)),
            "note": pa.array(["=1+1", "https://example.org"]),
            "paid": pa.array([True, None]),
        }
    )
    keys: dict[str, Any] = {"name": "t.xlsx", "format": "xlsx"}
    content = file_of(table, columns, **keys)
    assert content == file_of(table, columns, 1, **keys)
    with zipfile.ZipFile(io.BytesIO(content)) as book:
        sheet = ElementTree.fromstring(book.read("xl/worksheets/sheet1.xml"))
    cells = {
        cell.attrib["r"]: (cell.attrib.get("t", "n"), "".join(cell.itertext()))
        for cell in sheet.iter("{http://schemas.openxmlformats.org/spreadsheetml/2006/main}c")
    }
    assert cells["A2"] == ("n", "1") and cells["A3"] == ("inlineStr", "9007199254740993")
    assert cells["B2"] == ("n", "1.5") and cells["B3"] == ("inlineStr", "12345678901234567.89")
    assert cells["C2"] == ("inlineStr", "=1+1") and cells["C3"] == ("inlineStr", "https://example.org")
    assert cells["D2"] == ("b", "1") and "D3" not in cells


def test_excel_has_no_more_rows_than_that() -> None:
    table, columns = typed({"id": pa.array(range(1_048_576))})
    with pytest.raises(ExportError, match=r"1,048,57\d") as caught:
        file_of(table, columns, 100_000, name="t.xlsx", format="xlsx")
    assert caught.value.code is Code.VALUE_UNENCODABLE


@pytest.mark.parametrize("format", ["parquet", "xlsx"])
def test_what_compresses_itself_takes_no_compression(format: str) -> None:
    with pytest.raises(ValueError, match="compress"):
        File.model_validate({"name": "t", "format": format, "compression": "gzip"})
    assert FORMS[format] == "typed"
