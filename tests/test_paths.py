"""The path never shows in the file: whatever read a table, its bytes are the same."""

from __future__ import annotations

import sqlite3
import uuid
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import pytest
from postgres_server import Postgres
from sources import NO_SECRETS, an_export

from catalog.connections import Database
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, Window
from tasks import parts as parts_module
from tasks.bulk import postgres as bulk_postgres
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


def written(
    url: str, spool: Path, monkeypatch: pytest.MonkeyPatch, *, by: Literal["lines", "batches", "rows"], **keys: Any
) -> bytes:
    """The bytes of an export's one file, read by that path: finished lines, Arrow batches, or rows through Python."""
    monkeypatch.setenv("EXPORTS_SPOOL", str(spool))
    taken = ["rows"]
    with monkeypatch.context() as patched:
        for name, path in {"open_lines": "lines", "open_bulk": "batches"}.items():
            patched.setattr(parts_module, name, only_if(by == path, getattr(parts_module, name), taken, path))
        patched.setattr(parts_module.Parts, "_begin_anew", lambda _: taken.append("handed on"))
        window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t")
        result = extract(an_export(**keys), window, NO_SECRETS, load=lambda _: Database(url=url))
    assert taken[-1] == by, "the path that is meant was not taken"
    (file,) = result.files
    content = file.path.read_bytes()
    assert result.rows == file.rows
    return content


def only_if(wanted: bool, original: Any, taken: list[str], path: str) -> Any:
    def opened(*arguments: Any) -> Any:
        found = original(*arguments) if wanted else None
        if found is not None:
            taken.append(path)
        return found

    return opened


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
    always = written(awkward, tmp_path / "rows", monkeypatch, by="rows", file=file)
    assert written(awkward, tmp_path / "copy", monkeypatch, by="lines", file=file) == always
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
    always = written(awkward, tmp_path / "rows", monkeypatch, by="rows", **keys)
    assert written(awkward, tmp_path / "copy", monkeypatch, by="lines", **keys) == always


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
        written(awkward, tmp_path / "copy", monkeypatch, by="lines", **keys)
    assert written(awkward, tmp_path / "rows", monkeypatch, by="rows", **keys)


def test_an_error_in_the_middle_of_a_copy_is_told_as_any_other(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    query = "SELECT i, 1 / (5000 - i) AS x FROM generate_series(1, 9000) i"
    with pytest.raises(ExportError) as caught:
        written(awkward, tmp_path / "copy", monkeypatch, by="lines", query=query)
    assert caught.value.code is Code.SQL_ERROR and "division by zero" in caught.value.message
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


FILES: list[dict[str, Any]] = [
    {"name": "t.csv", "csv": {"decimal_mark": ",", "delimiter": ";"}},
    {"name": "t.csv", "csv": {"quote": "all", "line_end": "\r\n", "encoding": "utf-16"}},
    {"name": "t.jsonl", "format": "jsonl"},
    {"name": "t.csv.gz", "compression": "gzip"},
    {"name": "t.csv.zst", "compression": "zstd"},
    {"name": "t.zip", "compression": "zip"},
]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_batches_of_postgres_give_the_same_file(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: dict[str, Any]
) -> None:
    always = written(awkward, tmp_path / "rows", monkeypatch, by="rows", file=file)
    assert written(awkward, tmp_path / "batches", monkeypatch, by="batches", file=file) == always


#: What each type of `CELLS` holds that a typed file can hold too.
TYPED = ["c0", "c1", "c3", "c4", "c5", "c6", "c8", "c9", "c16", "c17", "c18", "c20", "c2", "c15", "c21"]


@pytest.mark.parametrize("format", ["parquet", "xlsx"])
def test_batches_of_postgres_give_the_same_typed_file(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    keys: dict[str, Any] = {"file": {"name": f"t.{format}", "format": format}, "columns": ["id", *TYPED]}
    if format == "xlsx":
        # A cell cannot hold a control character.
        keys["columns"].remove("c8")
    always = written(awkward, tmp_path / "rows", monkeypatch, by="rows", **keys)
    assert written(awkward, tmp_path / "batches", monkeypatch, by="batches", **keys) == always


@pytest.mark.parametrize("column", ["c10", "c11", "c12", "c13"])
def test_what_arrow_cannot_say_is_handed_on_and_refused_in_words(
    awkward: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, column: str
) -> None:
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path))
    window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t")
    export = an_export(columns=["id", column], file={"name": "t.parquet", "format": "parquet"})
    with pytest.raises(ExportError, match=f"column '{column}'") as caught:
        extract(export, window, NO_SECRETS, load=lambda _: Database(url=awkward))
    assert caught.value.code is Code.VALUE_UNENCODABLE


