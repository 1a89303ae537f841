"""CSV from batches of canonical text: quoting by whole columns, so that no cell passes through Python.

NULL and the empty string stay apart: NULL is the null text without quotes, and a value that equals it is quoted.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Code, ExportError
from catalog.file import CsvOptions
from tasks.rows.columns import Column
from tasks.write.contract import Sink, Stream, bytes_of, pieces
from tasks.write.csv_header import header_line
from tasks.write.formulas import escaped, formulas
from tasks.write.room import Room
from tasks.write.time_format import NoMoment, TimeFormat

# A text in a column of numbers, which SQLite allows, is left alone.
_FRACTION = r"^(-?[0-9]+)\.([0-9]+([eE][+-]?[0-9]+)?)$"


class CsvWriter:
    """One csv file. `sink` takes bytes; `ends` is closed at the end, for a sink that compresses.

    With `goes_on` the file begins elsewhere, and has its header and byte-order mark there.
    """

    def __init__(
        self,
        options: CsvOptions,
        columns: Sequence[Column],
        sink: Sink,
        rows_before: int,
        ends: Stream | None = None,
        *,
        goes_on: bool = False,
        max_bytes: int | None = None,
    ) -> None:
        self._options, self._columns, self._sink, self._ends = options, columns, sink, ends
        errors = "replace" if options.unencodable == "replace" else "strict"
        # An incremental encoder writes a byte-order mark once, at the start of the file.
        self._encoder = codecs.getincrementalencoder(options.encoding)(errors)
        self._is_utf8 = codecs.lookup(options.encoding).name == "utf-8"
        self._rows, self._room = rows_before, Room(max_bytes)
        self._times = [_time_format(column, options) for column in columns]
        self._marks = [mark.encode() for mark in (options.delimiter, '"', "\r", "\n")]
        special = re.escape(options.delimiter) + '"\r\n'
        null = f"|^{re.escape(options.null)}$"
        self._needs_quotes = f"[{special}]{null}"
        if goes_on:
            self._encoder.encode("")
        elif options.header and columns:
            line = self._encoder.encode(header_line([column.name for column in columns], options, self._needs_quotes))
            self._room.use(len(line))
            self._sink.write(line)

    def write(self, batch: pa.RecordBatch) -> int:
        """Add rows of text cells, as long as they have room; returns how many.

        Raises ExportError VALUE_UNENCODABLE with row number and column.
        """
        before = self._rows
        for piece in pieces(batch):
            put = self._put(piece)
            self._rows += put
            if put < piece.num_rows:
                break
        return self._rows - before

    def close(self) -> None:
        """End the file."""
        try:
            if not self._is_utf8:
                # Some encodings have to be brought back to where they began.
                self._sink.write(self._encoder.encode("", final=True))
        finally:
            if self._ends is not None:
                self._ends.close()

    def _put(self, batch: pa.RecordBatch) -> int:
        if batch.num_columns == 0 or batch.num_rows == 0:
            return int(batch.num_rows)
        cells = [self._cells(array, index) for index, array in enumerate(batch.columns)]
        lines = pc.binary_join_element_wise(*cells, self._options.delimiter)
        ended = pc.binary_join_element_wise(lines, pa.scalar(""), self._options.line_end)
        try:
            if self._room.limited:
                ended = self._fitting(ended)
            self._write_text(bytes_of(ended))
        except UnicodeEncodeError:
            raise self._unencodable(batch) from None
        return len(ended)

    def _fitting(self, lines: pa.Array) -> pa.Array:
        if self._is_utf8:
            sizes = pc.binary_length(lines)
        else:
            # Their sizes depend on what came before, as a byte-order mark; nothing is written yet.
            state = self._encoder.getstate()
            sizes = pa.array([len(self._encoder.encode(line)) for line in lines.to_pylist()], pa.int64())
            self._encoder.setstate(state)
        return lines.slice(0, self._room.take(sizes))

    def write_lines(self, lines: bytes) -> None:
        """Add finished lines in UTF-8, which is what the file is written in then."""
        self._sink.write(lines)

    def _write_text(self, text: memoryview) -> None:
        if self._is_utf8:
            self._sink.write(text)
        else:
            self._sink.write(self._encoder.encode(str(text, "utf-8")))

    def _cells(self, array: pa.Array, index: int) -> pa.Array:
        options, column = self._options, self._columns[index]
        array = self._shown(array, index)
        quote_all = options.quote == "all" or (options.quote == "non_numeric" and column.kind != "number")
        if options.quote == "none":
            self._refuse_special(array, column)
            cells = array
        elif quote_all:
            cells = _quoted(array)
        elif not self._may_need_quotes(array):
            cells = array
        else:
            needs = pc.match_substring_regex(array, self._needs_quotes)
            cells = pc.if_else(needs, _quoted(array), array) if pc.any(needs).as_py() else array
        return pc.fill_null(cells, options.null)

    def _may_need_quotes(self, array: pa.Array) -> bool:
        """False when no cell needs quotes, told by a look at all of their bytes at once."""
        if pc.any(pc.equal(array, self._options.null)).as_py():
            return True
        held = bytes(bytes_of(array))
        return any(mark in held for mark in self._marks)

    def _shown(self, array: pa.Array, index: int) -> pa.Array:
        """The canonical texts as the options want to see them."""
        options, column, times = self._options, self._columns[index], self._times[index]
        if options.formulas == "reject":
            self._refuse_formulas(array, column)
        elif options.formulas == "escape":
            array = escaped(array, column.kind)
        if column.kind == "number" and options.decimal_mark != ".":
            return pc.replace_substring_regex(array, _FRACTION, rf"\1{options.decimal_mark}\2")
        if times is None:
            return array
        try:
            return times.format(array)
        except NoMoment as error:
            raise ExportError(
                Code.VALUE_UNENCODABLE,
                f"{self._place(error.row)}, column {column.name!r}: "
                f"the value is no time that `date_format` and `timestamp_format` can show ({column.type_text})",
                "leave the format out, or clean the value in a `query`",
            ) from None

    def _refuse_formulas(self, array: pa.Array, column: Column) -> None:
        found = pc.index(formulas(array, column.kind), True).as_py()
        if found >= 0:
            raise ExportError(
                Code.VALUE_UNENCODABLE,
                f"{self._place(found)}, column {column.name!r}: "
                "the text begins as a formula does, and `formulas: reject` forbids that",
                "use `formulas: escape`, or clean the value in a `query`",
            )

    def _refuse_special(self, array: pa.Array, column: Column) -> None:
        found = pc.index(pc.match_substring_regex(array, self._needs_quotes), True).as_py()
        if found >= 0:
            raise ExportError(
                Code.VALUE_UNENCODABLE,
                f"{self._place(found)}, column {column.name!r}: the text needs quotes, and `quote: none` forbids them",
                "use `quote: minimal`, or another delimiter or null text",
            )

    def _place(self, row: int) -> str:
        return f"row {self._rows + row + 1}"

    def _unencodable(self, batch: pa.RecordBatch) -> ExportError:
        for index, array in enumerate(batch.columns):
            for row, value in enumerate(array.to_pylist()):
                try:
                    codecs.encode(value or "", self._options.encoding)
                except UnicodeEncodeError:
                    return ExportError(
                        Code.VALUE_UNENCODABLE,
                        f"{self._place(row)}, column {self._columns[index].name!r}: "
                        f"a character cannot be written in {self._options.encoding}",
                        "use `encoding: utf-8`, or clean the value in a `query`",
                    )
        raise AssertionError("a text that cannot be encoded has a character that cannot")


def _time_format(column: Column, options: CsvOptions) -> TimeFormat | None:
    kind = column.arrow
    if kind is not None and pa.types.is_date(kind) and options.date_format is not None:
        return TimeFormat(options.date_format, kind)
    if kind is not None and pa.types.is_timestamp(kind) and options.timestamp_format is not None:
        return TimeFormat(options.timestamp_format, kind)
    return None


def _quoted(array: pa.Array) -> pa.Array:
    doubled = pc.replace_substring(array, '"', '""')
    quote = pa.scalar('"')
    return pc.binary_join_element_wise(quote, doubled, quote, "")
