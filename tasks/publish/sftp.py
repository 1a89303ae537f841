"""SFTP servers, through paramiko: a host key that is known, a temp beside the final name, and a rename that refuses."""

from __future__ import annotations

import posixpath
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeVar

from catalog.errors import Code, ExportError
from tasks.publish.contract import (
    Promise,
    Publisher,
    Sink,
    Stat,
    cannot_rename,
    changed_meanwhile,
    file_exists,
    refuse_other_size,
)
from tasks.publish.sftp_client import BLOCK, Client, Status, StatusError
from tasks.publish.sftp_connect import Connection, connect
from tasks.publish.sftp_errors import FROM_OUTSIDE, translate
from tasks.publish.sftp_login import Login
from tasks.publish.timeouts import Timeouts

T = TypeVar("T")


class SftpPublisher(Publisher):
    """Drops files into a folder of an SFTP server, which must exist.

    It connects when it is first used, and again when the connection has died since. Besides what the contract names,
    its methods raise ExportError TARGET_AUTH and HOST_KEY_MISMATCH.
    """

    promise: Promise = "exactly once"

    def __init__(self, login: Login, timeouts: Timeouts | None = None) -> None:
        self._login = login
        self._timeouts = timeouts or Timeouts()
        self._connection: Connection | None = None
        self.identity = login.identity

    def check(self, folder: str = "") -> None:
        """The folder is there, and a file can be made in it: SFTP has no other way to ask."""
        self._require_folder(folder)
        with self._use("write in", folder) as client:
            probe = self._path(folder, f".{uuid.uuid4().hex}.part")
            client.open(probe, "wx").close()
            client.remove(probe)

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """The file under its temp name, and on the server's disk where the server can tell."""
        self._require_folder("")
        self._make_folder(folder)
        self.remove(folder, temp_name)
        path, expected = self._path(folder, temp_name), local.stat().st_size
        with local.open("rb") as source, self._use("write", folder, temp_name) as client:
            try:
                client.write_file(path, source)
            except StatusError as error:
                full = _has_no_room(error, client, posixpath.dirname(path))
                with suppress(StatusError):
                    client.remove(path)
                raise translate(error, self._login, f"write {self.address(folder, temp_name)}", full=full) from None
            size = client.stat(path).st_size
        refuse_other_size(self, folder, temp_name, size, expected)

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None."""
        with self._use("look at", folder, name) as client:
            found = _missing_is_none(partial(client.stat, self._path(folder, name)))
        if found is None:
            return None
        size = found.st_size or 0
        modified = datetime.fromtimestamp(found.st_mtime or 0, UTC).isoformat(timespec="seconds")
        return Stat(size, partial(self._read, folder, name, size), modified)

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Rename the temp: by SFTP's own rename, which refuses a name that is taken, or OpenSSH's, which replaces."""
        temp, final = self._path(folder, temp_name), self._path(folder, name)
        with self._use("publish", folder, name) as client:
            try:
                if replace:
                    client.posix_rename(temp, final)
                    # Two names of one inode: rename(2) then does nothing, and leaves both.
                    _missing_is_none(partial(client.remove, temp))
                elif _is_there(client, final):
                    # Asked first, because not every server's rename refuses as it should.
                    raise file_exists(self, folder, name)
                else:
                    client.rename(temp, final)
            except StatusError as error:
                if error.status == Status.OP_UNSUPPORTED:
                    raise (self._cannot_replace() if replace else cannot_rename(self)) from None
                if not replace and error.status != Status.NO_SUCH_FILE and _is_there(client, final):
                    raise file_exists(self, folder, name) from None
                raise

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        with self._use("remove", folder, name) as client:
            _missing_is_none(partial(client.remove, self._path(folder, name)))

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _use(self, action: str, folder: str, name: str = "") -> Iterator[Client]:
        """A client that is connected; what goes wrong with it inside the block becomes an ExportError."""
        try:
            yield self._client()
        except FROM_OUTSIDE as error:
            if not isinstance(error, StatusError):
                # Late answers to old requests may be on their way: the next use begins with a new connection.
                self.close()
            # Not chained: the server's text may quote what was sent to it, and Prefect logs whole tracebacks.
            raise translate(error, self._login, f"{action} {self.address(folder, name)}") from None

    def _client(self) -> Client:
        if self._connection is None or not self._connection.is_alive:
            self.close()
            self._connection = connect(self._login, self._timeouts)
        return self._connection.client

    def _path(self, folder: str, name: str = "") -> str:
        return posixpath.join(self._login.root, folder, name)

    def _require_folder(self, folder: str) -> None:
        with self._use("use the folder", folder) as client:
            if not stat.S_ISDIR(client.stat(self._path(folder)).st_mode or 0):
                raise StatusError(Status.FAILURE, "it is no folder")

    def _make_folder(self, folder: str) -> None:
        made = ""
        for part in folder.split("/") if folder else ():
            made = posixpath.join(made, part)
            with self._use("make the folder", made) as client:
                if _missing_is_none(partial(client.stat, self._path(made))) is None:
                    client.mkdir(self._path(made))

    def _read(self, folder: str, name: str, size: int, sink: Sink) -> None:
        with self._use("read", folder, name) as client:
            try:
                for block in client.read_file(self._path(folder, name), size):
                    sink(block)
            except StatusError as error:
                if error.status not in (Status.NO_SUCH_FILE, Status.EOF):
                    raise
                raise changed_meanwhile(self, folder, name) from None

    def _cannot_replace(self) -> ExportError:
        return ExportError(
            Code.TARGET_CANNOT_RENAME,
            f"{self.identity} cannot replace a file in one step: it lacks posix-rename@openssh.com",
            "give the files names of their own, with a date, and leave `file.conflict: fail`",
        )


def _missing_is_none(question: Callable[[], T]) -> T | None:
    try:
        return question()
    except StatusError as error:
        if error.status != Status.NO_SUCH_FILE:
            raise
        return None


def _is_there(client: Client, path: str) -> bool:
    """Also when it is a link that leads nowhere."""
    return _missing_is_none(partial(client.lstat, path)) is not None


def _has_no_room(error: StatusError, client: Client, folder: str) -> bool:
    """Whether a failure that the server does not explain is a full disk; OpenSSH says no more than "Failure"."""
    if error.status != Status.FAILURE:
        return False
    free = client.free_bytes(folder)
    return free is not None and free < BLOCK
