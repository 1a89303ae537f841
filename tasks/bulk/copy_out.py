"""PostgreSQL's own bulk path to csv: COPY ... TO STDOUT, where it gives the same bytes as the writer would.

https://www.postgresql.org/docs/current/sql-copy.html
"""

from __future__ import annotations

import codecs
import os
import select
import socket
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from sqlalchemy import Select, Text, cast
from sqlalchemy.exc import DBAPIError

from catalog.definition import Export
from catalog.file import CsvOptions
from tasks.connect import Source
from tasks.rows.columns import Column
from tasks.source.postgres import describe, psycopg_connection, statement_text
from tasks.source.read import Begun

#: The server sends a row at a time; so much of them is handed on at once.
_CHUNK_BYTES = 1 << 18
#: So many bytes are waited for at once, while they come within so long.
_WAKE_BYTES = 512 << 10
_WAKE_MILLISECONDS = 4


@dataclass(slots=True)
class Lines:
    """Finished csv lines of a result: `rows` are in the chunks given so far."""

    columns: tuple[Column, ...]
    chunks: Generator[bytes, None, None]
    rows: int = 0


def open_lines(source: Source, export: Export, begun: Begun) -> Lines | None:
    """The window's rows as the server writes them, or None when it would not write what the csv writer does.

    Chunks must be consumed while the source is open. Raises what `open_rows` raises.
    """
    if not _same_bytes(source, export):
        return None
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
    lines = Lines(columns, _nothing())
    lines.chunks = _chunks(source, command, lines)
    return lines


def _same_bytes(source: Source, export: Export) -> bool:
    file, options = export.file, export.file.csv
    return (
        source.dialect == "postgresql"
        and file.format == "csv"
        and file.max_rows is None
        and file.max_bytes is None
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
    query = statement_text(source.connection, statement)
    names = [cell.key or "" for cell in statement.selected_columns]
    quoted = [
        sql.Identifier(name)
        for name, column in zip(names, columns, strict=True)
        if options.quote == "all" or (options.quote == "non_numeric" and column.kind != "number")
    ]
    force = sql.SQL(", FORCE_QUOTE ({})").format(sql.SQL(", ").join(quoted)) if quoted else sql.SQL("")
    return sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, DELIMITER {}, NULL {}{})").format(
        sql.SQL(query),
        sql.Literal(options.delimiter),
        sql.Literal(options.null),
        force,
    )


def _chunks(source: Source, command: sql.Composed, lines: Lines) -> Generator[bytes, None, None]:
    raw = psycopg_connection(source.connection)
    try:
        _raise_unless(raw.pgconn.exec_(command.as_bytes(raw)), ExecStatus.COPY_OUT)
        try:
            # Below psycopg's own loop: a row is too small a thing for five calls in Python.
            left = yield from _rows(raw.pgconn, lines)
            ended = raw.pgconn.get_result()
            _drain(raw.pgconn)
            _raise_unless(ended, ExecStatus.COMMAND_OK)
            # Not before: whoever stops at it must find the COPY ended, or in the middle.
            if left:
                yield left
        finally:
            _settle(raw)
    except psycopg.Error as error:
        # As SQLAlchemy wraps what its own statements raise, so that one table translates both.
        raise DBAPIError.instance("COPY", None, error, psycopg.Error) from None


def _rows(connection: PGconn, lines: Lines) -> Generator[bytes, None, bytes]:
    """About a chunk at a time, and returns what is left; each of the server's messages is one row."""
    # Rows are joined as they come: a list of them would keep the garbage collector at work.
    chunk = bytearray()
    with closing(_Arrivals(connection.socket)) as arrivals:
        while True:
            length, row = connection.get_copy_data(1)
            if length > 0:
                chunk += row
                lines.rows += 1
                if len(chunk) >= _CHUNK_BYTES:
                    yield bytes(chunk)
                    chunk.clear()
            elif length == 0:
                arrivals.wait()
                connection.consume_input()
            else:
                break
    return bytes(chunk)


class _Arrivals:
    """Waits for bytes on a connection, for many at once while they come fast: to be woken costs the sender time."""

    def __init__(self, handle: int) -> None:
        self._socket = socket.socket(fileno=os.dup(handle))
        self._poll = select.poll()
        self._poll.register(self._socket, select.POLLIN)
        self._wake_at(_WAKE_BYTES)

    def wait(self) -> None:
        """Until many bytes are there, or some and a moment has passed; or until the connection has ended."""
        if not self._poll.poll(_WAKE_MILLISECONDS):
            self._wake_at(1)
            self._poll.poll()
            self._wake_at(_WAKE_BYTES)

    def _wake_at(self, size: int) -> None:
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, size)

    def close(self) -> None:
        """Leave the connection as it was."""
        self._wake_at(1)
        self._socket.close()


def _settle(raw: psycopg.Connection[Any]) -> None:
    """Bring a COPY that was left in the middle to its end, so that the connection can be used and closed."""
    if raw.pgconn.transaction_status == TransactionStatus.ACTIVE:
        raw.cancel_safe()
        while raw.pgconn.get_copy_data(0)[0] > 0:
            pass
        _drain(raw.pgconn)


def _drain(connection: PGconn) -> None:
    while connection.get_result() is not None:
        pass


def _raise_unless(result: PGresult | None, status: ExecStatus) -> None:
    if result is None:
        raise psycopg.OperationalError("the connection was lost")
    if result.status != status:
        raise error_from_result(result)


def _nothing() -> Generator[bytes, None, None]:
    yield from ()