#: SQLite values that stay what they are beside each other, by declared type.
LITE = {
    "INTEGER": [1, -(2**63), None, 0],
    "REAL": [0.1, 1e300, -0.0, 12345678901.5, 1e-7, 3.0, None],
    "NUMERIC(12,2)": [1.1, 2, None, 99.25],
    "TEXT": ["", 'a "quote", b', "two\nlines", "😀", None, "x\r"],
    "DATE": ["2026-01-01", None, "0044-01-01"],
    "TIMESTAMP": ["2026-01-01 10:00:00.000001", None],
    "BOOLEAN": [1, 0, None],
    "JSON": ['{"a": [1, "b,c"]}', None],
}


def lite(folder: Path, columns: dict[str, list[Any]], late: dict[str, Any] | None = None) -> str:
    """The URL of a SQLite database with these values, and after many rows those of `late`."""
    path = folder / "lite.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'c{i} {kind}' for i, kind in enumerate(columns))})")
        rows = [[values[row % len(values)] for values in columns.values()] for row in range(25_000)]
        rows += [[(late or {}).get(kind) for kind in columns]]
        connection.executemany(f"INSERT INTO t VALUES ({','.join('?' * len(columns))})", rows)
        connection.commit()
    return f"sqlite:///{path}"


@pytest.mark.parametrize(
    "file",
    [{"name": "t.csv"}, {"name": "t.jsonl", "format": "jsonl"}, {"name": "t.csv", "csv": {"quote": "all"}}],
    ids=str,
)
def test_batches_of_sqlite_give_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: dict[str, Any]
) -> None:
    url = lite(tmp_path, LITE)
    always = written(url, tmp_path / "rows", monkeypatch, by="rows", file=file)
    assert written(url, tmp_path / "batches", monkeypatch, by="batches", file=file) == always


def test_batches_of_sqlite_give_the_same_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = lite(tmp_path, LITE)
    keys = {"file": {"name": "t.parquet", "format": "parquet"}}
    always = written(url, tmp_path / "rows", monkeypatch, by="rows", **keys)
    assert written(url, tmp_path / "batches", monkeypatch, by="batches", **keys) == always


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INTEGER", 1.5),
        ("INTEGER", "text"),
        ("REAL", "text"),
        ("NUMERIC(12,2)", 2**53 + 1),
        ("TEXT", b"\xff\x00"),
        ("TEXT", b"ascii"),
        ("DATE", 2460000.123456789),
        ("JSON", 0.30000000000000004),
        ("BOOLEAN", "yes"),
    ],
)
def test_a_late_value_of_another_type_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, value: Any
) -> None:
    url = lite(tmp_path, LITE, {kind: value})
    always = written(url, tmp_path / "rows", monkeypatch, by="rows", file={"name": "t.csv"})
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "batches"))
    window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t")
    found = extract(an_export(file={"name": "t.csv"}), window, NO_SECRETS, load=lambda _: Database(url=url))
    assert found.read_anew is not None and str(value) not in found.read_anew
    (file,) = found.files
    assert file.path.read_bytes() == always
    assert file.rows == 25_001


def test_a_second_connection_that_is_refused_only_takes_longer(postgres: Postgres, tmp_path: Path) -> None:
    made = postgres.fresh_database("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    with postgres.connect(made) as connection:
        connection.execute(f"CREATE ROLE {made} LOGIN PASSWORD 'secret' CONNECTION LIMIT 1")
        connection.execute(f"GRANT SELECT ON t TO {made}")
    window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t")
    export = an_export(file={"name": "t.parquet", "format": "parquet"})
    found = extract(export, window, NO_SECRETS, load=lambda _: Database(url=postgres.url(made, made, "secret")))
    assert found.rows == 2 and "OperationalError" in (found.read_anew or "")
    assert pq.read_table(found.files[0].path).column("id").to_pylist() == [1, 2]


def test_somebody_who_queues_for_the_whole_table_only_makes_it_take_longer(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = postgres.fresh_database("CREATE TABLE t (id integer PRIMARY KEY)", "INSERT INTO t VALUES (1), (2)")
    queueing = ThreadPoolExecutor(1)
    read = bulk_postgres._read

    def behind_the_queue(*arguments: Any) -> Any:
        with postgres.connect(made) as looking:
            asked.append(queueing.submit(locked))
            while not looking.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchone():
                pass
        yield from read(*arguments)

    def locked() -> None:
        with postgres.connect(made) as connection, connection.transaction():
            connection.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")

    asked: list[Future[None]] = []
    monkeypatch.setattr(bulk_postgres, "_read", behind_the_queue)
    monkeypatch.setattr(bulk_postgres, "LOCK_SECONDS", 1)
    window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t")
    export = an_export(file={"name": "t.parquet", "format": "parquet"})
    with queueing:
        found = extract(export, window, NO_SECRETS, load=lambda _: Database(url=postgres.url(made)))
        asked[0].result()
    assert found.rows == 2 and found.read_anew is not None
