"""Values arrive as they are: awkward rows through extraction to a file, read back by another library."""

import csv
import gzip
import io
import json
import uuid
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError
from tasks.extract import Extraction, extract

NO_SECRETS = str


def extracted(workshop: Workshop, export_id: str) -> Extraction:
    window = workshop.allot(export_id, str(uuid.uuid4()), datetime(2026, 6, 1, 12, tzinfo=UTC))
    return extract(workshop.load(export_id), window, NO_SECRETS)


def bytes_of(workshop: Workshop, **keys: Any) -> bytes:
    result = extracted(workshop, workshop.export(**keys))
    (file,) = result.files
    assert file.path.stat().st_mode & 0o777 == 0o600
    return file.path.read_bytes()


AWKWARD = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN short AS varchar(5);
CREATE TABLE awkward (
  id bigint, flag boolean, small smallint, whole integer, big bigint, exact numeric(38,10), plain numeric,
  single real, twice double precision, words text, fixed char(4), born date, at timestamp, at_zone timestamptz,
  clock time, raw bytea, doc json, docb jsonb, uid uuid, list integer[], span interval, feeling mood, tiny short);
INSERT INTO awkward VALUES
 (1, true, 1, 2147483647, 9223372036854775807, 1234567890123456789012345678.0123456789, 0.10, 0.1, 0.1,
  E'comma, "quote"\\nline\\r\\nand 🎂', 'ab', '2026-02-28', '2026-02-28 23:59:59.123456', '2026-02-28 23:59:59.5+05:30',
  '12:34:56.789', '\\x00ff10', '{"b": 1,  "a": "ü"}', '{"b": 1, "a": null}', '00000000-0000-0000-0000-000000000001',
  '{1,NULL,3}', '1 day 02:03:04', 'ok', 'abc'),
 (2, false, NULL, NULL, NULL, NULL, NULL, 'NaN', 'Infinity', '', '', NULL, NULL, NULL, NULL, '', NULL, NULL, NULL,
  '{}', NULL, NULL, NULL),
 (3, NULL, -1, -1, -1, -0.5, 1e30, 1e20, 1e15, NULL, NULL, '0001-01-01', '0001-01-01', '2026-07-01 00:00:00+02',
  '00:00', NULL, '"x"', '[]', NULL, NULL, '-1 year', 'sad', '');
