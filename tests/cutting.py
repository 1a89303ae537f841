"""Windows cut and read one after the other, as runs do it, without a ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from sources import opened, rows_of

from catalog.definition import Export
from catalog.windows import Frontier, Window, next_bounds
from tasks.source.frontier import settle


class Cutter:
    """One export that goes on from window to window; its first column is the row's id."""

    def __init__(self, url: str, export: Export, timezone: str = "UTC") -> None:
        self.url, self.export, self.timezone = url, export, timezone
        self.previous: Window | None = None
        self.frontier: Frontier | None = None

    def settle(self, logical_time: datetime | None = None) -> Frontier:
        """What the next window would end at."""
        with opened(self.url, self.timezone) as source:
            return settle(source, self.export, logical_time or datetime.now(UTC), self.previous)

    def cut(self, logical_time: datetime | None = None) -> list[int]:
        """The ids of the next window's rows, sorted; none when there is no next window."""
        moment = logical_time or datetime.now(UTC)
        self.frontier = self.settle(moment)
        bounds = next_bounds(self.export, self.previous.bounds if self.previous else None, moment, self.frontier)
        if bounds is None:
            return []
        self.previous = Window(
            id="w",
            export=self.export.id,
            generation=1,
            kind="scheduled",
            bounds=bounds,
            logical_time=moment,
            definition=self.export.hash,
            run_id="r",
            folder="",
            file_name="t.csv",
            source=self.frontier.source,
        )
        return sorted(int(row[0]) for row in rows_of(self.url, self.export, bounds, timezone=self.timezone))
