"""What writers of every format share: what they offer, and what they write into."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import pyarrow as pa

#: Arrow's texts end at 2 GiB in one array, and joining and quoting make more of what a batch holds.
_PIECE_BYTES = 1 << 26


class Writer(Protocol):
    """Writes batches of one result into one file."""

    def write(self, batch: pa.RecordBatch) -> int:
        """Add the batch's rows, or the first of them when the others have no room; returns how many.

        Raises ExportError VALUE_UNENCODABLE for a value the format cannot hold, OSError when the sink fails.
        """

    def close(self) -> None:
        """End the file; the sink stays open. Raises OSError when the sink fails."""


class Sink(Protocol):
    """Takes bytes, in order; it cannot go back."""

    def write(self, data: bytes | memoryview, /) -> int:
        """Take all of the bytes. Raises OSError."""


class Stream(Sink, Protocol):
    """A sink that makes something else of the bytes, and has to be ended."""

    def close(self) -> None:
        """Write what is held back and the end; after a write that failed, only let go. The sink below stays open."""


def pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """The batch in parts that are small enough to be joined into one text."""
    if batch.nbytes <= _PIECE_BYTES or batch.num_rows < 2:
        yield batch
    else:
        half = batch.num_rows // 2
        yield from pieces(batch.slice(0, half))
        yield from pieces(batch.slice(half))


def bytes_of(array: pa.Array) -> memoryview:
    """What an Arrow array of texts holds, one after the other: its own buffer, not a copy."""
    if array.buffers()[2] is None:
        return memoryview(b"")
    offsets = memoryview(array.buffers()[1]).cast("i")
    return memoryview(array.buffers()[2])[offsets[array.offset] : offsets[array.offset + len(array)]]
