"""Rows out of a database, as a stream of Arrow batches that hold exactly what the database holds.

In the text form every cell is the canonical text of `tasks.rows.values`; in the typed form columns have real types.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pyarrow as pa
from sqlalchemy import CursorResult, Select

from catalog.definition import Export
from catalog.windows import Bounds
from tasks.connect import Source
from tasks.rows.batches import Form, Rows, after, batches_of
from tasks.rows.columns import Column, guessed, refuse_twins, table_columns
from tasks.source.cursor import fraction_digits, stored_range, typed_range, xid_range
from tasks.source.postgres import describe, prepare_reading
from tasks.source.query import (
    CursorRange,
    build_select,
    describe_cursor,
    describe_query,
    largest_cursor,
    require_column,
    select_with_keys,
)
from tasks.source.ranges import extent_of
from tasks.source.relation import refuse_without_xids
from tasks.source.snapshot import refuse_older_snapshot
from tasks.source.stored_forms import forms_of
from tasks.source.strays import Strays, find_strays

#: Rows in one batch: large enough that the work per batch vanishes, small enough that memory stays flat.
_BATCH = 10_000


class Reshaping(Protocol):
    """Makes other rows and columns of those that were read, batch by batch."""

    def __call__(
        self, columns: Sequence[Column], chunks: Generator[list[Any], None, None], dialect: str, /
    ) -> tuple[tuple[Column, ...], Generator[list[Any], None, None]]:
        """The columns and rows that are written; `chunks` hold Python values."""


@dataclass(frozen=True, slots=True)
class LateRows:
    """Rows of an earlier span that are read before the window's own: those whose key cells are `wanted`."""

    span: CursorRange
    key: tuple[str, ...]
    wanted: Callable[[Sequence[Any]], bool]


def open_rows(
    source: Source,
    export: Export,
    begun: Begun,
    form: Form,
    late: LateRows | None = None,
    reshape: Reshaping | None = None,
) -> Rows:
    """Read the window's rows, after the `late` ones; those of `reshape` stand in their place, where it is given.

    Batches must be consumed while the source is open.
    Raises ExportError for what is wrong with the SQL, and VALUE_UNENCODABLE while reading.
    """
    if source.dialect == "postgresql":
        prepare_reading(source.connection, form if reshape is None else "typed")
    first = _late_rows(source, export, begun.source_columns, late) if late else []
    return Rows(*_run(source, begun.statement, begun.columns, form, first, reshape))


@dataclass(frozen=True, slots=True)
class Begun:
    """What every way of reading begins with: the statement, the columns of the table or query, the file's columns as
    these declare them, and the rows that no window holds."""

    statement: Select[Any]
    source_columns: tuple[Column, ...]
    columns: tuple[Column, ...]
    strays: Strays


def begin_reading(source: Source, export: Export, bounds: Bounds) -> Begun:
    """Everything before the first row. Raises ExportError for what is wrong with table, columns, cursor or SQL."""
    refuse_older_snapshot(source, export, bounds)
    columns = source_columns(source, export)
    span, strays = None, Strays()
    if export.cursor is not None:
        range_of = cursor_ranges(source, export, columns, bounds)
        span, strays = range_of(bounds), find_strays(source, export, columns, range_of, bounds)
    return Begun(build_select(export, columns, span), columns, _chosen(export, columns), strays)


def _late_rows(source: Source, export: Export, columns: Sequence[Column], late: LateRows) -> list[Any]:
    as_text = source.dialect == "postgresql"
    statement = select_with_keys(export, columns, late.key, late.span, as_text=as_text)
    end = -len(late.key) - 1
    with source.connection.execute(statement) as result:
        return [row[:end] for row in result if late.wanted(row[end:])]


@dataclass(frozen=True, slots=True)
class Shown:
    """The beginning of a result, for people: `columns` are (name, type), cells canonical text or None."""

    sql: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str | None, ...], ...]


def preview(source: Source, export: Export, bounds: Bounds, limit: int, reshape: Reshaping | None = None) -> Shown:
    """The statement with its values written in, and its first rows."""
    begun = _begin_looking(source, export, bounds)
    first = _first(source, export, begun, limit, "text", reshape)
    rows = [row for batch in first.batches for row in zip(*(cells.to_pylist() for cells in batch.columns), strict=True)]
    compiled = begun.statement.compile(source.connection, compile_kwargs={"literal_binds": True})
    return Shown(
        str(compiled).replace("%%", "%") if "format" in compiled.dialect.paramstyle else str(compiled),
        tuple((column.name, column.type_text) for column in first.columns),
        tuple(rows),
    )


def first_rows(
    source: Source, export: Export, bounds: Bounds, limit: int, form: Form, reshape: Reshaping | None = None
) -> Rows:
    """The first rows of the window, `reshape` as in `open_rows`. Batches must be consumed while the source is open."""
    return _first(source, export, _begin_looking(source, export, bounds), limit, form, reshape)


def _begin_looking(source: Source, export: Export, bounds: Bounds) -> Begun:
    """As `begin_reading`, but nobody asks for the rows that no window holds."""
    columns = source_columns(source, export)
    statement = build_select(export, columns, cursor_range(source, export, columns, bounds))
    return Begun(statement, columns, _chosen(export, columns), Strays())


