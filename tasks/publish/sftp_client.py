"""What paramiko's SFTP client lacks: the status numbers, two extensions of OpenSSH, and whole files in a pipeline.

paramiko's own pipelined file does not look at the answers to the last writes, nor at the one to close; its prefetch
leaves a thread behind when the connection is cut.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any, BinaryIO

import paramiko
from paramiko.message import Message
from paramiko.sftp import (
    CMD_CLOSE,
    CMD_DATA,
    CMD_EXTENDED,
    CMD_HANDLE,
    CMD_OPEN,
    CMD_READ,
    CMD_STATUS,
    CMD_WRITE,
    SFTP_FLAG_CREATE,
    SFTP_FLAG_EXCL,
    SFTP_FLAG_READ,
    SFTP_FLAG_WRITE,
    int64,
)

#: In bytes; every server takes 32 KiB in one request, and with what stands around it this is one packet, not two.
BLOCK = 31 * 1024
#: How many requests may be on their way.
_ON_THEIR_WAY = 64


class Status(IntEnum):
    """SSH_FX numbers that say something of their own; version 3 has the first nine only."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8
    NO_SPACE = 14
    QUOTA_EXCEEDED = 15


_ERRNO: dict[int, int] = {Status.NO_SUCH_FILE: errno.ENOENT, Status.PERMISSION_DENIED: errno.EACCES}


class StatusError(OSError):
    """The server refused a request: `status` is its SSH_FX number, `text` its own words."""

    def __init__(self, status: int, text: str) -> None:
        # paramiko itself asks for the errno.
        super().__init__(_ERRNO.get(status), text)
        self.status = status
        self.text = text or f"SFTP status {status}"


class Client(paramiko.SFTPClient):
    """paramiko's client, whose refusals are StatusError."""

    def write_file(self, path: str, source: BinaryIO) -> None:
        """A new file with all bytes of `source`, on the server's disk where it can say so."""
        with self._opened(path, SFTP_FLAG_WRITE | SFTP_FLAG_CREATE | SFTP_FLAG_EXCL) as handle:
            answers = _Pipeline(self)
            offset = 0
            while block := source.read(BLOCK):
                if answers.are_many:
                    answers.next(CMD_STATUS)
                answers.ask(CMD_WRITE, handle, int64(offset), block)
                offset += len(block)
            while answers.are_awaited:
                answers.next(CMD_STATUS)
            self._flush(handle)

    def read_file(self, path: str, size: int) -> Iterator[bytes]:
        """The first `size` bytes of a file, in blocks. Raises StatusError when it is shorter."""
        with self._opened(path, SFTP_FLAG_READ) as handle:
            answers = _Pipeline(self)
            for offset in range(0, size, BLOCK):
                if answers.are_many:
                    yield answers.next(CMD_DATA).get_binary()
                answers.ask(CMD_READ, handle, int64(offset), min(BLOCK, size - offset))
            while answers.are_awaited:
                yield answers.next(CMD_DATA).get_binary()

    def free_bytes(self, path: str) -> int | None:
        """What the file system of `path` has left for this user, or None when the server does not tell."""
        try:
            _, answer = self._request(CMD_EXTENDED, "statvfs@openssh.com", path)
        except StatusError:
            return None
        _size, fragment, _blocks, _free, available = (answer.get_int64() for _ in range(5))
        return fragment * available

    def _request(self, kind: int, *arguments: Any) -> tuple[int, Message]:
        # Said here because paramiko's stubs leave it out.
        answer: tuple[int, Message] = super()._request(kind, *arguments)  # type: ignore[misc]
        return answer

    @contextmanager
    def _opened(self, path: str, flags: int) -> Iterator[bytes]:
        kind, answer = self._request(CMD_OPEN, path, flags, paramiko.SFTPAttributes())
        _expect(CMD_HANDLE, kind)
        handle: bytes = answer.get_binary()
        try:
            yield handle
        except StatusError:
            # After any other error there is no connection to close it over.
            self._request(CMD_CLOSE, handle)
            raise
        self._request(CMD_CLOSE, handle)

    def _flush(self, handle: bytes) -> None:
        try:
            self._request(CMD_EXTENDED, "fsync@openssh.com", handle)
        except StatusError as error:
            if error.status != Status.OP_UNSUPPORTED:
                raise

    def _convert_status(self, msg: Message) -> None:
        # paramiko's own loses the number, and with it the difference between "refused" and "not known here".
        status, text = msg.get_int(), msg.get_text()
        if status != Status.OK:
            raise StatusError(status, text)


class _Pipeline:
    """Requests that do not wait for each other; their answers come in the order in which they were asked."""

    def __init__(self, client: Client) -> None:
        self._client: Any = client
        self._asked: deque[int] = deque()
        self._answers: dict[int, tuple[int, Message]] = {}

    @property
    def are_awaited(self) -> bool:
        return bool(self._asked)

    @property
    def are_many(self) -> bool:
        return len(self._asked) >= _ON_THEIR_WAY

    def ask(self, kind: int, *arguments: Any) -> None:
        self._asked.append(self._client._async_request(self, kind, *arguments))

    def next(self, expected: int) -> Message:
        number = self._asked.popleft()
        while number not in self._answers:
            self._client._read_response()
        kind, answer = self._answers.pop(number)
        if kind == CMD_STATUS:
            self._client._convert_status(answer)
        _expect(expected, kind)
        return answer

    def _async_response(self, kind: int, answer: Message, number: int) -> None:
        # By this paramiko hands over what is for this object.
        self._answers[number] = (kind, answer)


def _expect(expected: int, kind: int) -> None:
    if kind != expected:
        raise paramiko.SFTPError(f"the server answered with a packet of kind {kind} in place of {expected}")
