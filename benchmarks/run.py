"""`make bench`: everything that is said about speed, measured in one sitting."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

# Before Prefect is imported: what it logs here is no measurement.
os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
# The servers of the tests are those of the benchmarks.
sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import definitions
import incremental
import listing
import overhead
import postgres_server
import uploads
import whole_tables
from databases import KEPT, NAMES, Databases, sqlite_file
from export_run import Exports
from peers import installed
from postgres_server import Postgres
from verdict import Verdict, show


def main() -> None:
    """Measure what was asked for, print tables and targets; exits 1 when a target is missed, but for a quick look."""
    options = _options()
    # As an interrupted one does, a sitting that is ended takes its servers with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    print(f"# {platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench") as temporary, postgres_server.running() as postgres:
        found = [verdict for part in options.only for verdict in PARTS[part](options, postgres, Path(temporary))]
    if not show(found) and not options.quick:
        sys.exit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--sources", nargs="+", choices=NAMES, default=NAMES, help="the databases of whole tables")
    parser.add_argument("--rows", nargs="+", type=int, help="the sizes of the table")
    parser.add_argument("--definitions", nargs="+", type=int, help="how many definitions, the fewest first")
    parser.add_argument("--megabytes", type=int, help="the size of the file that is uploaded")
    parser.add_argument("--rounds", type=int, help="how often each contender with a target runs")
    parser.add_argument("--quick", action="store_true", help="small sizes and one round: a look, not a measurement")
    options = parser.parse_args()
    options.rows = options.rows or [50_000, 500_000, *([] if options.quick else [5_000_000])]
    options.definitions = options.definitions or [1, 10, 100, *([] if options.quick else [1_000])]
    options.megabytes = options.megabytes or (50 if options.quick else 1_000)
    options.rounds = options.rounds or (1 if options.quick else 3)
    return options


def _overhead(options: argparse.Namespace, postgres: Postgres, folder: Path) -> Iterator[Verdict]:
    found = overhead.measure(postgres, _of_short_work(options), folder)
    overhead.show(found)
    yield overhead.verdict(found)


def _definitions(options: argparse.Namespace, postgres: Postgres, folder: Path) -> Iterator[Verdict]:
    found = definitions.measure(postgres, options.definitions, folder)
    definitions.show(found)
    yield from definitions.verdicts(found)


def _listing(options: argparse.Namespace, postgres: Postgres, folder: Path) -> Iterator[Verdict]:
    most = max(options.definitions)
    found = listing.measure(postgres, most, _of_short_work(options), folder)
    listing.show(found, most)
    yield from listing.verdicts(found, most)


def _incremental(options: argparse.Namespace, postgres: Postgres, folder: Path) -> Iterator[Verdict]:
    sizes = [min(options.rows), max(options.rows)]
    found = incremental.measure(Exports(folder / "incremental"), postgres, sizes, _of_short_work(options))
    incremental.show(found)
    yield from incremental.verdicts(found, sizes)


def _tables(options: argparse.Namespace, postgres: Postgres, folder: Path) -> Iterator[Verdict]:
    exports, peers = Exports(folder / "tables"), installed(postgres, sqlite_file, KEPT / "peers")
    found: list[whole_tables.Measured] = []
    with Databases(postgres, options.sources, folder) as databases:
        for rows in options.rows:
            found += whole_tables.measure(exports, peers, databases.filled(rows), rows, options.rounds, folder)
    yield from whole_tables.verdicts(found, options.rows)


def _uploads(options: argparse.Namespace, postgres: Postgres, folder: Path) -> Iterator[Verdict]:
    found = uploads.measure(options.megabytes * 1_000_000, options.rounds)
    uploads.show(found)
    yield from uploads.verdicts(found)


def _of_short_work(options: argparse.Namespace) -> int:
    """What takes a second varies more, and costs less to repeat."""
    rounds: int = options.rounds + 4
    return rounds


PARTS: dict[str, Callable[[argparse.Namespace, Postgres, Path], Iterator[Verdict]]] = {
    "overhead": _overhead,
    "definitions": _definitions,
    "listing": _listing,
    "incremental": _incremental,
    "tables": _tables,
    "uploads": _uploads,
}

if __name__ == "__main__":
    main()
