"""zstd (RFC 8878): one frame with a checksum, on every core."""

from __future__ import annotations

import zstandard

from tasks.write.blocks import CORES, Blocks
from tasks.write.contract import Sink

_LEVEL = 3


class ZstdStream:
    """Compresses what is written into the sink."""

    def __init__(self, sink: Sink) -> None:
        self._sink, self._blocks, self._broken = sink, Blocks(), False
        # One thread or many give the same bytes, but no thread of its own gives others.
        self._frame = zstandard.ZstdCompressor(_LEVEL, write_checksum=True, threads=CORES).compressobj()

    def write(self, data: bytes | memoryview) -> int:
        """Add bytes. Raises OSError when the sink fails."""
        self._broken = True
        for block in self._blocks.cut(data):
            self._sink.write(self._frame.compress(block))
        self._broken = False
        return len(data)

    def close(self) -> None:
        """End the frame. Raises OSError when the sink fails."""
        if not self._broken:
            self._sink.write(self._frame.compress(self._blocks.rest) + self._frame.flush())
