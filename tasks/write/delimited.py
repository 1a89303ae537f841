"""CSV from batches of canonical text: quoting by whole columns, so that no cell passes through Python.

NULL and the empty string stay apart: NULL is the null text without quotes, and a value that equals it is quoted.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Code, ExportError
from catalog.file import CsvOptions
from tasks.columns import Column


class CsvWriter:
    """One csv file. `sink` takes bytes; `closes` is closed at the end, for compressors that need it."""

    def __init__(
        self,
        options: CsvOptions,
        columns: Sequence[Column],
        sink: BinaryIO,
        rows_before: int,
        closes: BinaryIO | None = None,
    ) -> None:
        self._options, self._columns, self._sink, self._closes = options, columns, sink, closes
        # An incremental encoder writes a byte-order mark once, at the start of the file.
        self._encoder = codecs.getincrementalencoder(options.encoding)()
        self._is_utf8 = codecs.lookup(options.encoding).name == "utf-8"
        self._rows = rows_before
        special = re.escape(options.delimiter) + '"\r\n'
        null = f"|^{re.escape(options.null)}$"
        self._needs_quotes = f"[{special}]{null}"
        if options.header:
            names = pa.RecordBatch.from_arrays(
                [pa.array([column.name], pa.string()) for column in columns], [column.name for column in columns]
            )
            self._put(names, header=True)

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows of text cells. Raises ExportError VALUE_UNENCODABLE with row number and column."""
        self._put(batch, header=False)
        self._rows += batch.num_rows

    def close(self) -> None:
        """End the file."""
        if self._closes is not None:
            self._closes.close()

    def _put(self, batch: pa.RecordBatch, *, header: bool) -> None:
        if batch.num_columns == 0 or batch.num_rows == 0:
            return
        cells = [self._cells(array, column, header) for array, column in zip(batch.columns, self._columns, strict=True)]
        lines = pc.binary_join_element_wise(*cells, self._options.delimiter)
        ended = pc.binary_join_element_wise(lines, pa.scalar(""), self._options.line_end)
        try:
            self._write_text(_bytes_of(ended))
        except UnicodeEncodeError:
            raise self._unencodable(batch, header) from None

    def write_lines(self, lines: bytes) -> None:
        """Add finished lines in UTF-8, which is what the file is written in then."""
        self._sink.write(lines)

    def _write_text(self, text: memoryview) -> None:
        if self._is_utf8:
            self._sink.write(text)
        else:
            self._sink.write(self._encoder.encode(str(text, "utf-8")))

    def _cells(self, array: pa.Array, column: Column, header: bool) -> pa.Array:
        options = self._options
        quote_all = options.quote == "all" or (options.quote == "non_numeric" and (header or column.kind != "number"))
        if options.quote == "none":
            self._refuse_special(array, column, header)
            cells = array
        elif quote_all:
            cells = _quoted(array)
        else:
            needs = pc.match_substring_regex(array, self._needs_quotes)
            cells = pc.if_else(needs, _quoted(array), array) if pc.any(needs).as_py() else array
        return pc.fill_null(cells, options.null)

    def _refuse_special(self, array: pa.Array, column: Column, header: bool) -> None:
        found = pc.index(pc.match_substring_regex(array, self._needs_quotes), True).as_py()
        if found >= 0:
            raise ExportError(
                Code.VALUE_UNENCODABLE,
                f"{self._place(found, header)}, column {column.name!r}: "
                "the text needs quotes, and `quote: none` forbids them",
                "use `quote: minimal`, or another delimiter or null text",
            )

    def _place(self, row: int, header: bool) -> str:
        return "the header" if header else f"row {self._rows + row + 1}"

    def _unencodable(self, batch: pa.RecordBatch, header: bool) -> ExportError:
        for index, array in enumerate(batch.columns):
            for row, value in enumerate(array.to_pylist()):
                try:
                    codecs.encode(value or "", self._options.encoding)
                except UnicodeEncodeError:
                    return ExportError(
                        Code.VALUE_UNENCODABLE,
                        f"{self._place(row, header)}, column {self._columns[index].name!r}: "
                        f"a character cannot be written in {self._options.encoding}",
                        "use `encoding: utf-8`, or clean the value in a `query`",
                    )
        raise AssertionError("a text that cannot be encoded has a character that cannot")


def _bytes_of(array: pa.Array) -> memoryview:
    """What an Arrow array of texts without NULL holds, one after the other: its own buffer, not a copy."""
    offsets = memoryview(array.buffers()[1]).cast("i")
    return memoryview(array.buffers()[2])[offsets[array.offset] : offsets[array.offset + len(array)]]


def _quoted(array: pa.Array) -> pa.Array:
    doubled = pc.replace_substring(array, '"', '""')
    quote = pa.scalar('"')
    return pc.binary_join_element_wise(quote, doubled, quote, "")
