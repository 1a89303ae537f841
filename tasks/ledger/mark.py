"""The highest turn this machine has seen of an export, kept beside the spool: an older ledger is not believed."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from catalog.errors import Code, ExportError
from catalog.places import spool_folder
from tasks.durable import flush_folder


@dataclass(frozen=True, slots=True)
class Mark:
    """Which ledger, by its own id, the number of the turn it gave, and whether that turn was ended in it."""

    ledger_id: str
    fence: int
    ended: bool


def read_mark(export_id: str) -> Mark | None:
    """What this machine saw last, or None when it never worked on the export."""
    try:
        return Mark(**json.loads(_path(export_id).read_text()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(error) from error
    except (ValueError, TypeError):
        # A file that was cut short says nothing; the next turn writes it anew.
        return None


def write_mark(export_id: str, mark: Mark) -> None:
    """Keep the mark, flushed to disk. Raises ExportError SPOOL_FULL when the spool cannot be written."""
    path = _path(export_id)
    fresh = path.with_suffix(".tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with fresh.open("w") as file:
            json.dump(asdict(mark), file)
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        flush_folder(path.parent)
    except OSError as error:
        raise _unusable(error) from error


def _path(export_id: str) -> Path:
    return spool_folder() / ".marks" / f"{export_id}.json"


def _unusable(error: OSError) -> ExportError:
    return ExportError(
        Code.SPOOL_FULL,
        f"the spool {spool_folder()} cannot be used: {error.strerror}",
        "make room, or point EXPORTS_SPOOL at a disk with more",
    )
