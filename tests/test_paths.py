"""The path never shows in the file: whatever read a table, its bytes are the same."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres
from sources import NO_SECRETS, an_export

from catalog.connections import Database
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, Window
from tasks import extract as extract_module
from tasks.extract import extract

#: Types that people use, with values that a careless path would write in another way.
CELLS = {
    "integer": ["-2147483648", "0"],
    "bigint": ["9223372036854775807", "-1"],
    "numeric": ["1.10", "NaN", "99999999999999999999999999999999999999", "Infinity"],
    "numeric(38,10)": ["-1234567890123456789012345678.0123456789"],
    "real": ["0.1", "1e38", "NaN", "-Infinity"],
    "double precision": ["0.30000000000000004", "1e-300", "Infinity", "-0"],
    "boolean": ["true", "false"],
    "boolean[]": ["{t,f,NULL}"],
    "text": [
        "",
        "x",
        " lead",
        'say "yes"',
        "a,b",
        "a;b",
        "two\nlines",
        "cr\rlf\r\n",
        "\t\x01\x1f",
        "NULL",
        "\\.",
        "\\N",
        "😀é",
    ],
    "char(5)": ["ab", ""],
    "date": ["0044-03-15 BC", "infinity", "12026-01-01", "2026-02-28"],
    "timestamp": ["2026-01-01 00:00:00.000001", "-infinity", "0001-01-01 00:00:00 BC"],
    "timestamptz": ["2026-07-01 00:00:00.5+05:30", "infinity"],
    "time": ["24:00:00", "23:59:59.999999"],
    "timetz": ["10:00:00+02"],
    "interval": ["1 year -2 months 3 days 04:05:06.7"],
    "bytea": ["\\x00ff22", "\\x"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"],
    "jsonb": ['{"a": [1, "x,y"], "b": null}'],
    "json": ['{"a" :  1}'],
    "text[]": ['{"a,b","c\\"d",NULL,"NULL"}'],
    "int4range": ["[1,5)", "empty"],
    "inet": ["::1/128", "10.0.0.1/8"],
    "bit(3)": ["101"],
    "tsvector": ["'a':1 'b':2"],
    "point": ["(1,2.5)"],
    "money": ["12.34"],
    "mood": ["sad, but ok"],
    "positive": ["7"],
    "truth": ["true"],
    "pair": ['("x,y",t)'],
    '"char"': ["x"],
    "oid": ["4294967295"],
}
TYPES = (
    "CREATE TYPE mood AS ENUM ('sad, but ok')",
    "CREATE DOMAIN positive AS integer CHECK (VALUE > 0)",
    "CREATE DOMAIN truth AS boolean",
    "CREATE TYPE pair AS (a text, b boolean)",
)


@pytest.fixture(scope="module")
def awkward(postgres: Postgres) -> str:
    """The URL of a database whose table `t` has a column of each type, and a row for each value."""
    names = {kind: f"c{index}" for index, kind in enumerate(CELLS)}
    columns = ", ".join(f"{name} {kind}" for kind, name in names.items())
    made = postgres.fresh_database(
        *TYPES, f'CREATE TABLE t (id integer PRIMARY KEY, {columns}, "Odd ""name""; x" text)'
    )
    with postgres.connect(made) as connection:
        for row in range(max(len(values) for values in CELLS.values())):
            cells = [values[row] if row < len(values) else None for values in CELLS.values()]
            marks = ", ".join(f"%s::text::{kind}" for kind in CELLS)
            connection.execute(f"INSERT INTO t VALUES ({row}, {marks}, 'q')", cells)
    return postgres.url(made)


def written(url: str, spool: Path, monkeypatch: pytest.MonkeyPatch, *, fast: bool, **keys: Any) -> bytes:
    """The bytes of an export's one file, read by the fastest path or by the one that always works."""
    monkeypatch.setenv("EXPORTS_SPOOL", str(spool))
    taken = []
    with monkeypatch.context() as patched:
        original = extract_module.open_lines

        def open_lines(*arguments: Any) -> Any:
            lines = original(*arguments) if fast else None
            taken.append(lines is not None)
            return lines

        patched.setattr(extract_module, "open_lines", open_lines)
        window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t")
        result = extract(an_export(**keys), window, NO_SECRETS, load=lambda _: Database(url=url))
    assert taken == [fast], "the path that is meant was not taken"
    (file,) = result.files
    content = file.path.read_bytes()
    assert result.rows == file.rows
    return content


OPTIONS: list[dict[str, Any]] = [
    {},
    {"delimiter": ";", "null": "NULL"},
    {"quote": "all"},
    {"quote": "non_numeric", "null": "\\N"},
    {"header": False, "delimiter": "\t"},
    {"delimiter": "|", "null": "x"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_copy_writes_what_the_csv_writer_writes(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]
) -> None:
    file = {"name": "t.csv", "csv": options}
    always = written(awkward, tmp_path / "rows", monkeypatch, fast=False, file=file)
    assert written(awkward, tmp_path / "copy", monkeypatch, fast=True, file=file) == always
    assert "😀é".encode() in always


@pytest.mark.parametrize(
    "keys",
    [
        {
            "columns": ["c6", {"id": "number"}, {'Odd "name"; x': "odd,name"}],
            "where": "c6 AND id % 2 = 0 OR '%s' = ':a'",
        },
        {"table": None, "query": "SELECT id, c6 AS flag, '100%' AS \"per%cent\" FROM t ORDER BY id"},
        {"where": "false"},
    ],
    ids=["chosen", "query", "empty"],
)
def test_copy_reads_the_same_selection(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    keys = {key: value for key, value in keys.items() if value is not None}
    always = written(awkward, tmp_path / "rows", monkeypatch, fast=False, **keys)
    assert written(awkward, tmp_path / "copy", monkeypatch, fast=True, **keys) == always


@pytest.mark.parametrize(
    "keys",
    [
        {"columns": ["c8"]},
        {"columns": ["id", {"id": "again"}]},
        {"file": {"name": "t.csv", "csv": {"line_end": "\r\n"}}},
        {"file": {"name": "t.csv", "csv": {"encoding": "utf-16"}}},
        {"file": {"name": "t.csv", "csv": {"delimiter": "§"}}},
    ],
    ids=["one column", "a column twice", "line end", "encoding", "delimiter"],
)
def test_what_copy_cannot_write_exactly_it_does_not_write(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keys: dict[str, Any]
) -> None:
    with pytest.raises(AssertionError, match="the path that is meant"):
        written(awkward, tmp_path / "copy", monkeypatch, fast=True, **keys)
    assert written(awkward, tmp_path / "rows", monkeypatch, fast=False, **keys)


def test_an_error_in_the_middle_of_a_copy_is_told_as_any_other(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT i, 1 / (5000 - i) AS x FROM generate_series(1, 9000) i"
    with pytest.raises(ExportError) as caught:
        written(awkward, tmp_path / "copy", monkeypatch, fast=True, query=query)
    assert caught.value.code is Code.SQL_ERROR and "division by zero" in caught.value.message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
