"""Blocks of one size from writes of any: what is made of them depends on the bytes alone, not on how they came."""

from __future__ import annotations

import os
from collections.abc import Iterator

BLOCK = 1 << 20
CORES = os.cpu_count() or 1


class Blocks:
    """Cuts what is written; the bytes after the last whole block are in `rest`."""

    def __init__(self) -> None:
        self.rest = bytearray()

    def cut(self, data: bytes | memoryview) -> Iterator[memoryview]:
        """The blocks that are whole now. They stay valid after further calls."""
        self.rest += data
        whole = len(self.rest) // BLOCK * BLOCK
        if whole:
            cut, self.rest = memoryview(self.rest), self.rest[whole:]
            for start in range(0, whole, BLOCK):
                yield cut[start : start + BLOCK]
