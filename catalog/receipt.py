"""What a run delivered, as the ledger knows it, and the report that is drawn from it and the run's state."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

#: Stands in the place of a run's id where a person did what runs do.
BY_HAND = "by hand"

RunStatus = Literal["succeeded", "failed", "running", "scheduled"]


@dataclass(frozen=True, slots=True)
class DeliveredFile:
    """One file that stands (or stood) at a target.

    `path` is the whole address, without secrets; of a file that arrived by a person's word, not by ours, its name.
    """

    name: str
    path: str
    target: str
    rows: int
    bytes: int
    sha256: str
    since: datetime | None
    until: datetime | None

    def to_json(self) -> dict[str, Any]:
        """The file as `exports report --json` prints it."""
        return {
            "name": self.name,
            "path": self.path,
            "target": self.target,
            "rows": self.rows,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "window": {"since": _iso(self.since), "until": _iso(self.until)},
        }


@dataclass(frozen=True, slots=True)
class TargetState:
    """How far the run's own window has come on one target: the state of what of it is the least far."""

    target: str
    state: str

    def to_json(self) -> dict[str, Any]:
        """The state as `exports report --json` prints it."""
        return {"target": self.target, "state": self.state}


@dataclass(frozen=True, slots=True)
class RunReport:
    """One run of one export: its state from Prefect, its files from the ledger."""

    run_id: str
    export: str
    status: RunStatus
    started_at: datetime | None
    ended_at: datetime | None
    duration_seconds: float | None
    attempts: int
    files: tuple[DeliveredFile, ...]
    targets: tuple[TargetState, ...]
    rows: int
    since: datetime | None
    until: datetime | None
    error_code: str | None
    error_message: str | None
    error_hint: str | None
    relaunchable: bool
    delivered_by: str | None
    notes: tuple[str, ...]
    message: str

    def to_json(self) -> dict[str, Any]:
        """The report as `exports report --json` prints it: fields may be added, never renamed."""
        record = asdict(self)
        record["notes"] = list(self.notes)
        record["files"] = [file.to_json() for file in self.files]
        record["targets"] = [target.to_json() for target in self.targets]
        record["started_at"], record["ended_at"] = _iso(self.started_at), _iso(self.ended_at)
        record["window"] = {"since": _iso(record.pop("since")), "until": _iso(record.pop("until"))}
        return record


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def settled_words(by: str) -> str:
    """What became of a window that was settled `by` that run, or by hand."""
    return "settled by hand" if by == BY_HAND else f"delivered by run {by}"


def size_text(count: int) -> str:
    """1234567 bytes -> `"1.2 MB"` (decimal units)."""
    size, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"


def rows_of(files: Sequence[DeliveredFile]) -> int:
    """How many rows were delivered, each counted once: those of the target that got the most."""
    return _most(files, lambda file: file.rows)


def bytes_of(files: Sequence[DeliveredFile]) -> int:
    """How many bytes were delivered, as `rows_of` counts."""
    return _most(files, lambda file: file.bytes)


def _most(files: Sequence[DeliveredFile], count: Callable[[DeliveredFile], int]) -> int:
    by_target: dict[str, int] = defaultdict(int)
    for file in files:
        by_target[file.target] += count(file)
    return max(by_target.values(), default=0)


def delivered_line(files: Sequence[DeliveredFile]) -> str:
    """The report of a run that delivered `files` (at least one), in one line."""
    rows, size = rows_of(files), bytes_of(files)
    known = list(dict.fromkeys(file.name for file in files))
    names = ", ".join(known[:3]) + (f" and {len(known) - 3} more" if len(known) > 3 else "")
    where = ", ".join(dict.fromkeys(file.target for file in files))
    return f"{names}: {rows:,} {'row' if rows == 1 else 'rows'}, {size_text(size)}, to {where}"
