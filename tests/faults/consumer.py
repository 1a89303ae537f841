"""A consumer who takes every file from the drop folder the moment it appears, and what it then holds."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PAUSE_SECONDS = 0.0005


@dataclass(frozen=True, slots=True)
class Taken:
    """One file as it was when it was taken: its name, its digest then, and where it lies now."""

    name: str
    sha256: str
    path: Path


@contextmanager
def consuming(drop: Path, taken: Path) -> Iterator[None]:
    """Take files for as long as the block runs, and at its end what still stands there."""
    taken.mkdir()
    process = subprocess.Popen([sys.executable, __file__, str(drop), str(taken)])
    try:
        yield
    finally:
        process.terminate()
        assert process.wait(60) == 0, "the consumer did not end well"


def what_was_taken(taken: Path) -> list[Taken]:
    """All files in the order they were taken; a name that came twice stands there twice."""
    log = taken / "log"
    lines = log.read_text().splitlines() if log.exists() else []
    return [Taken(entry["name"], entry["sha256"], taken / entry["as"]) for entry in map(json.loads, lines)]


def take(drop: Path, taken: Path, number: int) -> int:
    """Take every file that stands in the folder under a name a consumer reads; returns the next number."""
    with os.scandir(drop) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".")]
    # Of what stands there together, the manifests last: as a person would look at them.
    for name in sorted(names, key=lambda name: (name.endswith(".manifest.json"), name)):
        mine = taken / f"{number:06d}"
        (drop / name).rename(mine)
        digest = hashlib.sha256(mine.read_bytes()).hexdigest()
        with (taken / "log").open("a") as log:
            log.write(json.dumps({"name": name, "sha256": digest, "as": mine.name}) + "\n")
        number += 1
    return number


def main(drop: Path, taken: Path) -> None:
    """Take until SIGTERM, and once more."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopping.append(number))
    number = 0
    while not stopping:
        number = take(drop, taken, number)
        time.sleep(_PAUSE_SECONDS)
    take(drop, taken, number)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
