"""What every protocol's publisher promises; one suite of tests runs on all of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from catalog.errors import Code, ExportError

#: Takes the bytes of a file in order, a piece at a time; what it returns does not matter.
Sink = Callable[[bytes], object]
#: `may ask`: when temp and final name are both gone, what happened cannot be told, and a person is asked.
Promise = Literal["exactly once", "may ask"]
_TEMP = re.compile(r"\.(?P<name>.+)\.[^.]+\.[^.]+\.part")


@dataclass(frozen=True, slots=True)
class Stat:
    """What stands under a name: its size in bytes, its bytes on demand, and since when (ISO 8601).

    `read` gives all of them to a sink. It raises ExportError TARGET_UNREACHABLE when the file is gone by then, and
    TARGET_DENIED of an upload to an object store, which nobody can read before it is published.
    """

    size: int
    read: Callable[[Sink], None]
    modified: str

    def sha256(self) -> str:
        """The digest (hex) of the bytes that stand there. Raises as `read` does."""
        found = hashlib.sha256()
        self.read(found.update)
        return found.hexdigest()

    def holds(self, size: int, sha256: str) -> bool:
        """Whether these bytes stand there; they are read only where their number is right. Raises as `read` does."""
        return self.size == size and self.sha256() == sha256


class Publisher(Protocol):
    """Folders are below the target's root, `""` being the root itself; names are one path component.

    Every method raises ExportError: TARGET_UNREACHABLE, TARGET_DENIED or TARGET_FULL besides what it names.
    """

    #: The target as it was resolved, without secrets: files of one identity are in one place.
    identity: str
    #: Whether a crash can always be resolved without asking a person.
    promise: Promise
    #: What every run that uses this target should warn of, because it is unsafe; None when it is not.
    warning: str | None = None

    def check(self, folder: str = "") -> None:
        """The folder is there and can be written."""

    def begin(self, folder: str, name: str, temp_name: str) -> str:
        """Begin an upload of what will be `name`; the temp name by which the other methods know it from now on.

        The ledger has it before the first byte is sent. An object store adds what it calls the upload itself.
        """
        return temp_name

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """Bring every byte of `local` under a name that no consumer reads, flushed, its size verified.

        Once for each upload that was begun. Raises ExportError UPLOAD_MISMATCH.
        """

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None."""

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Give the temp its final name in one step; the temp name is gone afterwards.

        Raises ExportError FILE_EXISTS when something has that name, unless `replace`.
        """

    def remove(self, folder: str, name: str) -> None:
        """Remove a file, or give up an upload; one that is not there is fine."""

    def close(self) -> None:
        """Give up the connection, if there is one."""

    def address(self, folder: str, name: str) -> str:
        """The whole address of a file, for people, without secrets."""
        return "/".join(part for part in (self.identity.rstrip("/"), folder, name) if part)

    def link(self, folder: str, name: str, seconds: int) -> str | None:
        """A web address that fetches the file for so many seconds, for whoever has it; None where there is none."""
        return None


def file_exists(publisher: Publisher, folder: str, name: str) -> ExportError:
    """What a publisher raises when the final name is taken."""
    found = publisher.stat(folder, name)
    what = f" ({found.size} bytes, of {found.modified})" if found else ""
    return ExportError(
        Code.FILE_EXISTS,
        f"{publisher.address(folder, name)} exists already{what}, and this export did not write it",
        "move it away and relaunch, or set `file.conflict: replace`",
    )


def changed_meanwhile(publisher: Publisher, folder: str, name: str) -> ExportError:
    """What reading a file raises that is not the one any more that was looked at."""
    return ExportError(
        Code.TARGET_UNREACHABLE,
        f"{publisher.address(folder, name)} was taken away or changed while it was looked at",
        "relaunch",
    )


def refuse_to_read(publisher: Publisher, folder: str, temp_name: str, sink: Sink) -> None:
    """The `read` of an upload to an object store. Raises ExportError TARGET_DENIED."""
    raise ExportError(
        Code.TARGET_DENIED,
        f"{publisher.address(folder, temp_name)} is an upload, which nobody can read before it is published",
        "publish it first",
    )


def cannot_rename(publisher: Publisher) -> ExportError:
    """What is raised of a server that refuses to rename at all."""
    return ExportError(
        Code.TARGET_CANNOT_RENAME,
        f"{publisher.identity} cannot rename, so no file can appear there whole or not at all",
        "let its owner allow it, or choose another target",
    )


def refuse_other_size(publisher: Publisher, folder: str, temp_name: str, found: int | None, expected: int) -> None:
    """Take the upload away again unless `found` bytes of it are there as `expected`; raises UPLOAD_MISMATCH then."""
    if found == expected:
        return
    publisher.remove(folder, temp_name)
    raise ExportError(
        Code.UPLOAD_MISMATCH,
        f"{publisher.address(folder, temp_name)} has {'no' if found is None else found} bytes after the upload, "
        f"and should have {expected}",
        "relaunch; if it comes back, look at the target's disk",
    )


def temp_name(name: str, window_id: str, upload: str) -> str:
    """The name under which a file is uploaded: beside the final one, hidden, the window's own and this upload's."""
    return f".{name}.{window_id}.{upload}.part"


def final_name(temp: str) -> str | None:
    """The name that a file uploaded under this one gets, or None when it is no temp name."""
    found = _TEMP.fullmatch(temp)
    return found["name"] if found else None
