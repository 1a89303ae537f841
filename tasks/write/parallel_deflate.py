"""Deflate (RFC 1951) on every core, as pigz does it: https://zlib.net/pigz/

Blocks of one size are compressed apart, each with the end of the one before as its dictionary, and end on a byte, so
that they can be put one behind the other. The bytes depend on the content alone, not on cores or sizes of writes.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor

from zlib_ng import zlib_ng

from tasks.write.blocks import CORES, Blocks
from tasks.write.contract import Sink

_LEVEL = 6
#: How far deflate can refer back.
_WINDOW = 1 << 15


class ParallelDeflate:
    """A raw deflate stream into the sink; `crc`, `size` and `compressed` (bytes) are of what has been written.

    Everything is written to the sink by the thread that calls, so what the sink raises is raised there.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        # Its threads begin with the first block, so that a writer that is never used leaves none behind.
        self._pool = ThreadPoolExecutor(CORES, "deflate")
        self._pending: deque[Future[bytes]] = deque()
        self._blocks = Blocks()
        self._window = b""
        self._broken = False
        self.crc = 0
        self.size = 0
        self.compressed = 0

    def write(self, data: bytes | memoryview) -> int:
        """Add bytes. Raises OSError when the sink fails."""
        self._broken = True
        for block in self._blocks.cut(data):
            self._begin(block, last=False)
            # So much is held in memory at most, and enough that no core waits.
            if len(self._pending) > 2 * CORES:
                self._end_one()
        self._broken = False
        return len(data)

    def finish(self) -> bool:
        """End the stream. False, without another write, if a write has failed. Raises OSError when the sink fails."""
        try:
            if self._broken:
                return False
            self._begin(memoryview(self._blocks.rest), last=True)
            while self._pending:
                self._end_one()
            return True
        finally:
            self._pool.shutdown(cancel_futures=True)

    def _begin(self, block: memoryview, *, last: bool) -> None:
        self.crc = zlib_ng.crc32(block, self.crc)
        self.size += len(block)
        self._pending.append(self._pool.submit(_deflated, block, self._window, last))
        self._window = bytes(block[-_WINDOW:])

    def _end_one(self) -> None:
        compressed = self._pending.popleft().result()
        self.compressed += len(compressed)
        self._sink.write(compressed)


def _deflated(block: memoryview, window: bytes, last: bool) -> bytes:
    raw = -zlib_ng.MAX_WBITS
    if window:
        compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, raw, zdict=window)
    else:
        compressor = zlib_ng.compressobj(_LEVEL, zlib_ng.DEFLATED, raw)
    return compressor.compress(block) + compressor.flush(zlib_ng.Z_FINISH if last else zlib_ng.Z_SYNC_FLUSH)
