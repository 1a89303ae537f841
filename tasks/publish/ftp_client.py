"""What ftplib lacks: data connections in the control connection's TLS session, whole files, and what stands there.

ftplib's own FTP_TLS begins a new TLS session for each data connection, which servers refuse by default; takes a data
connection that was cut for the end of the file; and does not ask the server why it ended an upload.
"""

from __future__ import annotations

import ftplib
import posixpath
import re
import selectors
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import BinaryIO

from tasks.publish.timeouts import Timeouts

_BLOCK = 64 * 1024
_KEEPALIVE_SECONDS = 30
#: Replies to commands that a server does not have.
NOT_SERVED = (500, 502, 504)
_DENIED = re.compile(r"denied|permission|not allowed|forbidden|privilege", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands under a path: its size in bytes, and since when (`YYYYMMDDHHMMSS` in UTC), if that is known."""

    size: int
    modified: str


class Client(ftplib.FTP):
    """One control connection, protected when there is a TLS context; every path is absolute, every transfer binary.

    Its methods raise ftplib.Error for what the server refuses, OSError and EOFError when the connection is lost.
    """

    def __init__(self, timeouts: Timeouts, context: ssl.SSLContext | None) -> None:
        super().__init__(timeout=timeouts.connect, encoding="utf-8")
        self._timeouts = timeouts
        self._context = context
        self._features: set[str] = set()

    def open(self, host: str, port: int, *, implicit: bool) -> None:
        """Connect, protected from the first byte or, by `protect`, later."""
        self.host, self.port = host, port
        wire = socket.create_connection((host, port), self._timeouts.connect)
        self._speak_over(wire)
        _keep_alive(wire)
        wire.settimeout(self._timeouts.login)
        self.af = wire.family
        if implicit:
            self._speak_over(self._protected(wire))
        self.welcome = self.getresp()

    def protect(self) -> None:
        """Go on in TLS."""
        self.voidcmd("AUTH TLS")
        assert self.sock is not None, "it is open"
        self._speak_over(self._protected(self.sock))

    def protect_data(self) -> None:
        """Have every data connection in TLS."""
        self.voidcmd("PBSZ 0")
        self.voidcmd("PROT P")

    def settle(self) -> None:
        """After the login: what the server can, UTF-8, binary transfers, and the patience for its answers."""
        with suppress(ftplib.error_perm):
            lines = self.sendcmd("FEAT").splitlines()[1:-1]
            self._features = {line.removeprefix("211-").split()[0].upper() for line in lines if line.strip()}
        if "UTF8" in self._features:
            # Some have it always on, and refuse to be asked.
            with suppress(ftplib.error_perm):
                self.sendcmd("OPTS UTF8 ON")
        self.voidcmd("TYPE I")
        assert self.sock is not None, "it is open"
        self.sock.settimeout(self._timeouts.answer)

    @property
    def is_alive(self) -> bool:
        """Whether it has not been seen to be dead: a server that says something unasked has given it up."""
        if self.sock is None:
            return False
        with selectors.DefaultSelector() as selector:
            selector.register(self.sock, selectors.EVENT_READ)
            return not selector.select(0)

    def look_at(self, path: str) -> Found | None:
        """What stands there, or None."""
        try:
            facts = self._facts(path) if "MLST" in self._features else {}
            size = facts.get("size", "")
            if not size.isdecimal():
                size = self._size(path)
        except ftplib.error_perm as error:
            if is_missing(error):
                return None
            raise
        modified = facts.get("modify", "")
        if not facts:
            with suppress(ftplib.error_perm):
                modified = self._number("MDTM", path)
        return Found(int(size), modified)

    def has_name(self, folder: str, name: str) -> bool:
        """Whether something has that name, also what is no file: a link that leads nowhere, or a folder."""
        # The list has links and folders too, where MLST and SIZE may not; asking by RNFR makes ProFTPD wait for RNTO.
        return self.look_at(posixpath.join(folder, name)) is not None or name in self._names(folder)

    def is_folder(self, path: str) -> bool:
        """Whether the folder is there and may be entered."""
        try:
            self.voidcmd(f"CWD {path}")
        except ftplib.error_perm as error:
            if is_missing(error):
                return False
            raise
        return True

    def write_file(self, path: str, source: BinaryIO) -> None:
        """A file with all bytes of `source`, which the server says are all there."""
        with self._transfer(f"STOR {path}") as wire:
            while block := source.read(_BLOCK):
                wire.sendall(block)

    def read_file(self, path: str, take: Callable[[bytes], object]) -> int:
        """Give every byte of a file to `take`, in blocks, and say how many they were."""
        size = 0
        with self._transfer(f"RETR {path}") as wire:
            while block := wire.recv(_BLOCK):
                take(block)
                size += len(block)
        return size

    def _facts(self, path: str) -> dict[str, str]:
        lines = self.sendcmd(f"MLST {path}").splitlines()
        if len(lines) < 3:
            raise ftplib.error_proto("the answer to MLST has no facts")
        pairs = (fact.partition("=") for fact in lines[1].strip().split(" ")[0].split(";"))
        return {key.lower(): value for key, _, value in pairs if key}

    def _size(self, path: str) -> str:
        try:
            return self._number("SIZE", path)
        except ftplib.error_perm as error:
            if reply_code(error) in NOT_SERVED:
                raise UnknownSizeError(str(error)) from None
            raise

    def _number(self, command: str, path: str) -> str:
        answer = self.sendcmd(f"{command} {path}")
        found = re.fullmatch(r"213 +(\d+)(\.\d+)?\s*", answer)
        if found is None:
            raise ftplib.error_proto(f"the answer to {command} is no number")
        return found[1]

    def _names(self, folder: str) -> set[str]:
        self.voidcmd(f"CWD {folder}")
        data = bytearray()
        try:
            with self._transfer("NLST") as wire:
                while block := wire.recv(_BLOCK):
                    data += block
        except (ftplib.error_perm, ftplib.error_temp) as error:
            # How some servers say that there are none, and others that lists are not for everybody.
            if reply_code(error) in (450, 550):
                return set()
            raise
        return {line.rpartition("/")[2] for line in data.decode(errors="replace").splitlines()}

    @contextmanager
    def _transfer(self, command: str) -> Iterator[socket.socket]:
        """The data connection of one transfer; when the block has ended, the server has said that it is complete."""
        assert self.sock is not None, "it is open"
        # PASV names a host too, which ftplib does not go by: it may be another one, or one behind a router.
        host, port = self.makepasv()
        try:
            wire = socket.create_connection((host, port), self._timeouts.connect)
        except OSError as error:
            raise DataConnectionError(f"no data connection to {host}, port {port}: {error.strerror or error}") from None
        try:
            answer = self.sendcmd(command)
            if not answer.startswith("1"):
                raise ftplib.error_proto(f"the answer to {command.split()[0]} is no beginning: {answer}")
            try:
                wire.settimeout(self._timeouts.answer)
                wire = self._protected(wire, session=getattr(self.sock, "session", None))
                yield wire
                wire.settimeout(self._timeouts.end)
                _end(wire)
            except OSError as error:
                wire.close()
                self._ask_why(error)
                raise
        finally:
            wire.close()
        self.sock.settimeout(self._timeouts.end)
        self.voidresp()
        self.sock.settimeout(self._timeouts.answer)

    def _ask_why(self, error: OSError) -> None:
        """Raises what the server has against the transfer whose data connection was lost, if it says so."""
        if isinstance(error, TimeoutError | ssl.SSLCertVerificationError):
            # One that is silent there is not waited for here too; and what it says of our distrust tells nothing.
            return
        with suppress(OSError, EOFError):
            self.voidresp()

    def _protected(self, wire: socket.socket, session: ssl.SSLSession | None = None) -> socket.socket:
        if self._context is None:
            return wire
        # An end that TLS does not announce may be somebody's cut, and is an error here.
        return self._context.wrap_socket(wire, server_hostname=self.host, session=session, suppress_ragged_eofs=False)

    def _speak_over(self, wire: socket.socket) -> None:
        self.sock = wire
        # A server's own words may be in any encoding; what matters in them are the digits.
        self.file = wire.makefile("r", encoding=self.encoding, errors="replace")


class UnknownSizeError(ftplib.error_perm):
    """The server cannot tell how long a file is: it has neither MLST nor SIZE."""


class DataConnectionError(OSError):
    """The server's data port cannot be reached; its text says which."""

    def __str__(self) -> str:
        return str(self.args[0])


def reply_code(error: Exception) -> int | None:
    """The three digits that a server's answer begins with, or None when this is none."""
    found = re.match(r"\d{3}\b", str(error)) if isinstance(error, ftplib.Error) else None
    return int(found[0]) if found else None


def is_missing(error: ftplib.Error) -> bool:
    """Whether a refusal means that nothing is there; FTP has one code for that and for a lack of rights."""
    return reply_code(error) == 550 and not _DENIED.search(str(error))


def _end(wire: socket.socket) -> None:
    """Say in TLS that this was all, and hear the same."""
    if isinstance(wire, ssl.SSLSocket):
        try:
            wire.unwrap()
        except TimeoutError:
            raise
        except OSError:
            # Many servers only close theirs. What counts is the answer that follows, and the size.
            return


def _keep_alive(wire: socket.socket) -> None:
    # During a long transfer nothing passes on the control connection, and routers forget it.
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_SECONDS)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_SECONDS)
