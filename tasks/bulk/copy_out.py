"""PostgreSQL's own bulk path to csv: COPY ... TO STDOUT, where it gives the same bytes as the writer would.

https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

import codecs
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from sqlalchemy import Select, Text, cast
from sqlalchemy.exc import DBAPIError

from catalog.definition import Export
from catalog.file import CsvOptions
from catalog.windows import Bounds
from tasks.columns import Column
from tasks.connect import Source
from tasks.postgres import describe, psycopg_connection, statement_text
from tasks.read import begin_reading

#: The server sends a row at a time; so much of them is handed on at once.
_CHUNK_BYTES = 1 << 18


@dataclass(slots=True)
class Lines:
    """Finished csv lines of a result: `rows` counts them once the last chunk is read."""

    columns: tuple[Column, ...]
    chunks: Generator[bytes, None, None]
    null_cursors: int
    rows: int = 0


def open_lines(source: Source, export: Export, bounds: Bounds) -> Lines | None:
    """The window's rows as the server writes them, or None when it would not write what the csv writer does.

    Chunks must be consumed while the source is open. Raises what `open_rows` raises.
    """
    if not _same_bytes(source, export):
        return None
    begun = begin_reading(source, export, bounds)
    with source.connection.execute(begun.statement.limit(0)) as result:
        described = describe(result)
    names = [cell.key for cell in begun.statement.selected_columns]
    if len(names) < 2 or len(set(names)) < len(names):
        # A line that is `\\.` alone is quoted by some versions of the server and not by others; and the columns to be
        # quoted are named, so a name must mean one.
        return None
    columns = tuple(
        Column(named.name, found.type_text, found.kind, found.arrow)
        for found, named in zip(described, begun.columns, strict=True)
    )
    statement = _with_words_for_booleans(begun.statement, columns)
    command = _command(source, statement, export.file.csv, columns)
    lines = Lines(columns, _nothing(), begun.null_cursors)
    lines.chunks = _chunks(source, command, lines)
    return lines


def _same_bytes(source: Source, export: Export) -> bool:
    file, options = export.file, export.file.csv
    return (
        source.dialect == "postgresql"
        and file.format == "csv"
        and file.max_rows is None
        and options.quote != "none"
        and options.canonical
        and options.line_end == "\n"
        and options.delimiter.isascii()
        and codecs.lookup(options.encoding).name == "utf-8"
        # Without an encoding of its own the server sends what it has, be it text or not.
        and psycopg_connection(source.connection).info.parameter_status("server_encoding") != "SQL_ASCII"
    )


def _with_words_for_booleans(statement: Select[Any], columns: Sequence[Column]) -> Select[Any]:
    cells = list(statement.selected_columns)
    words = [
        cast(cell, Text).label(cell.key) if column.kind == "boolean" else cell
        for cell, column in zip(cells, columns, strict=True)
    ]
    return statement.with_only_columns(*words, maintain_column_froms=True)


def _command(source: Source, statement: Select[Any], options: CsvOptions, columns: Sequence[Column]) -> sql.Composed:
    select = statement_text(source.connection, statement)
    names = [cell.key or "" for cell in statement.selected_columns]
    quoted = [
        sql.Identifier(name)
        for name, column in zip(names, columns, strict=True)
        if options.quote == "all" or (options.quote == "non_numeric" and column.kind != "number")
    ]
    force = sql.SQL(", FORCE_QUOTE ({})").format(sql.SQL(", ").join(quoted)) if quoted else sql.SQL("")
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, DELIMITER {}, NULL {}{})").format(
        sql.SQL(select),
        sql.Literal(options.delimiter),
        sql.Literal(options.null),
        force,
    )


def _chunks(source: Source, command: sql.Composed, lines: Lines) -> Generator[bytes, None, None]:
    try:
        with psycopg_connection(source.connection).cursor() as cursor:
            with cursor.copy(command) as copy:
                held, size = [], 0
                for line in copy:
                    held.append(line)
                    size += len(line)
                    if size >= _CHUNK_BYTES:
                        yield b"".join(held)
                        held, size = [], 0
                if held:
                    yield b"".join(held)
            lines.rows = cursor.rowcount
    except psycopg.Error as error:
        # As SQLAlchemy wraps what its own statements raise, so that one table translates both.
        raise DBAPIError.instance("COPY", None, error, psycopg.Error) from None


def _nothing() -> Generator[bytes, None, None]:
    yield from ()
