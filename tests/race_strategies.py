"""Ways to cut windows, raced side by side: ours, and the naive ones that must lose rows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from cutting import Cutter
from sources import NO_SECRETS, an_export

from catalog.connections import Database
from catalog.errors import ExportError
from catalog.windows import instant
from tasks.extract import extract
from tasks.ledger import Ledger
from tasks.source.lookback import memory_of

#: Gives all rows of a statement with its parameters, read in one snapshot of its own.
Fetch = Callable[[str, Sequence[Any]], Sequence[Any]]

_LAG_SECONDS = 1


class Strategy(Protocol):
    """Reads what is new, again and again. `sound` ones must lose nothing; the others must lose something."""

    name: str
    sound: bool

    def cut(self) -> list[int]:
        """The ids of the rows that are new."""

    def finish(self) -> list[int]:
        """After the last commit: the ids of what is left."""


class Settled:
    """Our own: `settle`, `next_bounds` and `open_rows`."""

    sound = True

    def __init__(self, name: str, url: str, cursor: dict[str, str], goal: Callable[[], str]) -> None:
        self.name, self._goal = name, goal
        self._cutter = Cutter(url, an_export(table="events", columns=["id"], cursor=cursor))

    def cut(self) -> list[int]:
        try:
            return self._cutter.cut()
        except ExportError as error:
            # As a run does it.
            if not error.code.tried_again:
                raise
            return []

    def finish(self) -> list[int]:
        goal, deadline, found = self._goal(), time.monotonic() + 30, []
        while True:
            found += self._cutter.cut()
            assert self._cutter.frontier is not None, "something was cut"
            # Both are decimal numbers, or both moments of one form: as long, and so in the order of their texts.
            high = self._cutter.frontier.high
            if (len(high), high) >= (len(goal), goal):
                return found
            assert time.monotonic() < deadline, f"{self.name}: {high} does not come to {goal}"


class Lagging:
    """Our own mode `lag`, by way of a ledger: sound as far as its lookback reaches."""

    def __init__(self, name: str, url: str, folder: Path, lookback: str, *, sound: bool) -> None:
        self.name, self.sound, self._database = name, sound, Database(url=url)
        cursor = {"column": "ts", "lag": f"{_LAG_SECONDS}s", "lookback": lookback}
        file = {"name": "t_{date:%Y%m%dT%H%M%S%f}.csv", "csv": {"header": False}, "empty": "skip"}
        # An id of its own: the mark that is kept of each export's turns tells ledgers apart.
        export_id = f"lag_{lookback}"
        self._export = an_export(id=export_id, table="events", columns=["id"], cursor=cursor, file=file)
        self._ledger = Ledger(f"sqlite:///{folder / export_id}.sqlite")
        self._ledger.register(self._export)
        self._until = datetime.min.replace(tzinfo=UTC)

    def cut(self) -> list[int]:
        run_id = uuid.uuid4().hex
        window = self._ledger.allot(self._export, run_id, datetime.now(UTC), None).window
        assert window is not None and window.bounds.until is not None, "time has passed since the last cut"
        with self._ledger.take_turn(self._export.id, run_id) as turn:
            memory = memory_of(self._ledger, self._export, window)
            found = extract(self._export, window, NO_SECRETS, load=lambda _: self._database, memory=memory)
            turn.record_extracted(window, found.files, found.findings)
        self._until = window.bounds.until
        return [int(line) for file in found.files for line in file.path.read_text().splitlines()]

    def finish(self) -> list[int]:
        ended, found = datetime.now(UTC), []
        while self._until <= ended:
            found += self.cut()
        return found


class Naive:
    """A watermark that is taken from what was read: `ask` gives (id, mark) of what is newer than the mark."""

    sound = False

    def __init__(self, name: str, fetch: Fetch, ask: str, begin: Any) -> None:
        self.name, self._fetch, self._ask, self._mark = name, fetch, ask, begin

    def cut(self) -> list[int]:
        rows = self._fetch(self._ask, [self._mark])
        if rows:
            self._mark = max(mark for _, mark in rows)
        return [row_id for row_id, _ in rows]

    finish = cut


class Visible:
    """What the last snapshot did not see, by the row's transaction id: savepoints have ids that no snapshot lists."""

    name, sound = "not pg_visible_in_snapshot", False

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._snapshot = "1:1:"

    def cut(self) -> list[int]:
        # One statement, and so one snapshot; the first row is the snapshot itself.
        (_, self._snapshot), *rows = self._fetch(
            "SELECT NULL, pg_current_snapshot()::text UNION ALL"
            " SELECT id, NULL FROM events WHERE NOT pg_visible_in_snapshot(xmin::text::xid8, %s::pg_snapshot)",
            [self._snapshot],
        )
        return [row_id for row_id, _ in rows]

    finish = cut


def naive_strategies(fetch: Fetch, first: datetime) -> list[Strategy]:
    """What nobody should do; `first` is before every row's time, as the database compares it."""
    return [
        Naive("ts > max(ts)", fetch, "SELECT id, ts FROM events WHERE ts > %s", first),
        Naive("id > max(id)", fetch, "SELECT id, id FROM events WHERE id > %s", 0),
    ]


def lag_strategies(url: str, folder: Path) -> list[Strategy]:
    """Mode `lag`, with a lookback over the longest transaction of the race, and without any."""
    return [
        Lagging("lag 1 s, lookback 8 s", url, folder, "8s", sound=True),
        Lagging("lag 1 s, no lookback", url, folder, "0s", sound=False),
    ]


def postgres_strategies(url: str, fetch: Fetch) -> list[Strategy]:
    """What PostgreSQL alone makes possible, and `pg_visible_in_snapshot`, which looks as if it did."""

    def next_id() -> str:
        ((found,),) = fetch("SELECT pg_snapshot_xmax(pg_current_snapshot())::text", [])
        return str(found)

    def now() -> str:
        return instant(datetime.now(UTC))

    return [
        Settled("xid", url, {"mode": "xid"}, next_id),
        Settled("xid, indexed xid8 column", url, {"mode": "xid", "column": "changed"}, next_id),
        Settled("guarded", url, {"mode": "guarded", "column": "ts"}, now),
        Visible(fetch),
    ]
