"""Local folders, through fsspec's local file system and the calls it lacks: link, fsync, rename to a free name."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

from catalog.errors import Code, ExportError
from tasks.durable import flush_folder
from tasks.publish.contract import (
    Promise,
    Publisher,
    Sink,
    Stat,
    changed_meanwhile,
    file_exists,
    refuse_other_size,
)
from tasks.publish.no_clobber import rename_to_free_name

_BLOCK = 1024 * 1024
_CANNOT_LINK = {errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV}


class LocalPublisher(Publisher):
    """Drops files into a local folder, which must exist: an unmounted disk must not turn into a new folder."""

    promise: Promise = "exactly once"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = LocalFileSystem()
        self.identity = root.as_uri()

    def check(self, folder: str = "") -> None:
        """The folder is there and can be written."""
        path = self._root / folder
        with self._translated("use the folder", path):
            if not self._files.isdir(str(path)):
                code = errno.ENOTDIR if self._files.exists(str(path)) else errno.ENOENT
                raise OSError(code, os.strerror(code))
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """The file under its temp name, flushed; on the spool's own disk it is a link, not a second copy."""
        self.check()
        temp = self._path(folder, temp_name)
        with self._translated("write", temp):
            self._make_folder(temp.parent)
            try:
                temp.unlink(missing_ok=True)
                _link_or_copy(local, temp)
                flush_folder(temp.parent)
            except OSError:
                with suppress(OSError):
                    temp.unlink(missing_ok=True)
                raise
            size, expected = temp.stat().st_size, local.stat().st_size
        refuse_other_size(self, folder, temp_name, size, expected)

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None."""
        path = self._path(folder, name)
        with self._translated("look at", path):
            try:
                found = path.stat()
            except FileNotFoundError:
                return None
            modified = datetime.fromtimestamp(found.st_mtime, UTC).isoformat(timespec="seconds")
            return Stat(found.st_size, partial(self._read, folder, name), modified)

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Rename, never over a file that is there unless `replace`."""
        temp, final = self._path(folder, temp_name), self._path(folder, name)
        with self._translated("publish", final):
            if replace:
                temp.replace(final)
                # Two names of one inode: rename(2) then does nothing, and leaves both.
                temp.unlink(missing_ok=True)
            else:
                try:
                    rename_to_free_name(temp, final)
                except FileExistsError:
                    raise file_exists(self, folder, name) from None
            flush_folder(final.parent)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        path = self._path(folder, name)
        with self._translated("remove", path):
            path.unlink(missing_ok=True)

    def close(self) -> None:
        """A folder needs no connection."""

    def address(self, folder: str, name: str) -> str:
        """The file's path."""
        return str(self._path(folder, name))

    def _path(self, folder: str, name: str) -> Path:
        return self._root / folder / name

    def _read(self, folder: str, name: str, sink: Sink) -> None:
        path = self._path(folder, name)
        with self._translated("read", path):
            try:
                with path.open("rb") as file:
                    while block := file.read(_BLOCK):
                        sink(block)
            except FileNotFoundError as error:
                raise changed_meanwhile(self, folder, name) from error

    def _make_folder(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        self._files.makedirs(str(folder), exist_ok=True)
        for path in missing:
            flush_folder(path.parent)

    @contextmanager
    def _translated(self, action: str, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise ExportError(
                    Code.TARGET_FULL,
                    f"cannot {action} {path}: {error.strerror}",
                    "make room on the target, then relaunch",
                ) from error
            raise ExportError(
                Code.TARGET_DENIED,
                f"cannot {action} {path}: {error.strerror}",
                f"see that {self._root} is there and that this user may write in it, then relaunch",
            ) from error


def _link_or_copy(local: Path, temp: Path) -> None:
    try:
        os.link(local, temp)
    except OSError as error:
        if error.errno not in _CANNOT_LINK:
            raise
        with local.open("rb") as source, temp.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
    else:
        # The spool keeps its files private; a published one has the permissions any new file would have.
        temp.chmod(0o666 & ~_umask())


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
