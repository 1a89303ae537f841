"""PostgreSQL as Arrow batches: binary COPY through ADBC, on a second connection that sees the same snapshot.

https://arrow.apache.org/adbc/current/driver/postgresql.html
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
from psycopg.conninfo import make_conninfo
from sqlalchemy import ColumnElement, Select, Text, case, cast, func, text

from tasks.bulk.ahead import read_ahead
from tasks.bulk.contract import met
from tasks.bulk.exact import to_declared
from tasks.connect import Source
from tasks.rows.batches import Form, Rows, schema_of
from tasks.rows.columns import Column
from tasks.source.postgres import describe, psycopg_connection, statement_text
from tasks.source.read import Begun

LOCK_SECONDS = 10
#: About as many bytes of Arrow in one batch: more takes memory and no less time.
_BATCH_BYTES = 2 << 20
#: libpq reads from the network as much as its buffer holds, 16 KiB at first; a row of this size makes it grow.
_RECEIVE_BYTES = 256 << 10
#: Types whose binary form is read; the others are written as text by the server.
_BINARY = {
    "bool", "int2", "int4", "int8", "float4", "float8", "bytea", "date", "time", "timestamp", "timestamptz",
    "text", "varchar", "bpchar", "name", "json", "jsonb", "uuid",
}  # fmt: skip
#: In the text form only what has one text, which its bytes are or say; a cast of char(n) to text would cut its blanks.
_TEXTS = {"text", "varchar", "bpchar", "name", "json", "jsonb", "uuid"}
#: Types whose cast to text is their own text. An inet's is not, and anybody may define a cast for a type of theirs.
_CAST = {
    "bool", "int2", "int4", "int8", "float4", "float8", "numeric", "bytea",
    "date", "time", "timetz", "timestamp", "timestamptz", "interval",
}  # fmt: skip


def open_batches(source: Source, begun: Begun, form: Form) -> Rows | None:
    """The window's rows, or None when the server's texts may not be text."""
    raw = psycopg_connection(source.connection)
    if raw.info.parameter_status("server_encoding") == "SQL_ASCII":
        return None
    with source.connection.execute(begun.statement.limit(0)) as result:
        described = describe(result)
        description: Any = result.cursor.description if result.cursor is not None else ()
        words = [found.type_display.partition("(")[0] for found in description]
    columns = tuple(replace(found, name=named.name) for found, named in zip(described, begun.columns, strict=True))
    # The driver's own reading of a numeric takes longer than the server's writing of its text.
    native = [word in (_TEXTS if form == "text" else _BINARY) for word in words]
    statement = _as_texts(begun.statement, words, native)
    snapshot = source.connection.execute(text("SELECT pg_export_snapshot()")).scalar_one()
    conninfo = make_conninfo(raw.info.dsn, password=raw.info.password)
    batches = _batches(conninfo, snapshot, statement_text(source.connection, statement), columns, form)
    return Rows(columns, batches)


def _as_texts(statement: Select[Any], words: Sequence[str], native: Sequence[bool]) -> Select[Any]:
    cells = [
        cell if is_native else cast(cell, Text) if word in _CAST else _output(cell)
        for cell, word, is_native in zip(statement.selected_columns, words, native, strict=True)
    ]
    numbered = [cell.label(f"c{index}") for index, cell in enumerate(cells)]
    return statement.with_only_columns(*numbered, maintain_column_froms=True)


def _output(cell: ColumnElement[Any]) -> ColumnElement[Any]:
    # For NULL, format() gives the empty text.
    return case((cell.is_not(None), func.format("%s", cell)))


def _batches(
    conninfo: str, snapshot: str, sql: str, columns: Sequence[Column], form: Form
) -> Generator[pa.RecordBatch, None, None]:
    schema = schema_of(columns, form)
    # The server waits for the thread that reads, so that the batches are made exact by the one that writes.
    with closing(read_ahead(_read(conninfo, snapshot, sql))) as batches:
        for batch in batches:
            try:
                arrays = [to_declared(array, field.type) for array, field in zip(batch.columns, schema, strict=True)]
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise met(error) from error
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _read(conninfo: str, snapshot: str, sql: str) -> Generator[pa.RecordBatch, None, None]:
    # A fifth of a second, for which commands that read no rows need not wait.
    import adbc_driver_postgresql.dbapi as adbc

    try:
        with adbc.connect(conninfo, autocommit=False) as connection, connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            cursor.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'")
            # Who queues for the whole table waits for the first connection, and would be waited for here.
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            cursor.adbc_statement.set_options(**{"adbc.postgresql.batch_size_hint_bytes": str(_BATCH_BYTES)})
            cursor.execute(f"SELECT repeat(' ', {_RECEIVE_BYTES})")
            cursor.fetchall()
            cursor.execute(sql)
            yield from cursor.fetch_record_batch()
            with suppress(adbc.Error):
                connection.rollback()
    except (adbc.Error, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise met(error) from error
