"""Reading SQLite, which keeps a type with each value: what is stored arrives, or is refused without being shown."""

import traceback
from datetime import datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sources import an_export, headed, opened, rows_of, sqlite_file

from catalog.errors import Code, ExportError
from tasks.source.read import verify


def typed(url: str, **keys: Any) -> pa.Table:
    with opened(url) as source:
        return pa.Table.from_batches(list(headed(source, an_export(**keys), "typed").batches))


def test_declared_types_as_people_write_them(tmp_path: Path) -> None:
    columns = "a STRING, b UUID, c UNSIGNED BIG INT, d INT, e VARCHAR(9), f DOUBLE, g DECIMAL(9,3), h, i ENUM, j BLOB"
    values = "'7', 'ab-1', 9007199254740993, 1, 'x', 0.1, 2.5, 1, 'y', x'00ff'"
    url = sqlite_file(tmp_path, f"CREATE TABLE t ({columns}); INSERT INTO t VALUES ({values});")
    table = typed(url)
    assert table.schema.types == [
        pa.string(),
        pa.string(),
        pa.int64(),
        pa.int64(),
        pa.string(),
        pa.float64(),
        pa.decimal128(9, 3),
        pa.int64(),
        pa.string(),
        pa.binary(),
    ]
    # STRING is no type of SQLite's, and makes a number of '7': what is stored is what arrives.
    assert table.to_pylist()[0] == {
        **{"a": "7", "b": "ab-1", "c": 9007199254740993, "d": 1, "e": "x", "f": 0.1, "g": Decimal("2.500"), "h": 1},
        **{"i": "y", "j": b"\x00\xff"},
    }


def test_text_in_a_column_of_no_known_type_is_quoted_as_text(tmp_path: Path) -> None:
    url = sqlite_file(tmp_path, "CREATE TABLE t (a STRING, b INTEGER); INSERT INTO t VALUES ('x', 1);")
    with opened(url) as source:
        assert [column.kind for column in headed(source, an_export()).columns] == ["other", "number"]


def test_a_view_and_a_query_say_their_types_by_their_values(tmp_path: Path) -> None:
    script = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES ('x'), ('y'); CREATE VIEW v AS SELECT count(*) AS n FROM t;"
    url = sqlite_file(tmp_path, script)
    query = "SELECT n, n / 2.0 AS half, NULL AS blank, a FROM v, t"
    assert typed(url, table="v").schema.types == [pa.int64()]
    assert typed(url, query=query).schema.types == [pa.int64(), pa.float64(), pa.string(), pa.string()]
    assert rows_of(url, an_export(query=query)) == [["2", "1", None, "x"], ["2", "1", None, "y"]]


@pytest.mark.parametrize(
    ("declared", "value", "expected"),
    [
        ("TIME", "'10:00:00.123456'", time(10, 0, 0, 123456)),
        ("DATETIME", "'2026-03-01T10:00:00Z'", datetime(2026, 3, 1, 10)),
        ("DATETIME", "'2026-03-01 10:00:00.1234560'", datetime(2026, 3, 1, 10, 0, 0, 123456)),
        ("REAL", "3", 3.0),
        ("INTEGER", "4.0", 4),
        ("BOOLEAN", "1", True),
    ],
)
def test_values_that_fit_their_declared_type(tmp_path: Path, declared: str, value: str, expected: Any) -> None:
    url = sqlite_file(tmp_path, f"CREATE TABLE t (v {declared}); INSERT INTO t VALUES ({value});")
    assert typed(url).column("v").to_pylist() == [expected]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("INTEGER", "9e999"),
        ("INTEGER", "0.5"),
        ("SMALLINT", "70000"),
        ("FLOAT", "'n/a'"),
        ("TIME", "'10:00:00.1234567'"),
        ("TIME", "'10:00:00+02:00'"),
        ("DATETIME", "'2026-03-01 10:00:00+02:00'"),
        ("DATETIME", "'2026-03-01 10:00:00,1234567'"),
        ("DATE", "'2026-03-01 10:00:00'"),
        ("BLOB", "'text'"),
        ("TIMESTAMP WITH TIME ZONE", "'2026-03-01 10:00:00'"),
    ],
)
def test_values_that_do_not_are_refused(tmp_path: Path, declared: str, value: str) -> None:
    url = sqlite_file(tmp_path, f"CREATE TABLE t (v {declared}); INSERT INTO t VALUES (NULL), ({value});")
    with pytest.raises(ExportError, match="row 2, column 'v': the value cannot be held exactly as") as caught:
        typed(url)
    assert caught.value.code is Code.VALUE_UNENCODABLE and value.strip("'") not in caught.value.message


def test_text_that_is_no_utf8_names_the_column_and_not_the_text(tmp_path: Path) -> None:
    url = sqlite_file(tmp_path, "CREATE TABLE t (v TEXT); INSERT INTO t VALUES (CAST(x'536563726574e9' AS TEXT));")
    with pytest.raises(ExportError, match="column 'v'") as caught:
        rows_of(url, an_export())
    assert caught.value.code is Code.VALUE_UNENCODABLE
    assert "Secret" not in "".join(traceback.format_exception(caught.value))


def test_checking_reads_no_row(tmp_path: Path) -> None:
    url = sqlite_file(tmp_path, "CREATE TABLE t (v TEXT); INSERT INTO t VALUES (CAST(x'536563726574e9' AS TEXT));")
    with opened(url) as source:
        verify(source, an_export())


def test_a_relative_path_starts_beside_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "catalog").mkdir()
    monkeypatch.setenv("EXPORTS_CATALOG", str(tmp_path / "catalog"))
    sqlite_file(tmp_path, "CREATE TABLE t (v TEXT); INSERT INTO t VALUES ('x');")
    assert rows_of("sqlite:///source.sqlite", an_export()) == [["x"]]
