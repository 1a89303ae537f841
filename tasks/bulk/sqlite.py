"""SQLite tables as Arrow batches, through ADBC on a second connection.

https://arrow.apache.org/adbc/current/driver/sqlite.html

SQLite keeps a type with each value; the driver takes a column's type from its first rows, turns some values of other
types into it without a word, and stops at the rest. So the statement marks, and the batches are searched for, whatever
would have been turned.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import ColumnElement, Select, case, func, literal_column

from catalog.definition import Export
from tasks.bulk.ahead import read_ahead
from tasks.bulk.contract import Inexact, met
from tasks.bulk.exact import require_float_integers, to_declared
from tasks.connect import Source
from tasks.rows.batches import Form, Rows, schema_of
from tasks.rows.columns import Column
from tasks.source.read import Begun

#: Rows in one batch; in the first of them the driver finds each column's type.
_BATCH_ROWS = 10_000
#: Not UTF-8, so that a text which is none is found.
_NO_TEXT: ColumnElement[Any] = literal_column("x'ff'")


def open_batches(source: Source, export: Export, begun: Begun, form: Form) -> Rows | None:
    """The whole table's rows, or None for what is read within one transaction or has no declared types."""
    if export.cursor is not None or export.table is None:
        # What an incremental export knows of its window was seen by the first connection, and must be what is read.
        return None
    attached = source.connection.exec_driver_sql("PRAGMA database_list")
    (path,) = [file for _, name, file in attached if name == "main"]
    columns = begun.columns
    if any(column.arrow is None or column.kind == "bytes" for column in columns):
        return None
    statement = _marking(begun.statement, columns)
    sql = str(statement.compile(source.connection, compile_kwargs={"literal_binds": True}))
    batches = _batches(f"{Path(path).as_uri()}?mode=ro", sql, columns, form)
    return Rows(columns, batches)


def _marking(statement: Select[Any], columns: Sequence[Column]) -> Select[Any]:
    cells = [
        cell if column.kind in ("number", "boolean") else _marked(cell)
        for cell, column in zip(statement.selected_columns, columns, strict=True)
    ]
    numbered = [cell.label(f"c{index}") for index, cell in enumerate(cells)]
    return statement.with_only_columns(*numbered, maintain_column_froms=True)


def _marked(cell: ColumnElement[Any]) -> ColumnElement[Any]:
    # SQLite's own text of a real has 15 digits, and a blob's would be taken as it is.
    return case((func.typeof(cell).in_(["real", "blob"]), _NO_TEXT), else_=cell)


def _batches(uri: str, sql: str, columns: Sequence[Column], form: Form) -> Generator[pa.RecordBatch, None, None]:
    schema = schema_of(columns, form)
    # The thread that reads has the most to do, so that the batches are made exact by the one that writes.
    with closing(read_ahead(_read(uri, sql))) as batches:
        for batch in batches:
            try:
                arrays = [_cells(*cells) for cells in zip(batch.columns, columns, schema.types, strict=True)]
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise met(error) from error
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def _read(uri: str, sql: str) -> Generator[pa.RecordBatch, None, None]:
    # A fifth of a second, for which commands that read no rows need not wait.
    import adbc_driver_sqlite.dbapi as adbc

    try:
        with adbc.connect(uri) as connection, connection.cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH_ROWS)})
            cursor.execute(sql)
            yield from cursor.fetch_record_batch()
    except (adbc.Error, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise met(error) from error


def _cells(array: pa.Array, column: Column, kind: pa.DataType) -> pa.Array:
    expected = (pa.int64(), pa.float64()) if column.kind in ("number", "boolean") else (pa.int64(), pa.string())
    if array.type not in expected:
        raise Inexact(f"{array.type} in column {column.name!r}")
    if pa.types.is_string(array.type):
        # Bytes that are no text raise, be they marked or the table's own.
        array.validate(full=True)
    if not pa.types.is_floating(column.arrow):
        # A column of affinity REAL holds no integers: https://www.sqlite.org/datatype3.html
        require_float_integers(array)
    return to_declared(array, kind)
