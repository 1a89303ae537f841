"""Every write that outlives a process, counted; and its death before the one of a chosen number.

What counts: renames, links, removals, new folders, files opened for writing, flushes (as Python's audit events and by
wrapping what has none), every commit of the ledger, every request that changes something on an SFTP or FTP
server. Whatever the code writes is counted, known to a test or not.
"""

from __future__ import annotations

import ftplib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import paramiko
from paramiko.sftp import CMD_EXTENDED, CMD_MKDIR, CMD_OPEN, CMD_REMOVE, CMD_RENAME, CMD_WRITE
from sqlalchemy import Connection, Engine, event

from tasks.publish import no_clobber
from tasks.publish.ftp_client import Client

_PATHS = {"os.link": 1, "os.rename": 1, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.chmod": 0}
_REQUESTS = {
    CMD_OPEN: "open",
    CMD_WRITE: "write",
    CMD_REMOVE: "remove",
    CMD_RENAME: "rename",
    CMD_MKDIR: "mkdir",
    CMD_EXTENDED: "ask for",
}
_COMMANDS = {"STOR": "open", "DELE": "remove", "RNTO": "rename", "MKD": "mkdir"}
_FOR_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_lives: list[Life] = []


class Life:
    """One process's life: `writes` is what it has written, `end` is how it dies, before the write number `dies_at`.

    `meanwhile` is what others do after each write, as a consumer who takes the file at once; `tell` hears of each. A
    dead process writes nothing any more: when `end` raises, every later write of its clean-up ends it again.
    """

    def __init__(
        self,
        below: Path,
        dies_at: int | None,
        end: Callable[[], None],
        meanwhile: Callable[[], None] = lambda: None,
        tell: Callable[[str], None] = lambda _write: None,
    ) -> None:
        self.writes: list[str] = []
        self.dead = False
        self._below, self._dies_at, self._end = str(below), dies_at, end
        self._meanwhile, self._tell = meanwhile, tell

    def __enter__(self) -> Life:
        _watch_once()
        _lives.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _lives.remove(self)

    def before(self, action: str, path: str) -> None:
        """It is about to write, on this machine below the folder of this life, or elsewhere."""
        if path.startswith("/") and not path.startswith(self._below):
            return
        # The others are no part of this life.
        _lives.remove(self)
        try:
            self._meanwhile()
        finally:
            _lives.append(self)
        if not self.dead and len(self.writes) == self._dies_at:
            self.dead = True
        if self.dead:
            self._end()
        self.writes.append(f"{action} {Path(path).name}")
        self._tell(self.writes[-1])


def _about_to(action: str, path: Any) -> None:
    for life in _lives:
        life.before(action, os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else "/")


def _audited(name: str, arguments: tuple[Any, ...]) -> None:
    if not _lives:
        return
    if name in _PATHS:
        path = os.fsdecode(arguments[_PATHS[name]])
        if name in ("os.remove", "os.rmdir") and arguments[1] >= 0:
            # A whole folder is removed by names within it.
            path = f"{_path_of(arguments[1])}/{path}"
        _about_to(name.removeprefix("os."), path)
    elif name == "open" and isinstance(arguments[2], int) and arguments[2] & _FOR_WRITING:
        _about_to("open", arguments[0])


def _committing(connection: Connection) -> None:
    _about_to("commit", connection.engine.url.database or "/")


def _path_of(handle: int) -> str:
    return str(Path(f"/proc/self/fd/{handle}").readlink())


def _watch_once() -> None:
    """An audit hook cannot be taken away again: it stays, and has nothing to do while nobody lives."""
    if getattr(no_clobber._rename, "counted", False):
        return
    sys.addaudithook(_audited)
    event.listen(Engine, "commit", _committing)
    rename, fsync = no_clobber._rename, os.fsync

    def counted_rename(source: Path, target: Path) -> None:
        _about_to("rename", target)
        rename(source, target)

    def counted_fsync(handle: int) -> None:
        _about_to("fsync", _path_of(handle) if _lives else "/")
        fsync(handle)

    send = paramiko.SFTPClient._async_request

    def counted_request(client: Any, owner: Any, kind: int, *arguments: Any) -> Any:
        if kind in _REQUESTS:
            names = [os.fsdecode(found) for found in arguments if isinstance(found, str | bytes)]
            what = {CMD_WRITE: "a block", CMD_EXTENDED: names[0]}.get(kind, names[-1])
            _about_to(_REQUESTS[kind], what.rpartition("/")[2])
        return send(client, owner, kind, *arguments)

    say, write_file = ftplib.FTP.putcmd, Client.write_file

    def counted_command(client: Any, line: str) -> None:
        command, _, path = line.partition(" ")
        if command in _COMMANDS:
            _about_to(_COMMANDS[command], path.rpartition("/")[2])
        say(client, line)

    def counted_file(client: Client, path: str, source: BinaryIO) -> None:
        write_file(client, path, _Counted(source))  # type: ignore[arg-type]

    paramiko.SFTPClient._async_request = counted_request
    ftplib.FTP.putcmd, Client.write_file = counted_command, counted_file
    counted_rename.counted = True  # type: ignore[attr-defined]
    no_clobber._rename, os.fsync = counted_rename, counted_fsync


class _Counted:
    """What is read of a file is sent next."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source

    def read(self, size: int) -> bytes:
        block = self._source.read(size)
        if block:
            _about_to("write", "a block")
        return block
