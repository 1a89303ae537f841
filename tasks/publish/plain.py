"""Any other file system of fsspec, as far as it goes: a temp beside the final name, and a rename after a look."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from catalog.errors import Code, ExportError
from tasks.publish.contract import (
    Promise,
    Publisher,
    Sink,
    Stat,
    changed_meanwhile,
    file_exists,
    refuse_other_size,
)
from tasks.publish.plain_errors import translate
from tasks.publish.plain_place import Place
from tasks.publish.plain_rename import STORES, Rename, rename_of
from tasks.publish.target_yaml import invalid
from tasks.publish.timeouts import Timeouts

_BLOCK = 1024 * 1024
#: Where file systems keep the time of the last change, in what they tell about a file.
_MODIFIED = ("modified", "mtime", "last_modified", "LastModified", "updated", "last_write_time")


class PlainPublisher(Publisher):
    """Drops files on a file system of fsspec that has no publisher of its own.

    The folder must exist, but on object stores, where the bucket must. It never writes under a final name: neither an
    exception inside `fs.open` nor fsspec's transactions keep a truncated file from appearing there. Besides what the
    contract names, its methods raise ExportError TARGET_AUTH, CERTIFICATE_INVALID, TARGET_CANNOT_RENAME, and
    DEFINITION_INVALID for options that the file system does not take.
    """

    promise: Promise = "may ask"

    def __init__(self, place: Place, timeouts: Timeouts | None = None) -> None:
        self._place = place
        self._timeouts = timeouts or Timeouts()
        self._connected: tuple[Any, Rename] | None = None
        self._is_store = place.protocol in STORES
        self.identity = place.identity
        self.warning = place.warning

    def check(self, folder: str = "") -> None:
        """The folder is there, and a file can be made in it: there is no other way to ask."""
        self._require_folder(folder)
        with self._use("write in", folder) as (files, _):
            probe = self._path(folder, f".{uuid.uuid4().hex}.part")
            files.pipe_file(probe, b"")
            files.rm_file(probe)

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """The file under its temp name, whose size the server has confirmed."""
        # fsspec would make the target's own folder too, which may be an unmounted disk.
        self._require_folder("")
        path, expected = self._path(folder, temp_name), local.stat().st_size
        with self._use("write", folder, temp_name) as (files, _):
            if folder and not self._is_store:
                files.makedirs(self._path(folder), exist_ok=True)
            try:
                files.put_file(str(local), path)
            except Exception:
                with suppress(Exception):
                    files.rm_file(path)
                raise
        found = self.stat(folder, temp_name)
        refuse_other_size(self, folder, temp_name, found.size if found else None, expected)

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None."""
        with self._use("look at", folder, name) as (files, _):
            found = _look(files, self._path(folder, name))
        if found is None:
            return None
        size = int(found.get("size") or 0)
        return Stat(size, partial(self._read, folder, name, size), _moment(found))

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Rename the temp, after a look at the final name unless `replace`."""
        temp, final = self._path(folder, temp_name), self._path(folder, name)
        with self._use("publish", folder, name) as (files, rename):
            if not replace and _look(files, temp) is not None and _look(files, final) is not None:
                raise file_exists(self, folder, name)
            try:
                rename(temp, final, replace)
            except Exception:
                self._refuse_taken(files, folder, temp_name, name, replace)
                raise
            # Some say nothing of a rename that they did not do.
            self._refuse_taken(files, folder, temp_name, name, replace)
            if _look(files, temp) is not None:
                raise self._cannot_rename(f"{self.address(folder, name)} did not get its name, and nobody says why")

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        with self._use("remove", folder, name) as (files, _), suppress(FileNotFoundError):
            files.rm_file(self._path(folder, name))

    def close(self) -> None:
        """Let go of the file system; most have nothing that could be closed."""
        self._connected = None

    @contextmanager
    def _use(self, action: str, folder: str, name: str = "") -> Iterator[tuple[Any, Rename]]:
        """The file system, and how it renames; what goes wrong inside the block becomes an ExportError."""
        try:
            if self._connected is None:
                self._connected = self._connect()
            yield self._connected
        except ExportError:
            raise
        except Exception as error:
            # Not chained: its text may hold anything, and Prefect logs whole tracebacks.
            raise translate(error, self.identity, f"{action} {self.address(folder, name)}") from None

    def _connect(self) -> tuple[Any, Rename]:
        place = self._place
        try:
            # A cached one would be another target's too, with what it remembers of folders.
            files = place.file_system(**{**self._patience(), **place.arguments}, skip_instance_cache=True)
        except (TypeError, ValueError):
            given = ", ".join(sorted(place.arguments)) or "none"
            raise invalid(
                place.target,
                "options",
                f"{place.file_system.__name__} cannot be made with these options: {given}",
                f"see the options of fsspec's {place.protocol}",
            ) from None
        rename = rename_of(place.protocol, files)
        if rename is None:
            raise self._cannot_rename(f"{place.protocol} cannot rename, so no file can appear there whole")
        return files, rename

    def _patience(self) -> dict[str, Any]:
        """Its own client gives up after 5 seconds, and repeats a move that was done and then finds nothing to move."""
        return {"timeout": self._timeouts.answer, "retry": False} if self._place.protocol == "webdav" else {}

    def _refuse_taken(self, files: Any, folder: str, temp_name: str, name: str, replace: bool) -> None:
        """Raises ExportError when the temp is still there because a file has the name."""
        if _look(files, self._path(folder, temp_name)) is None or _look(files, self._path(folder, name)) is None:
            return
        if replace:
            raise self._cannot_rename(f"{self.address(folder, name)} is there, and is not replaced in one step")
        raise file_exists(self, folder, name)

    def _cannot_rename(self, what: str) -> ExportError:
        hint = "choose another target, or give the files names of their own, with a date, and `file.conflict: fail`"
        return ExportError(Code.TARGET_CANNOT_RENAME, what, hint)

    def _require_folder(self, folder: str) -> None:
        if self._is_store:
            return
        with self._use("use the folder", folder) as (files, _):
            found = _look(files, self._path(folder))
            if found is None or found.get("type") != "directory":
                raise (FileNotFoundError if found is None else NotADirectoryError)

    def _path(self, folder: str, name: str = "") -> str:
        return "/".join(part for part in (self._place.root, folder, name) if part)

    def _read(self, folder: str, name: str, size: int, sink: Sink) -> None:
        read = 0
        with self._use("read", folder, name) as (files, _):
            try:
                with files.open(self._path(folder, name), "rb") as source:
                    while block := source.read(_BLOCK):
                        sink(block)
                        read += len(block)
            except FileNotFoundError:
                read = -1
        if read != size:
            raise changed_meanwhile(self, folder, name)


def _look(files: Any, path: str) -> Mapping[str, Any] | None:
    """What the server tells about a path now, or None when nothing is there."""
    files.invalidate_cache()
    try:
        found: Mapping[str, Any] = files.info(path)
    except FileNotFoundError:
        return None
    return found


def _moment(found: Mapping[str, Any]) -> str:
    """The time of the last change, in ISO 8601 where it can be told."""
    value = next((found[key] for key in _MODIFIED if found.get(key)), None)
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="seconds")
    return str(value) if value else "an unknown time"