def _first(source: Source, export: Export, begun: Begun, limit: int, form: Form, reshape: Reshaping | None) -> Rows:
    return open_rows(source, export, replace(begun, statement=begun.statement.limit(limit)), form, None, reshape)


def verify(source: Source, export: Export, reshape: Reshaping | None = None) -> None:
    """Raises the first ExportError that a run would meet before its first row; nothing is read."""
    if export.file.partitions > 1:
        extent_of(source, export)
    xids = export.cursor is not None and export.cursor.mode == "xid"
    begun = _begin_looking(source, export, Bounds(high="0" if xids else "2026-01-01T00:00:00+00:00"))
    statement = begun.statement.limit(0)
    if reshape is None:
        source.connection.execute(statement).close()
    else:
        _run(source, statement, begun.columns, "text", [], reshape)


def source_columns(source: Source, export: Export) -> tuple[Column, ...]:
    """The columns of the export's table, or of its query."""
    # The parser is imported for SQL that a person wrote: most exports have none.
    if export.where is not None:
        from tasks.source.statement import refuse_where

        refuse_where(export.where, source.dialect)
    if export.table is not None:
        return table_columns(source.connection, export.table)
    assert export.query is not None, "a definition has a table or a query"
    from tasks.source.statement import refuse_query

    refuse_query(export.query, source.dialect)
    with source.connection.execute(describe_query(export.query)) as result:
        return result_columns(source, result)


def result_columns(source: Source, result: CursorResult[Any]) -> tuple[Column, ...]:
    """The columns that a person's own SQL gives. Raises ExportError QUERY_INVALID when two have one name."""
    if source.dialect == "postgresql":
        columns = describe(result)
    else:
        columns = tuple(Column(name, "", "other", None) for name in result.keys())  # noqa: SIM118
    refuse_twins(columns)
    return columns


def cursor_range(source: Source, export: Export, columns: Sequence[Column], bounds: Bounds) -> CursorRange | None:
    """The window's bounds as values of the cursor column, or None without a cursor."""
    return None if export.cursor is None else cursor_ranges(source, export, columns, bounds)(bounds)


def cursor_ranges(
    source: Source, export: Export, columns: Sequence[Column], bounds: Bounds
) -> Callable[[Bounds], CursorRange]:
    """What turns bounds into values of the cursor column; the database is asked once, for `bounds` around all.

    Raises ExportError COLUMN_MISSING, CURSOR_TYPE or XID_UNSUPPORTED for what is wrong with the column.
    """
    assert export.cursor is not None, "only incremental exports have a cursor"
    if export.cursor.mode == "xid":
        refuse_without_xids(source, export)
        return xid_range
    cursor = cursor_column(source, export, columns)
    if source.dialect == "sqlite":
        largest = source.connection.execute(largest_cursor(export, columns)).scalar()
        forms = forms_of(source, export, columns, bounds)
        return lambda span: stored_range(cursor, largest, forms, span, source.timezone)
    if cursor.arrow is None:
        largest = source.connection.execute(largest_cursor(export, columns)).scalar()
        cursor = guessed(cursor, [largest])
    digits = fraction_digits(cursor, source.dialect)
    return lambda span: typed_range(cursor, span, source.timezone, digits)


def cursor_column(source: Source, export: Export, columns: Sequence[Column]) -> Column:
    """The cursor column. Raises ExportError COLUMN_MISSING when it is not there."""
    assert export.cursor is not None and export.cursor.column is not None, "this mode has a cursor column"
    if source.dialect == "postgresql":
        # A domain hides the precision of its type, and a result does not.
        with source.connection.execute(describe_cursor(export, columns)) as result:
            return describe(result)[0]
    require_column(export.cursor.column, [column.name for column in columns], "cursor.column")
    return next(column for column in columns if column.name == export.cursor.column)


def _chosen(export: Export, columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of the file, as far as the table says what they are."""
    by_name = {column.name: column for column in columns}
    wanted = export.column_names or tuple((column.name, column.name) for column in columns)
    return tuple(
        Column(output, by_name[name].type_text, by_name[name].kind, by_name[name].arrow)
        for name, output in wanted
        if name in by_name
    )


def _run(
    source: Source,
    statement: Select[Any],
    columns: tuple[Column, ...],
    form: Form,
    first: list[Any],
    reshape: Reshaping | None = None,
) -> tuple[tuple[Column, ...], Generator[pa.RecordBatch, None, None]]:
    result = source.connection.execute(statement)
    if source.dialect == "postgresql":
        described = describe(result)
        columns = tuple(replace(found, name=named.name) for found, named in zip(described, columns, strict=True))
    chunks = _chunks(result)
    if any(column.arrow is None for column in columns):
        first = [*first, *next(chunks, [])]
        columns = tuple(
            guessed(column, [row[index] for row in first]) if column.arrow is None else column
            for index, column in enumerate(columns)
        )
    chunks = after(first, chunks)
    if reshape is not None:
        columns, chunks = reshape(columns, chunks, source.dialect)
    return columns, batches_of(chunks, columns, form)


def _chunks(result: CursorResult[Any]) -> Generator[list[Any], None, None]:
    with result:
        while rows := result.fetchmany(_BATCH):
            yield list(rows)
