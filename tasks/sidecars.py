"""What goes with a window's data: checksums, the manifest and the done marker, files of their own beside it.

Each follows from what the ledger knows of the data, so that one that the spool has lost is made again, byte for byte.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from catalog.file import File
from catalog.manifest import ManifestFile, manifest_name, manifest_text
from catalog.windows import Window
from tasks.durable import flush_folder
from tasks.ledger import Extracted
from tasks.ledger.records import Kind
from tasks.spool import folder_of, spool_error


def write_sidecars(window: Window, file: File, data: Sequence[Extracted], folder: Path) -> tuple[Extracted, ...]:
    """The parts after those of the data, in the order in which they are published; none without data.

    Raises ExportError SPOOL_FULL when one cannot be written.
    """
    wanted: list[tuple[Kind, str]] = []
    if file.checksum != "none":
        wanted += [("checksum", _checksum_name(found)) for found in data]
    if file.manifest:
        wanted.append(("manifest", manifest_name(window)))
    if file.done:
        wanted.append(("done", f"{window.first_name}.done"))
    written = []
    for part, (kind, name) in enumerate(wanted if data else (), start=len(data) + 1):
        content = _content(window, kind, name, data)
        _write(folder / str(part), content)
        digest = hashlib.sha256(content).hexdigest()
        written.append(Extracted(part, name, folder / str(part), 0, len(content), digest, kind))
    return tuple(written)


def write_again(window: Window, lost: Extracted, files: Sequence[Extracted]) -> Path:
    """Make a sidecar again in the spool of this machine, and say where; `files` are all of the window.

    Raises ExportError SPOOL_FULL.
    """
    data = [file for file in files if file.kind == "data"]
    # Not where it stood: that may be the spool of another machine.
    path = folder_of(window) / str(lost.part)
    _write(path, _content(window, lost.kind, lost.name, data))
    return path


def _content(window: Window, kind: Kind, name: str, data: Sequence[Extracted]) -> bytes:
    if kind == "manifest":
        listed = [ManifestFile(file.name, file.rows, file.bytes, file.sha256) for file in data]
        return manifest_text(window, listed).encode()
    if kind == "checksum":
        (of,) = [file for file in data if _checksum_name(file) == name]
        # Two spaces, as sha256sum writes it: https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html
        return f"{of.sha256}  {of.name}\n".encode()
    return b""


def _checksum_name(file: Extracted) -> str:
    return f"{file.name}.sha256"


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(path.parent)
    except OSError as error:
        raise spool_error(path, error) from error
