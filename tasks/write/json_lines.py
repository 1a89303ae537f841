"""JSON Lines from batches of canonical text, by whole columns: https://jsonlines.org

Numbers keep every digit, json columns are JSON, and everything else is the csv's text as a string.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tasks.rows.columns import Column
from tasks.write.contract import Sink, Stream, bytes_of, pieces
from tasks.write.embedded_json import are_json, on_one_line
from tasks.write.room import Room

_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$"
#: Per kind of column, which cells stand without quotes. SQLite keeps what it was given, so others are strings there.
_BARE = {"number": _NUMBER, "boolean": f"^(true|false)$|{_NUMBER}"}
#: The database's words for columns whose cells are JSON within the line.
JSON_TYPES = {"json", "jsonb"}
#: Controls by their JSON escape, the short ones as everybody writes them.
_CONTROLS = {chr(code): json.dumps(chr(code))[1:-1] for code in range(0x20)}


class JsonLinesWriter:
    """One object per row, with the column names as keys in the file's order. `ends` is closed at the end."""

    def __init__(
        self, columns: Sequence[Column], sink: Sink, ends: Stream | None = None, max_bytes: int | None = None
    ) -> None:
        self._columns, self._sink, self._ends = columns, sink, ends
        self._room = Room(max_bytes)
        keys = [json.dumps(column.name, ensure_ascii=False) + ":" for column in columns]
        self._before = [("," if index else "{") + key for index, key in enumerate(keys)]

    def write(self, batch: pa.RecordBatch) -> int:
        """Add rows of text cells, as long as they have room. Raises OSError when the sink fails."""
        written = 0
        for piece in pieces(batch):
            put = self._put(piece) if piece.num_columns and piece.num_rows else piece.num_rows
            written += put
            if put < piece.num_rows:
                break
        return written

    def close(self) -> None:
        """End the file."""
        if self._ends is not None:
            self._ends.close()

    def _put(self, batch: pa.RecordBatch) -> int:
        parts = []
        for before, column, cells in zip(self._before, self._columns, batch.columns, strict=True):
            parts += [pa.scalar(before), pc.fill_null(_values(cells, column), "null")]
        lines = pc.binary_join_element_wise(*parts, "}\n", "")
        if self._room.limited:
            lines = lines.slice(0, self._room.take(pc.binary_length(lines)))
        self._sink.write(bytes_of(lines))
        return len(lines)


def _values(cells: pa.Array, column: Column) -> pa.Array:
    if column.type_text.lower() in JSON_TYPES:
        return _bare_where(are_json(cells), on_one_line(cells), cells)
    if column.kind in _BARE:
        return _bare_where(pc.match_substring_regex(cells, _BARE[column.kind]), cells, cells)
    return _strings(cells)


def _bare_where(bare: pa.Array, values: pa.Array, cells: pa.Array) -> pa.Array:
    # NULL is neither bare nor a string.
    if pc.all(pc.or_(pc.fill_null(bare, True), cells.is_null())).as_py():
        return values
    return pc.if_else(pc.fill_null(bare, False), values, _strings(cells))


def _strings(cells: pa.Array) -> pa.Array:
    if pc.any(pc.match_substring_regex(cells, '["\\\\\x00-\x1f]')).as_py():
        cells = pc.replace_substring(pc.replace_substring(cells, "\\", "\\\\"), '"', '\\"')
        if pc.any(pc.match_substring_regex(cells, "[\x00-\x1f]")).as_py():
            for control, escape in _CONTROLS.items():
                cells = pc.replace_substring(cells, control, escape)
    return pc.binary_join_element_wise('"', cells, '"', "")
