"""Ways to cut windows, raced side by side: ours, and the naive ones that must lose rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
from cutting import Cutter
from sources import an_export

from catalog.errors import ExportError
from catalog.windows import instant


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


class Naive:
    """A watermark that is taken from what was read: `ask` gives (id, mark) of what is newer than the mark."""

    sound = False

    def __init__(self, name: str, connection: psycopg.Connection, ask: str, begin: Any) -> None:
        self.name, self._connection, self._ask, self._mark = name, connection, ask, begin

    def cut(self) -> list[int]:
        rows = self._connection.execute(self._ask, [self._mark]).fetchall()
        if rows:
            self._mark = max(mark for _, mark in rows)
        return [row_id for row_id, _ in rows]

    finish = cut


class Visible:
    """What the last snapshot did not see, by the row's transaction id: savepoints have ids that no snapshot lists."""

    name, sound = "not pg_visible_in_snapshot", False

    def __init__(self, connection: psycopg.Connection) -> None:
        self._connection = connection
        self._snapshot = "1:1:"

    def cut(self) -> list[int]:
        with self._connection.transaction():
            self._connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            rows = self._connection.execute(
                "SELECT id FROM events WHERE NOT pg_visible_in_snapshot(xmin::text::xid8, %s::pg_snapshot)",
                [self._snapshot],
            ).fetchall()
            ((self._snapshot,),) = self._connection.execute("SELECT pg_current_snapshot()::text").fetchall()
        return [row_id for (row_id,) in rows]

    finish = cut


def postgres_strategies(url: str, connect: Callable[[], psycopg.Connection]) -> list[Strategy]:
    """All that race on PostgreSQL."""

    def next_id() -> str:
        with connect() as connection:
            ((found,),) = connection.execute("SELECT pg_snapshot_xmax(pg_current_snapshot())::text").fetchall()
            return str(found)

    def now() -> str:
        return instant(datetime.now(UTC))

    return [
        Settled("xid", url, {"mode": "xid"}, next_id),
        Settled("xid, indexed xid8 column", url, {"mode": "xid", "column": "changed"}, next_id),
        Settled("guarded", url, {"mode": "guarded", "column": "ts"}, now),
        Naive("ts > max(ts)", connect(), "SELECT id, ts FROM events WHERE ts > %s", datetime(2000, 1, 1, tzinfo=UTC)),
        Naive("id > max(id)", connect(), "SELECT id, id FROM events WHERE id > %s", 0),
        Visible(connect()),
    ]
