"""What a file still takes when its size is limited: whole rows, counted before anything is made of their bytes."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc


class Room:
    """Room for `most` bytes, or for any number of them; the first row has room, however long it is."""

    def __init__(self, most: int | None) -> None:
        self.limited = most is not None
        self._left = most or 0
        self._empty = True

    def use(self, size: int) -> None:
        """So many bytes are not of rows."""
        self._left -= size

    def take(self, sizes: pa.Array) -> int:
        """How many of the next rows, of so many bytes each, have room; they have taken it then."""
        reached = pc.cumulative_sum(sizes.cast(pa.int64()))
        count = pc.sum(pc.less_equal(reached, self._left)).as_py() or 0
        if self._empty and len(sizes):
            count, self._empty = max(count, 1), False
        if count:
            self._left -= reached[count - 1].as_py()
        return count