"""


@pytest.fixture
def awkward(workshop: Workshop, postgres: Postgres) -> Workshop:
    workshop.database("crm", postgres.url(postgres.fresh_database(AWKWARD)).replace("secret", "{{ $PG_PASSWORD }}"))
    return workshop


@pytest.fixture(autouse=True)
def _password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PG_PASSWORD", "secret")


def test_postgres_to_csv_is_the_servers_own_text(awkward: Workshop) -> None:
    content = bytes_of(awkward, table="awkward").decode()
    rows = list(csv.reader(io.StringIO(content, newline="")))
    assert rows[1][:13] == [
        "1",
        "true",
        "1",
        "2147483647",
        "9223372036854775807",
        "1234567890123456789012345678.0123456789",
        "0.10",
        "0.1",
        "0.1",
        'comma, "quote"\nline\r\nand 🎂',
        "ab  ",
        "2026-02-28",
        "2026-02-28 23:59:59.123456",
    ]
    assert rows[1][13:] == [
        "2026-02-28 18:29:59.5+00",
        "12:34:56.789",
        "\\x00ff10",
        '{"b": 1,  "a": "ü"}',
        '{"a": null, "b": 1}',
        "00000000-0000-0000-0000-000000000001",
        "{1,NULL,3}",
        "P1DT2H3M4S",
        "ok",
        "abc",
    ]
    assert rows[3][5:9] == ["-0.5000000000", "1" + "0" * 30, "1e+20", "1e+15"]


def test_null_and_the_empty_string_are_told_apart(awkward: Workshop) -> None:
    lines = bytes_of(awkward, table="awkward", columns=["id", "words", "flag"], where="id > 1").decode().splitlines()
    assert lines == ["id,words,flag", '2,"",false', "3,,"]


def test_postgres_to_parquet_has_real_types_and_exact_values(awkward: Workshop) -> None:
    file = {"name": "a.parquet", "format": "parquet"}
    table = pq.read_table(io.BytesIO(bytes_of(awkward, table="awkward", file=file)))
    types = {field.name: field.type for field in table.schema}
    assert types["whole"] == pa.int32() and types["exact"] == pa.decimal128(38, 10)
    assert types["at_zone"] == pa.timestamp("us", tz="UTC") and types["at"] == pa.timestamp("us")
    assert types["plain"] == pa.string() and types["raw"] == pa.binary() and types["flag"] == pa.bool_()
    first, second, third = table.to_pylist()
    assert first["exact"] == Decimal("1234567890123456789012345678.0123456789")
    assert first["at_zone"] == datetime(2026, 2, 28, 18, 29, 59, 500_000, tzinfo=UTC)
    assert first["clock"] == time(12, 34, 56, 789_000) and first["born"] == date(2026, 2, 28)
    assert first["raw"] == b"\x00\xff\x10" and first["doc"] == '{"b": 1,  "a": "ü"}'
    assert (
        second["words"] == "" and second["whole"] is None and second["raw"] == b"" and second["twice"] == float("inf")
    )
    assert third["born"] == date(1, 1, 1) and third["plain"] == "1" + "0" * 30


@pytest.mark.parametrize("value", ["'infinity'", "'10000-01-01'", "'0044-03-15 BC'"])
def test_a_time_python_cannot_hold_is_named_for_parquet_and_kept_for_csv(
    workshop: Workshop, postgres: Postgres, value: str
) -> None:
    made = postgres.fresh_database("CREATE TABLE t (id int, at timestamptz)", f"INSERT INTO t VALUES (1, {value})")
    workshop.database("crm", postgres.url(made).replace("secret", "{{ $PG_PASSWORD }}"))
    assert value.strip("'")[:4] in bytes_of(workshop, table="t").decode()
    with pytest.raises(ExportError) as caught:
        bytes_of(workshop, export_id=workshop.id("p"), table="t", file={"name": "a.parquet", "format": "parquet"})
    assert caught.value.code is Code.VALUE_UNENCODABLE
    assert value.strip("'") not in caught.value.message


def test_postgres_to_jsonl_keeps_every_digit_and_embeds_json(awkward: Workshop) -> None:
    lines = bytes_of(awkward, table="awkward", file={"name": "a.jsonl", "format": "jsonl"}).split(b"\n")
    first, second, third = (json.loads(line, parse_float=Decimal) for line in lines[:-1])
    assert first["exact"] == Decimal("1234567890123456789012345678.0123456789") and first["flag"] is True
    assert first["doc"] == {"b": 1, "a": "ü"} == {**first["docb"], "a": "ü"} and first["list"] == "{1,NULL,3}"
    assert first["words"] == 'comma, "quote"\nline\r\nand 🎂' and first["at_zone"] == "2026-02-28 18:29:59.5+00"
    assert second["single"] == "NaN" and second["whole"] is None and second["words"] == ""
    assert third["plain"] == int("1" + "0" * 30) and third["doc"] == "x" and third["docb"] == []


@pytest.mark.parametrize(
    ("options", "column", "expected"),
    [
        ({"decimal_mark": ",", "delimiter": ";"}, "exact", "1234567890123456789012345678,0123456789"),
        ({"date_format": "%d/%m/%Y"}, "born", "28/02/2026"),
        ({"timestamp_format": "%Y%m%dT%H%M%S.%f"}, "at", "20260228T235959.123456"),
        ({"timestamp_format": "%H:%M:%S%z"}, "at_zone", "18:29:59+0000"),
        ({"formulas": "escape"}, "'=1'::text", "'=1"),
    ],
)
def test_postgres_writes_no_csv_itself_that_looks_otherwise(
    awkward: Workshop, options: dict[str, Any], column: str, expected: str
) -> None:
    # Two columns and nothing else against it: without the option the server's own COPY would write this file.
    query = f"SELECT {column} AS v, id FROM awkward WHERE id = 1"
    file = {"name": "a.csv", "csv": {**options, "header": False}}
    content = bytes_of(awkward, table=None, query=query, file=file).decode()
    assert content == f"{expected}{options.get('delimiter', ',')}1\n"


def test_a_query_keeps_colons_percents_and_casts(awkward: Workshop) -> None:
    query = "SELECT '12:30'::text AS a, 'x:y %s 100%' AS b, E'\\\\:z' AS c, id FROM awkward WHERE id::int = 1 -- end"
    assert bytes_of(awkward, table=None, query=query).decode() == "a,b,c,id\n12:30,x:y %s 100%,\\:z,1\n"


def test_integers_with_nulls_stay_integers_for_pandas_too(awkward: Workshop) -> None:
    frame = pd.read_csv(io.BytesIO(bytes_of(awkward, table="awkward", columns=["whole"])), dtype=str)
    assert frame["whole"].tolist()[0] == "2147483647"


SQLITE = """
CREATE TABLE awkward (id INTEGER, flag BOOLEAN, exact NUMERIC(10,2), real REAL, words TEXT, born DATE, at DATETIME,
                      raw BLOB);
