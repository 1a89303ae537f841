"""Whole tables into one local file: this project and every installed peer in turn, round after round."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from export_run import Exports
from measure import CommandFailed, Cost, cost_of
from peers import GZIP, JSON_LINES, PARQUET, PLAIN, Peer
from table import name_of
from verdict import Verdict

OURS = "Manage Exports"
FORMATS: dict[str, dict[str, Any]] = {
    PLAIN: {"format": "csv"},
    GZIP: {"format": "csv", "compression": "gzip"},
    JSON_LINES: {"format": "jsonl"},
    PARQUET: {"format": "parquet"},
}
#: Source, format and peer, and how our time may compare: at most so many times the peer's, or at least so often faster.
_AT_MOST = [
    ("postgresql", PLAIN, r"psql \copy", 1.0),
    ("postgresql", GZIP, r"psql \copy, gzip -6", 1.0),
    ("postgresql", PARQUET, "DuckDB", 1.1),
    ("sqlite", PLAIN, "sqlite3 -csv", 1.0),
]
_FASTER = [("postgresql", PLAIN, "Sling", 7.0), ("postgresql", PLAIN, "pandas", 15.0)]
_GROWTH_MB = 100.0


@dataclass(frozen=True, slots=True)
class Work:
    """One table into one format."""

    source: str
    format: str
    rows: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One contender's one run."""

    work: Work
    contender: str
    cost: Cost
    size: int


def measure(
    exports: Exports, peers: list[Peer], sources: dict[str, str], rows: int, rounds: int, folder: Path
) -> list[Measured]:
    """Every format of every source (name and URL) at one size. Only what has a target to keep runs more than once."""
    found = []
    for (source, url), form in product(sources.items(), FORMATS):
        work = Work(source, form, rows)
        rivals = [peer for peer in peers if (peer.source, peer.format) == (source, form)]
        exports.database(f"{source}_{rows}", url)
        exports.export(_id(work), f"{source}_{rows}", name_of(rows), {**FORMATS[form], "name": "t_{run}.out"})
        for number in range(rounds if _has_target(work) else 1):
            found.append(_ours(exports, work))
            for peer in [peer for peer in rivals if number == 0 or not peer.slow]:
                found.extend(_theirs(peer, work, folder / "peer.out"))
        show(found, work)
    return found


def _id(work: Work) -> str:
    return f"{work.source}_{work.rows}_{work.format.replace(' ', '_')}"


def _has_target(work: Work) -> bool:
    return any((source, form) == (work.source, work.format) for source, form, *_ in [*_AT_MOST, *_FASTER])


def _ours(exports: Exports, work: Work) -> Measured:
    # What others left to be written must not be written at this one's cost.
    os.sync()
    cost = exports.run(_id(work))
    if cost.said["rows"] != work.rows:
        raise RuntimeError(f"{work} delivered {cost.said['rows']} rows")
    return Measured(work, OURS, cost, cost.said["bytes"])


def _theirs(peer: Peer, work: Work, file: Path) -> Iterator[Measured]:
    """One run, or none of a peer that fails: that is said, and its target counts as not compared."""
    os.sync()
    try:
        cost = cost_of(peer.command(work.rows, file), peer.environment)
        yield Measured(work, peer.name, cost, file.stat().st_size)
    except CommandFailed as failure:
        print(f"{peer.name} failed on {work}: {failure}", flush=True)
    finally:
        file.unlink(missing_ok=True)


def show(found: list[Measured], work: Work) -> None:
    """Print the medians of one work, the fastest first."""
    ours = _median(found, work, OURS)
    assert ours is not None
    print(f"\n### {work.source} to {work.format}, {work.rows:,} rows\n")
    print("| tool | runs | median s | spread | x ours | rows/s | MB | peak MB | CPU s |")
    print("|---|---|---|---|---|---|---|---|---|")
    names = dict.fromkeys(entry.contender for entry in found if entry.work == work)
    for name in sorted(names, key=lambda name: _median(found, work, name) or 0):
        runs = [entry for entry in found if (entry.work, entry.contender) == (work, name)]
        seconds = [entry.cost.seconds for entry in runs]
        middle = median(seconds)
        cells = [
            name,
            str(len(runs)),
            f"{middle:.2f}",
            f"{min(seconds):.2f} - {max(seconds):.2f}",
            f"{middle / ours:.2f}",
            f"{work.rows / middle:,.0f}",
            f"{runs[0].size / 1e6:.1f}",
            f"{max(entry.cost.peak_mb for entry in runs):.0f}",
            f"{median(entry.cost.cpu_seconds for entry in runs):.1f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


def verdicts(found: list[Measured], sizes: list[int]) -> Iterator[Verdict]:
    """The targets at the largest size, and the growth of memory from the smallest to it."""
    least, most = min(sizes), max(sizes)
    for source, form, peer, bound in _AT_MOST:
        ratio = _ratio(found, Work(source, form, most), peer)
        yield Verdict(f"{source} to {form}, {most:,} rows, against {peer}", ratio, most=bound)
    for source, form, peer, bound in _FASTER:
        ratio = _ratio(found, Work(source, form, most), peer)
        yield Verdict(f"{source} to {form}, {most:,} rows, faster than {peer}", ratio and 1 / ratio, least=bound)
    for source, form in dict.fromkeys((entry.work.source, entry.work.format) for entry in found):
        low, high = _peak(found, Work(source, form, least)), _peak(found, Work(source, form, most))
        yield Verdict(
            f"{source} to {form}, growth of peak memory from {least:,} to {most:,} rows",
            high - low,
            "MB",
            most=_GROWTH_MB,
        )


def _median(found: list[Measured], work: Work, contender: str) -> float | None:
    seconds = [entry.cost.seconds for entry in found if (entry.work, entry.contender) == (work, contender)]
    return median(seconds) if seconds else None


def _ratio(found: list[Measured], work: Work, peer: str) -> float | None:
    ours, theirs = _median(found, work, OURS), _median(found, work, peer)
    return ours / theirs if ours and theirs else None


def _peak(found: list[Measured], work: Work) -> float:
    return max(entry.cost.peak_mb for entry in found if (entry.work, entry.contender) == (work, OURS))
