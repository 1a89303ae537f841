"""zip with one member, for a sink that cannot go back: its sizes follow it, as a data descriptor.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, sections 4.3 and 4.5.3. The standard library writes the
same form, but compresses on one core.
"""

from __future__ import annotations

import struct

from tasks.write.contract import Sink
from tasks.write.parallel_deflate import ParallelDeflate

_DEFLATED = 8
# Sizes follow the data; the name is UTF-8.
_FLAGS = 1 << 3 | 1 << 11
# 1980-01-01 00:00, the first that the form can say: equal rows give equal bytes.
_TIME, _DATE = 0, 1 << 5 | 1
_UNIX, _PLAIN_FILE = 3 << 8, 0o100644 << 16
_PLAIN, _ZIP64 = 20, 45
#: What does not fit into 32 bits stands elsewhere, and this in its place.
_ELSEWHERE = 0xFFFFFFFF
#: From here on everything is of 64 bits: where the directory begins is a little more than any size.
_LARGE = _ELSEWHERE - (1 << 16)


class ZipStream:
    """Compresses what is written into the sink, as the member `name`."""

    def __init__(self, sink: Sink, name: str) -> None:
        self._name = name.encode()
        self._header = struct.pack(
            "<4s5H3L2H", b"PK\x03\x04", _PLAIN, _FLAGS, _DEFLATED, _TIME, _DATE, 0, 0, 0, len(self._name), 0
        )
        sink.write(self._header + self._name)
        self._sink, self._deflate = sink, ParallelDeflate(sink)

    def write(self, data: bytes | memoryview) -> int:
        """Add bytes. Raises OSError when the sink fails."""
        return self._deflate.write(data)

    def close(self) -> None:
        """End the member and the archive. Raises OSError when the sink fails."""
        if self._deflate.finish():
            self._sink.write(self._descriptor() + self._directory())

    @property
    def _large(self) -> bool:
        return max(self._deflate.size, self._deflate.compressed) >= _LARGE

    def _descriptor(self) -> bytes:
        # Readers that stream take eight bytes for a size when the member was that large, and four otherwise.
        form = "<4sLQQ" if self._large else "<4sLLL"
        return struct.pack(form, b"PK\x07\x08", self._deflate.crc, self._deflate.compressed, self._deflate.size)

    def _directory(self) -> bytes:
        done, large = self._deflate, self._large
        extra = struct.pack("<HHQQ", 1, 16, done.size, done.compressed) if large else b""
        sizes = (_ELSEWHERE, _ELSEWHERE) if large else (done.compressed, done.size)
        version = _ZIP64 if large else _PLAIN
        entry = struct.pack(
            "<4s6H3L5H2L",
            *(b"PK\x01\x02", _UNIX | version, version, _FLAGS, _DEFLATED, _TIME, _DATE),
            *(done.crc, *sizes, len(self._name), len(extra), 0, 0, 0, _PLAIN_FILE, 0),
        )
        entry += self._name + extra
        start = len(self._header) + len(self._name) + done.compressed + len(self._descriptor())
        end = b""
        if large:
            end = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, _ZIP64, _ZIP64, 0, 0, 1, 1, len(entry), start)
            end += struct.pack("<4sLQL", b"PK\x06\x07", 0, start + len(entry), 1)
        placed = _ELSEWHERE if large else start
        return entry + end + struct.pack("<4s4HLLH", b"PK\x05\x06", 0, 0, 1, 1, len(entry), placed, 0)