INSERT INTO awkward VALUES
  (1, 1, 0.99, 0.1, 'a "b", c' || char(13) || char(10) || 'ü🎂', '2026-02-28', '2026-02-28 23:59:59.123456', x'00ff'),
  (NULL, 0, 12, 1e20, '', NULL, '2026-02-28T23:59:59', x''),
  (9007199254740993, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
"""


def test_sqlite_to_csv_writes_what_is_stored(workshop: Workshop) -> None:
    workshop.sqlite(script=SQLITE)
    assert bytes_of(workshop, table="awkward").decode() == (
        "id,flag,exact,real,words,born,at,raw\n"
        '1,1,0.99,0.1,"a ""b"", c\r\nü🎂",2026-02-28,2026-02-28 23:59:59.123456,\\x00ff\n'
        ',0,12,1e+20,"",,2026-02-28T23:59:59,\\x\n'
        "9007199254740993,,,,,,,\n"
    )


def test_sqlite_to_parquet_follows_the_declared_types(workshop: Workshop) -> None:
    workshop.sqlite(script=SQLITE)
    table = pq.read_table(
        io.BytesIO(bytes_of(workshop, table="awkward", file={"name": "a.parquet", "format": "parquet"}))
    )
    first, second, third = table.to_pylist()
    assert first["flag"] is True and first["exact"] == Decimal("0.99") and first["born"] == date(2026, 2, 28)
    assert second["exact"] == Decimal("12.00") and second["at"] == datetime(2026, 2, 28, 23, 59, 59)
    assert third["id"] == 9007199254740993 and third["words"] is None


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INTEGER", "'many'"),
        ("BOOLEAN", "77"),
        ("NUMERIC(10,2)", "0.999"),
        ("DATE", "'soon'"),
        ("DATETIME", "'2026-01-01 00:00:00.1234567'"),
    ],
)
def test_a_value_its_declared_type_cannot_hold_exactly_is_refused(
    workshop: Workshop, declared: str, value: str
) -> None:
    workshop.sqlite(script=f"CREATE TABLE t (id INTEGER, v {declared}); INSERT INTO t VALUES (1, NULL), (2, {value});")
    with pytest.raises(ExportError) as caught:
        bytes_of(workshop, table="t", file={"name": "a.parquet", "format": "parquet"})
    assert caught.value.code is Code.VALUE_UNENCODABLE
    assert "row 2, column 'v'" in caught.value.message and value.strip("'") not in caught.value.message


def test_gzip_gives_the_same_bytes_each_time(workshop: Workshop) -> None:
    workshop.sqlite()
    file = {"name": "a.csv.gz", "compression": "gzip"}
    first = bytes_of(workshop, export_id=workshop.id("a"), file=file)
    assert first == bytes_of(workshop, export_id=workshop.id("b"), file=file)
    assert gzip.decompress(first).decode().splitlines()[1] == "1,Anaïs,10.5,2026-01-01 08:00:00"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"quote": "all"}, '"id","customer"\r\n"1","Anaïs"\r\n"2",\r\n"3",""\r\n'),
        ({"quote": "non_numeric"}, '"id","customer"\r\n1,"Anaïs"\r\n2,\r\n3,""\r\n'),
        ({"null": "NULL"}, "id,customer\r\n1,Anaïs\r\n2,NULL\r\n3,\r\n"),
        ({"delimiter": ";", "header": False}, '1;Anaïs\r\n2;\r\n3;""\r\n'),
    ],
)
def test_csv_options(workshop: Workshop, options: dict[str, Any], expected: str) -> None:
    workshop.sqlite()
    file = {"name": "a.csv", "csv": {**options, "line_end": "\r\n"}}
    assert bytes_of(workshop, columns=["id", "customer"], file=file).decode() == expected


def test_a_value_that_equals_the_null_text_is_quoted(workshop: Workshop) -> None:
    workshop.sqlite(script="CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('NULL'), (NULL), ('null');")
    assert bytes_of(workshop, table="t", file={"name": "a.csv", "csv": {"null": "NULL"}}) == b'a\n"NULL"\nNULL\nnull\n'


@pytest.mark.parametrize(
    ("encoding", "mark"), [("utf-8-sig", b"\xef\xbb\xbf"), ("utf-16", b"\xff\xfe"), ("cp1252", b"")]
)
def test_encodings_write_their_mark_once(workshop: Workshop, encoding: str, mark: bytes) -> None:
    workshop.sqlite()
    content = bytes_of(workshop, columns=["customer"], file={"name": "a.csv", "csv": {"encoding": encoding}})
    assert content.startswith(mark) and content.decode(encoding) == 'customer\nAnaïs\n\n""\n'


def test_what_an_encoding_cannot_hold_is_named_by_row_and_column(workshop: Workshop) -> None:
    workshop.sqlite(script="CREATE TABLE t (id INTEGER, a TEXT); INSERT INTO t VALUES (1, 'x'), (2, 'secret 🎂');")
    with pytest.raises(ExportError) as caught:
        bytes_of(workshop, table="t", file={"name": "a.csv", "csv": {"encoding": "cp1252"}})
    assert caught.value.code is Code.VALUE_UNENCODABLE
    assert "row 2, column 'a'" in caught.value.message and "secret" not in str(caught.value)


def test_a_split_starts_each_part_with_a_header_and_none_is_empty(workshop: Workshop) -> None:
    workshop.sqlite()
    file = {"name": "o_{part:02d}.csv", "max_rows": 2}
    result = extracted(workshop, workshop.export(columns=["id"], file=file))
    assert [(part.name, part.rows, part.path.read_text()) for part in result.files] == [
        ("o_01.csv", 2, "id\n1\n2\n"),
        ("o_02.csv", 1, "id\n3\n"),
    ]
    exact = extracted(workshop, workshop.export(workshop.id("e"), columns=["id"], file={**file, "max_rows": 3}))
    assert [part.rows for part in exact.files] == [3]


@pytest.mark.parametrize(("empty", "expected"), [("header", [b"id\n"]), ("zero_bytes", [b""]), ("skip", [])])
def test_an_empty_result(workshop: Workshop, empty: str, expected: list[bytes]) -> None:
    workshop.sqlite()
    export_id = workshop.export(columns=["id"], where="id > 99", file={"name": "a.csv", "empty": empty})
    assert [file.path.read_bytes() for file in extracted(workshop, export_id).files] == expected


def test_an_empty_parquet_file_keeps_its_schema(workshop: Workshop) -> None:
    workshop.sqlite()
    content = bytes_of(workshop, where="id > 99", file={"name": "a.parquet", "format": "parquet"})
    table = pq.read_table(io.BytesIO(content))
    assert table.num_rows == 0 and table.schema.field("id").type == pa.int64()


def test_json_columns_stay_readable(awkward: Workshop) -> None:
    rows = csv.DictReader(io.StringIO(bytes_of(awkward, table="awkward", where="id = 1").decode(), newline=""))
    assert json.loads(next(rows)["docb"]) == {"a": None, "b": 1}


def test_nothing_is_left_in_the_spool_when_extraction_fails(workshop: Workshop) -> None:
    workshop.sqlite(script="CREATE TABLE t (v INTEGER); INSERT INTO t VALUES ('x');")
    with pytest.raises(ExportError):
        bytes_of(workshop, table="t", file={"name": "a.parquet", "format": "parquet"})
    assert [path for path in Path(workshop.folder / "spool").rglob("*") if path.is_file()] == []
