"""FTP servers, through ftplib: TLS on every connection, a temp beside the final name, and a rename that asks first."""

from __future__ import annotations

import ftplib
import posixpath
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path

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
from tasks.publish.ftp_client import NOT_SERVED, Client, is_missing, reply_code
from tasks.publish.ftp_connect import connect
from tasks.publish.ftp_errors import FROM_OUTSIDE, answer_of, translate
from tasks.publish.ftp_login import Login
from tasks.publish.timeouts import Timeouts

_IN_CLEAR = "the password and every file go to {host} in clear; use ftps as soon as its owner offers it"


class FtpPublisher(Publisher):
    """Drops files into a folder of an FTP server, which must exist.

    It connects when it is first used, and again when the connection has died since. Most servers' rename replaces what
    has the name: somebody else's file that appears between the question and the rename is lost. Besides what the
    contract names, its methods raise ExportError TARGET_AUTH, CERTIFICATE_INVALID, and TARGET_UNSUPPORTED for a server
    that cannot tell how long a file is.
    """

    promise: Promise = "exactly once"

    def __init__(self, login: Login, timeouts: Timeouts | None = None) -> None:
        self._login = login
        self._timeouts = timeouts or Timeouts()
        self._connected: Client | None = None
        self.identity = login.identity
        self.warning = _IN_CLEAR.format(host=login.host) if login.protocol == "ftp" else None

    def check(self, folder: str = "") -> None:
        """The folder is there, and a file can be made in it: FTP has no other way to ask."""
        self._require_folder(folder)
        with self._use("write in", folder) as client:
            probe = self._path(folder, f".{uuid.uuid4().hex}.part")
            client.write_file(probe, BytesIO())
            client.delete(probe)

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """The file under its temp name, whose size the server has confirmed."""
        self._require_folder("")
        self._make_folder(folder)
        self.remove(folder, temp_name)
        path, expected = self._path(folder, temp_name), local.stat().st_size
        with local.open("rb") as source, self._use("write", folder, temp_name) as client:
            try:
                client.write_file(path, source)
            except ftplib.Error:
                with suppress(*FROM_OUTSIDE):
                    client.delete(path)
                raise
        found = self.stat(folder, temp_name)
        refuse_other_size(self, folder, temp_name, found.size if found else None, expected)

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None."""
        with self._use("look at", folder, name) as client:
            found = client.look_at(self._path(folder, name))
        if found is None:
            return None
        return Stat(found.size, partial(self._read, folder, name, found.size), _moment(found.modified))

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Rename the temp, after a look at the final name unless `replace`."""
        temp, final = self._path(folder, temp_name), self._path(folder, name)
        with self._use("publish", folder, name) as client:
            # Without a temp the rename is refused anyway. With one the list is not empty: before an empty one some
            # servers (pyftpdlib) hang up before TLS has begun, which looks like a cut.
            if not replace and client.look_at(temp) is not None and client.has_name(self._path(folder), name):
                raise file_exists(self, folder, name)
            try:
                client.rename(temp, final)
            except ftplib.error_perm as error:
                if reply_code(error) in NOT_SERVED:
                    raise cannot_rename(self) from None
                if client.look_at(temp) is not None and client.has_name(self._path(folder), name):
                    # Some servers' rename refuses.
                    taken = self._cannot_replace(error) if replace else file_exists(self, folder, name)
                    raise taken from None
                raise
            if replace:
                # Two names of one inode: rename(2) then does nothing, and leaves both.
                _delete(client, temp)

    def remove(self, folder: str, name: str) -> None:
        """Remove a file; one that is not there is fine."""
        with self._use("remove", folder, name) as client:
            _delete(client, self._path(folder, name))

    def close(self) -> None:
        """Take leave of the server, if there is a connection."""
        if self._connected is not None:
            with suppress(*FROM_OUTSIDE):
                self._connected.quit()
        self._drop()

    def _drop(self) -> None:
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    @contextmanager
    def _use(self, action: str, folder: str, name: str = "") -> Iterator[Client]:
        """A client that is connected; what goes wrong with it inside the block becomes an ExportError."""
        try:
            yield self._client()
        except FROM_OUTSIDE as error:
            if not isinstance(error, ftplib.error_perm):
                # Late answers to old commands may be on their way: the next use begins with a new connection.
                self._drop()
            # Not chained: the server's text may quote what was sent to it, and Prefect logs whole tracebacks.
            raise translate(error, self._login, f"{action} {self.address(folder, name)}") from None

    def _client(self) -> Client:
        if self._connected is None or not self._connected.is_alive:
            self._drop()
            self._connected = connect(self._login, self._timeouts)
        return self._connected

    def _path(self, folder: str, name: str = "") -> str:
        return posixpath.join(self._login.root, folder, name).rstrip("/") or "/"

    def _require_folder(self, folder: str) -> None:
        with self._use("use the folder", folder) as client:
            client.cwd(self._path(folder))

    def _make_folder(self, folder: str) -> None:
        made = ""
        for part in folder.split("/") if folder else ():
            made = posixpath.join(made, part)
            with self._use("make the folder", made) as client:
                if not client.is_folder(self._path(made)):
                    client.mkd(self._path(made))

    def _read(self, folder: str, name: str, size: int, sink: Sink) -> None:
        if size == 0:
            # Not read, for the same reason.
            return
        with self._use("read", folder, name) as client:
            try:
                read = client.read_file(self._path(folder, name), sink)
            except ftplib.error_perm as error:
                if not is_missing(error):
                    raise
                read = None
        if read != size:
            raise changed_meanwhile(self, folder, name)

    def _cannot_replace(self, error: ftplib.Error) -> ExportError:
        return ExportError(
            Code.TARGET_CANNOT_RENAME,
            f"{self.identity} does not replace a file in one step: {answer_of(error, self._login)}",
            "have it allowed, or give the files names of their own, with a date, and leave `file.conflict: fail`",
        )


def _delete(client: Client, path: str) -> None:
    """Delete a file, unless there is none."""
    try:
        client.delete(path)
    except ftplib.error_perm:
        if client.look_at(path) is not None:
            raise


def _moment(modified: str) -> str:
    """A server's `YYYYMMDDHHMMSS[.sss]`, as in ISO 8601."""
    try:
        return datetime.strptime(modified[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC).isoformat(timespec="seconds")
    except ValueError:
        return "an unknown time"
