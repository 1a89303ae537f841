"""A thousand new rows in a small table and in a large one: an incremental run must cost the same in both."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from export_run import Exports
from measure import Cost
from postgres_server import Postgres
from table import COLUMNS, made
from verdict import Verdict

from catalog.load import load_catalog
from deployments.ledger_view import starting_bounds
from tasks.ledger import Ledger

_NEW_ROWS = 1_000
#: The cursors, and whether what they read must not grow. Without a column, mode xid reads the whole table.
_CURSORS: dict[str, tuple[dict[str, str], bool]] = {
    "guarded": ({"column": "updated_at", "mode": "guarded"}, True),
    "lag": ({"column": "updated_at", "mode": "lag", "lag": "0s"}, True),
    "xid with column": ({"column": "changed", "mode": "xid"}, True),
    "plain xid": ({"mode": "xid"}, False),
}
_MOST = 1.2


@dataclass(frozen=True, slots=True)
class Measured:
    """One run of one mode at one size."""

    mode: str
    rows: int
    cost: Cost


def measure(exports: Exports, server: Postgres, sizes: list[int], rounds: int) -> list[Measured]:
    """Every mode at every size in turn, round after round; the first round is not counted."""
    exports.database("growing", server.url())
    found = []
    for rows in sizes:
        _grow(server, rows)
        for mode, (cursor, _) in _CURSORS.items():
            keys: dict[str, Any] = {"type": "incremental", "cursor": cursor, "columns": COLUMNS}
            exports.export(_id(mode, rows), "growing", _table(rows), {"name": "{until:%H%M%S%f}_{run}.csv"}, **keys)
            _begin_now(exports, _id(mode, rows))
    for number in range(rounds + 1):
        for rows in sizes:
            _add(server, rows, number)
        for mode in _CURSORS:
            for rows in sizes:
                os.sync()
                cost = exports.run(_id(mode, rows))
                if cost.said["rows"] != _NEW_ROWS:
                    raise RuntimeError(f"{mode} at {rows:,} rows delivered {cost.said['rows']}")
                if number:
                    found.append(Measured(mode, rows, cost))
    with server.connect() as connection:
        for rows in sizes:
            connection.execute(f"DROP TABLE {_table(rows)}")
    return found


def _id(mode: str, rows: int) -> str:
    return f"growing_{mode.replace(' ', '_')}_{rows}"


def _table(rows: int) -> str:
    return f"growing_{rows}"


def _grow(server: Postgres, rows: int) -> None:
    table = _table(rows)
    with server.connect() as connection:
        connection.execute(
            f"CREATE TABLE {table} AS SELECT *, pg_current_xact_id() AS changed FROM ({made(1, rows)}) made"
        )
        connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        for column in ("updated_at", "changed"):
            connection.execute(f"CREATE INDEX ON {table} ({column})")
        connection.execute(f"VACUUM (FREEZE, ANALYZE) {table}")


def _add(server: Postgres, rows: int, number: int) -> None:
    first = rows + number * _NEW_ROWS + 1
    columns = ", ".join("clock_timestamp()" if name == "updated_at" else name for name in COLUMNS)
    with server.connect() as connection:
        connection.execute(
            f"INSERT INTO {_table(rows)} SELECT {columns}, pg_current_xact_id() "
            f"FROM ({made(first, first + _NEW_ROWS - 1)}) made"
        )


def _begin_now(exports: Exports, export_id: str) -> None:
    """As `exports activate --since now`, so that the rows that are there already are nobody's."""
    with _environment(exports.environment):
        export = load_catalog().export(export_id)
        Ledger.default().open_generation(export_id, starting_bounds(export, "now"))


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(settings)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def show(found: list[Measured]) -> None:
    """Print the medians."""
    print(f"\n### {_NEW_ROWS:,} new rows, incremental, PostgreSQL to csv\n")
    print("| mode | rows in the table | median s | peak MB | CPU s |\n|---|---|---|---|---|")
    for mode, rows in dict.fromkeys((entry.mode, entry.rows) for entry in found):
        costs = [entry.cost for entry in found if (entry.mode, entry.rows) == (mode, rows)]
        cells = [f"{_median(found, mode, rows):.3f}", f"{max(cost.peak_mb for cost in costs):.0f}"]
        print(f"| {mode} | {rows:,} | {' | '.join(cells)} | {median(cost.cpu_seconds for cost in costs):.2f} |")


def verdicts(found: list[Measured], sizes: list[int]) -> Iterator[Verdict]:
    """The large table against the small one, in the modes that have an index to read."""
    least, most = min(sizes), max(sizes)
    for mode, (_, is_kept) in _CURSORS.items():
        if is_kept:
            ratio = _median(found, mode, most) / _median(found, mode, least)
            yield Verdict(
                f"incremental, {mode}: {_NEW_ROWS:,} new rows in {most:,} against {least:,}", ratio, most=_MOST
            )


def _median(found: list[Measured], mode: str, rows: int) -> float:
    return median(entry.cost.seconds for entry in found if (entry.mode, entry.rows) == (mode, rows))
