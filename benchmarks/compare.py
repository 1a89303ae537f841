"""Whole tables out of PostgreSQL and SQLite, by this project and by every peer that is installed, in one sitting.

Rounds are interleaved, so that a slow minute of the machine meets everybody; medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests")]

from peers import PEERS  # noqa: E402
from postgres_server import Postgres, running  # noqa: E402
from tables import fill_postgres, fill_sqlite  # noqa: E402

#: This project's runs: source, format, compression.
OWN = {
    "postgres csv": ("postgres", "csv", "none"),
    "postgres csv gzip": ("postgres", "csv", "gzip"),
    "postgres csv zstd": ("postgres", "csv", "zstd"),
    "postgres parquet": ("postgres", "parquet", "none"),
    "postgres jsonl": ("postgres", "jsonl", "none"),
    "sqlite csv": ("sqlite", "csv", "none"),
    "sqlite parquet": ("sqlite", "parquet", "none"),
}
#: What a run may take of a peer's time at the largest size.
BOUNDS = [
    ("postgres csv", "psql csv", 1.0),
    ("postgres csv gzip", "psql gzip", 1.0),
    ("postgres parquet", "duckdb parquet", 1.1),
    ("sqlite csv", "sqlite3 csv", 1.0),
    ("postgres csv", "sling csv", 1 / 7),
    ("postgres csv", "pandas csv", 1 / 15),
]
#: Peers that take minutes are run once.
SLOW = {"sling csv", "pandas csv"}
#: Memory may grow by so much from the smallest table to the largest.
GROWTH_MB = 100


@dataclass(frozen=True)
class Taken:
    """What one process took: seconds of wall time, CPU seconds, peak RSS in MB (of this project's), file bytes."""

    seconds: float
    cpu: float
    peak_mb: float | None
    size: int


def measured(command: Sequence[str], folder: Path) -> Taken:
    began = time.perf_counter()
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen([sys.executable, *command], stdout=said)
        _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed: {command[:2]}")
    found = json.loads((folder / "said").read_text().splitlines()[-1]) if command[0].endswith("own_run.py") else {}
    out = folder / "out"
    size = found.get("bytes") or out.stat().st_size
    return Taken(found.get("seconds", wall), used.ru_utime + used.ru_stime, found.get("peak_mb"), size)


def once(name: str, server: Postgres, database: str, lite: Path, parent: Path) -> Taken:
    folder = Path(tempfile.mkdtemp(dir=parent))
    try:
        if name in OWN:
            source, file_format, compression = OWN[name]
            url = server.url(database) if source == "postgres" else f"sqlite:///{lite}"
            url = url.replace(server.password, "{{ $BENCH_PASSWORD }}")
            return measured([str(HERE / "own_run.py"), str(folder), url, file_format, compression], folder)
        arguments = [name, server.conninfo(database), str(lite), str(folder / "out")]
        return measured([str(HERE / "peers.py"), *arguments], folder)
    finally:
        shutil.rmtree(folder)


def peak_of(found: Sequence[Taken]) -> float | None:
    peaks = [one.peak_mb for one in found if one.peak_mb is not None]
    return median(peaks) if peaks else None


def table(rows: int, taken: dict[str, list[Taken]]) -> None:
    print(f"\n{rows:,} rows (medians)\n| what | runs | seconds | rows/s | CPU s | peak RSS MB | file MB |")
    print("|---|---|---|---|---|---|---|")
    for name, found in taken.items():
        seconds = median(one.seconds for one in found)
        cpu, peak = median(one.cpu for one in found), peak_of(found)
        memory = "" if peak is None else f"{peak:.0f}"
        who = f"**{name}**" if name in OWN else name
        print(
            f"| {who} | {len(found)} | {seconds:.2f} | {rows / seconds:,.0f} | {cpu:.1f} | {memory} "
            f"| {found[-1].size / 1e6:.0f} |",
            flush=True,
        )


def judge(by_rows: dict[int, dict[str, list[Taken]]]) -> None:
    largest, smallest = max(by_rows), min(by_rows)
    print(f"\nat {largest:,} rows:")
    for own, peer, bound in BOUNDS:
        if own in by_rows[largest] and peer in by_rows[largest]:
            ours, theirs = (median(one.seconds for one in by_rows[largest][name]) for name in (own, peer))
            verdict = "holds" if ours <= bound * theirs else "MISSED"
            print(f"  {own} / {peer}: {ours / theirs:.3f} (at most {bound:.3f}): {verdict}")
    print(f"peak RSS, {largest:,} rows over {smallest:,}:")
    for name in OWN:
        if name in by_rows[largest] and largest != smallest:
            grown = [peak_of(by_rows[rows][name]) or 0.0 for rows in (largest, smallest)]
            verdict = "holds" if grown[0] - grown[1] <= GROWTH_MB else "MISSED"
            print(f"  {name}: {grown[0] - grown[1]:+.0f} MB (at most {GROWTH_MB}): {verdict}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[50_000, 500_000, 5_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", help="names as in the table")
    options = parser.parse_args()
    names = [*OWN, *(name for name, (_, installed) in PEERS.items() if installed())]
    names = [name for name in names if options.only is None or name in options.only]
    by_rows: dict[int, dict[str, list[Taken]]] = {}
    with running() as server, tempfile.TemporaryDirectory() as folder:
        os.environ["BENCH_PASSWORD"] = server.password
        for rows in options.rows:
            database, lite = fill_postgres(server, rows), Path(folder) / f"{rows}.sqlite"
            fill_sqlite(server, database, lite)
            taken: dict[str, list[Taken]] = {name: [] for name in names}
            for turn in range(options.rounds):
                for name in names:
                    if turn == 0 or name not in SLOW:
                        taken[name].append(once(name, server, database, lite, Path(folder)))
            by_rows[rows] = taken
            table(rows, taken)
    judge(by_rows)


if __name__ == "__main__":
    main()
