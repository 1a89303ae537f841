"""Files as the writers make them, from cells as a test has them."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from catalog.file import File
from tasks.rows.columns import Column
from tasks.write import FORMS, open_writer


class OneWay(io.RawIOBase):
    """A sink that cannot go back, as the spool's; after `room` bytes the disk is full."""

    def __init__(self, room: int | None = None) -> None:
        self.content, self._room = bytearray(), room
        self.full = False

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        """Take the bytes, or raise as a full disk does."""
        assert not self.full, "what could not be written whole is not written on"
        if self._room is not None and len(self.content) + len(data) > self._room:
            self.full = True
            raise OSError(28, "No space left on device")
        self.content += data
        return len(data)

    def tell(self) -> int:
        return len(self.content)


def batch_of(columns: Sequence[Column], rows: Iterable[Sequence[Any]], form: str) -> pa.RecordBatch:
    """The rows as a reader hands them on."""
    cells = list(zip(*rows, strict=True))
    kinds = [pa.string() if form == "text" else column.arrow for column in columns]
    arrays = [pa.array(values, kind) for values, kind in zip(cells, kinds, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, [column.name for column in columns])


def written(columns: Sequence[Column], *batches: Sequence[Sequence[Any]], rows_before: int = 0, **keys: Any) -> bytes:
    """A whole file of the batches, with the keys of `file:`."""
    file = File.model_validate({"name": "a.csv", **keys})
    sink: Any = OneWay()
    writer = open_writer(file, columns, sink, rows_before, file.member_of(file.name))
    try:
        for rows in batches:
            writer.write(batch_of(columns, rows, FORMS[file.format]))
    finally:
        writer.close()
    return bytes(sink.content)
