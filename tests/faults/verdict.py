"""What the consumer holds against what the writers committed: lost, doubled, partial, phantom."""

from __future__ import annotations

import csv
import json
import sqlite3
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from consumer import Taken

_FILES = """
SELECT extraction.name, extraction.rows, extraction.sha256, delivery.state
FROM extraction JOIN delivery USING (window, part)
"""
_HEADER = ["id", "payload", "updated_at"]


@dataclass
class Verdict:
    """Ids that are lost or doubled or that nobody committed, and names of files that were not whole; and the totals.

    `stopped` are runs that ended with an error where none was due.
    """

    lost: list[int] = field(default_factory=list)
    doubled: list[int] = field(default_factory=list)
    phantom: list[int] = field(default_factory=list)
    partial: list[str] = field(default_factory=list)
    stopped: list[str] = field(default_factory=list)
    rows: int = 0
    files: int = 0

    @property
    def clean(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.lost or self.doubled or self.phantom or self.partial or self.stopped)

    def add(self, other: Verdict) -> None:
        """Count another round's in."""
        for name in ("lost", "doubled", "phantom", "partial", "stopped"):
            getattr(self, name).extend(getattr(other, name))
        self.rows += other.rows
        self.files += other.files

    def counts(self) -> dict[str, int]:
        """How many of each."""
        wrong = {name: len(getattr(self, name)) for name in ("lost", "doubled", "partial", "phantom", "stopped")}
        return {"rows": self.rows, "files": self.files, **wrong}


def judge(ledger: Path, taken: Iterable[Taken], committed: set[int]) -> Verdict:
    """Every id once, in files that are byte for byte what the ledger says, row for row."""
    recorded = _recorded(ledger)
    verdict, seen, names = Verdict(), Counter[int](), set[str]()
    for file in taken:
        verdict.files += 1
        names.add(file.name)
        ids = _of_manifest(file.path, names) if file.name.endswith(".manifest.json") else _ids(file.path)
        if ids is None or recorded.get(file.name) != (len(ids), file.sha256):
            verdict.partial.append(file.name)
        seen.update(ids or [])
    verdict.rows = seen.total()
    verdict.lost = sorted(committed - seen.keys())
    verdict.phantom = sorted(seen.keys() - committed)
    verdict.doubled = sorted(number for number, times in seen.items() if times > 1)
    return verdict


def _recorded(ledger: Path) -> dict[str, tuple[int, str]]:
    """Rows and digest of every file the ledger says was delivered, by name."""
    with closing(sqlite3.connect(ledger)) as connection:
        found = connection.execute(_FILES).fetchall()
    return {name: (rows, sha256) for name, rows, sha256, state in found if state == "COMMITTED"}


def _ids(path: Path) -> list[int] | None:
    """The ids in a file, or None when it does not end where a file ends, or a line of it is no row."""
    text = path.read_bytes().decode(errors="replace")
    if not text.endswith("\n"):
        return None
    header, *rows = csv.reader(text.splitlines(keepends=True))
    if header != _HEADER or any(len(row) != len(_HEADER) or not row[1].startswith('row "') for row in rows):
        return None
    return [int(row[0]) for row in rows]


def _of_manifest(path: Path, came_before: set[str]) -> list[int] | None:
    """No ids; None when the manifest is not whole, or came before a file that it lists."""
    try:
        listed = {file["name"] for file in json.loads(path.read_bytes())["files"]}
    except ValueError:
        return None
    return [] if listed <= came_before else None
