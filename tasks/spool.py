"""The spool: where a window's final bytes stand on the worker until they are delivered."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from catalog.errors import Code, ExportError
from catalog.places import spool_folder
from catalog.windows import Window
from tasks.ledger import Extracted

_BLOCK = 1 << 20


def folder_of(window: Window) -> Path:
    """Where a window's files stand on this machine."""
    return spool_folder() / window.export / window.id


def begin(window: Window) -> Path:
    """Make the private folder (0700) of one window, empty: what an unfinished extraction left there is removed.

    Raises ExportError SPOOL_FULL when it cannot be made.
    """
    folder = folder_of(window)
    try:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
    except OSError as error:
        raise spool_error(folder, error) from error
    return folder


def stands(files: Sequence[Extracted]) -> bool:
    """Whether every extracted part is still in the spool, byte for byte."""
    return bool(files) and all(_is_whole(file) for file in files)


def is_there(file: Extracted) -> bool:
    """Whether the spool has a file of that size; its bytes were looked at by whoever wrote or found it in this run."""
    try:
        return file.path.stat().st_size == file.bytes
    except OSError:
        return False


def _is_whole(file: Extracted) -> bool:
    try:
        return is_there(file) and digest(file.path) == file.sha256
    except OSError:
        # A spool file that cannot be read is one that is not there: the window is read again.
        return False


def digest(path: Path) -> str:
    """SHA-256 (hex) of a file. Raises OSError."""
    found = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def discard(window: Window) -> None:
    """Remove a window's files from the spool, once they are delivered."""
    shutil.rmtree(folder_of(window), ignore_errors=True)


def sweep(export_id: str, outstanding: Iterable[Window]) -> None:
    """Remove what a run that died left behind: the folders of this export's windows that are settled by now.

    Only under the export's lock, when no other run can be writing there.
    """
    wanted = {window.id for window in outstanding}
    folder = spool_folder() / export_id
    for left in folder.iterdir() if folder.is_dir() else ():
        if left.name not in wanted:
            shutil.rmtree(left, ignore_errors=True)


def spool_error(path: Path, error: OSError) -> ExportError:
    """What an operating-system error on the spool means."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    return ExportError(
        Code.SPOOL_FULL,
        f"the spool {spool_folder()} cannot be written: {error.strerror} ({free // 1_000_000} MB free)",
        "make room, or point EXPORTS_SPOOL at a disk with more",
    )
