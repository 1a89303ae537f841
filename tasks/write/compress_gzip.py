"""gzip (RFC 1952): one member, with neither time nor name, so that equal rows give equal bytes."""

from __future__ import annotations

import struct

from tasks.write.contract import Sink
from tasks.write.parallel_deflate import ParallelDeflate

# Magic, deflate, no flags, no time, no level said, unknown system.
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


class GzipStream:
    """Compresses what is written into the sink."""

    def __init__(self, sink: Sink) -> None:
        sink.write(_HEADER)
        self._sink, self._deflate = sink, ParallelDeflate(sink)

    def write(self, data: bytes | memoryview) -> int:
        """Add bytes. Raises OSError when the sink fails."""
        return self._deflate.write(data)

    def close(self) -> None:
        """End the member. Raises OSError when the sink fails."""
        if self._deflate.finish():
            self._sink.write(struct.pack("<LL", self._deflate.crc, self._deflate.size & 0xFFFFFFFF))
