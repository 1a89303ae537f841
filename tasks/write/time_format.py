"""Dates and timestamps in the form that a definition asks for, by whole columns."""

from __future__ import annotations

import re

import pyarrow as pa
import pyarrow.compute as pc

_TOKEN = re.compile(r"%.|[^%]+", re.DOTALL)


class NoMoment(Exception):
    """A cell that the calendar of strftime does not hold, as infinity, a year after 9999 or one before Christ."""

    def __init__(self, row: int) -> None:
        super().__init__(row)
        self.row = row


class TimeFormat:
    """A strftime pattern for columns of one type, `date32` or `timestamp`; a timestamp with a zone is shown in UTC."""

    def __init__(self, pattern: str, kind: pa.DataType) -> None:
        self._kind = kind
        zoned = pa.types.is_timestamp(kind) and kind.tz is not None
        # Arrow has no %f, and knows zones only where there is a database of them.
        zone = {"%z": "+0000" if zoned else "", "%Z": "UTC" if zoned else ""}
        self._parts = [""]
        for token in _TOKEN.findall(pattern):
            if token == "%f":
                self._parts += [token, ""]
            else:
                self._parts[-1] += zone.get(token, token)

    def format(self, cells: pa.Array) -> pa.Array:
        """Canonical texts as the pattern shows them. Raises NoMoment for the first that it cannot show."""
        moments = self._moments(cells)
        # Arrow's %S would show the fraction too.
        seconds = pc.floor_temporal(moments, unit="second").cast(pa.timestamp("s"))
        shown = [_fraction(moments) if part == "%f" else pc.strftime(seconds, part) for part in self._parts]
        return pc.binary_join_element_wise(*shown, "")

    def _moments(self, cells: pa.Array) -> pa.Array:
        try:
            return self._cast(cells)
        except pa.ArrowInvalid:
            for row in range(len(cells)):
                try:
                    self._cast(cells.slice(row, 1))
                except pa.ArrowInvalid:
                    raise NoMoment(row) from None
            raise

    def _cast(self, cells: pa.Array) -> pa.Array:
        # A zone's timestamps are held in UTC: without the zone they show just that.
        return cells.cast(self._kind).cast(pa.timestamp("us"))


def _fraction(moments: pa.Array) -> pa.Array:
    milliseconds = pc.multiply(pc.millisecond(moments), 1000)
    return pc.utf8_lpad(pc.add(milliseconds, pc.microsecond(moments)).cast(pa.string()), 6, "0")
