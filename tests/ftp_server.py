"""Real FTP servers on free loopback ports: pyftpdlib's, which a test can spoil."""

from __future__ import annotations

import errno
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pytest
import trustme
from OpenSSL import SSL
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.filesystems import AbstractedFS
from pyftpdlib.handlers import DTPHandler, FTPHandler, TLS_DTPHandler, TLS_FTPHandler
from pyftpdlib.ioloop import IOLoop
from pyftpdlib.servers import FTPServer
from tcp_proxy import TcpProxy

from tasks.publish.ftp import FtpPublisher
from tasks.publish.ftp_login import read_login
from tasks.publish.timeouts import Timeouts

# Each command is a line of its log.
logging.getLogger("pyftpdlib").setLevel(logging.ERROR)
Kind = Literal["explicit", "implicit", "plain"]
#: Short, so that a test of a server that is silent does not take long, and enough for a machine that is busy.
TIMEOUTS = Timeouts(connect=10, login=10, answer=4, end=15)
USER, PASSWORD = "drop", "pa@s:s/word"


class Authority:
    """Whose certificates the client trusts, by the file `trusted`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._ca = folder, trustme.CA()
        self.trusted = folder / "ca.pem"
        self._ca.cert_pem.write_to_path(str(self.trusted))

    def certificate(self, host: str = "127.0.0.1", not_after: datetime | None = None) -> Path:
        """A certificate for that host, with its key."""
        path = self._folder / f"server_{host}.pem"
        issued = self._ca.issue_cert(host, not_after=not_after, key_type=trustme.KeyType.ECDSA)
        issued.private_key_and_cert_chain_pem.write_to_path(str(path))
        return path


class FtpServer:
    """pyftpdlib's server in a thread, confined to one folder; its weaknesses can be set while it runs."""

    def __init__(self, root: Path, authority: Authority, kind: Kind = "explicit") -> None:
        self.root, self.authority, self.kind = root, authority, kind
        self.port = 0
        self.certificate = authority.certificate()
        #: It refuses data connections that do not go on in the control connection's TLS session, as servers do.
        self.demands_session = True
        #: For each data connection in TLS, whether it did; and how many were not in TLS.
        self.sessions: list[bool] = []
        self.unprotected = 0
        #: It has no room for more than so many bytes of a file.
        self.room: int | None = None
        self.is_read_only = False
        #: Its rename refuses a name that is taken.
        self.keeps_files = False
        #: It forgets the last byte of every file, and says that all went well.
        self.is_forgetful = False
        #: It ends data connections without saying so in TLS, after so many bytes.
        self.cuts_after: int | None = None
        #: Called in the server's thread, before a rename is done, and after it, before its answer is sent.
        self.on_rename: Callable[[], object] = lambda: None
        self.on_renamed: Callable[[], object] = lambda: None
        #: Why it could not write last.
        self.reason: str | None = None
        #: What it says in place of what it would have said.
        self.says: Callable[[str], str] = lambda answer: answer
        #: Every command, and whether it was sent in TLS.
        self.heard: list[tuple[str, bool]] = []
        #: Data connections go through this one too.
        self.proxy: TcpProxy | None = None
        self._handler = self._make_handler()
        self._is_over = threading.Event()
        self._thread: threading.Thread | None = None

    def lacks(self, *commands: str) -> None:
        """It does not know these commands."""
        known = self._handler.proto_cmds
        self._handler.proto_cmds = {name: what for name, what in known.items() if name not in commands}

    def speaks(self, encoding: str) -> None:
        """Its words, and the names it hears, are in that encoding."""
        self._handler.encoding = encoding

    def start(self) -> None:
        """Listen; again on the same port."""
        loop = IOLoop()
        if self.kind != "plain":
            self._handler.certfile = self._handler.keyfile = str(self.certificate)
            self._handler.ssl_context = None
        server = FTPServer(("127.0.0.1", self.port), self._handler, ioloop=loop)
        self.port = server.address[1]
        self._is_over.clear()
        self._thread = threading.Thread(target=self._serve, args=(loop,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port, and every connection."""
        self._is_over.set()
        if self._thread is not None:
            self._thread.join()

    def restart(self) -> None:
        """All connections are gone, and new ones are taken."""
        self.stop()
        self.start()

    def url(self, path: Path, port: int | None = None) -> str:
        """A folder of the machine, as the server's."""
        protocol = "ftp" if self.kind == "plain" else "ftps"
        return f"{protocol}://{USER}@127.0.0.1:{port or self.port}/{path.relative_to(self.root)}"

    @property
    def options(self) -> dict[str, Any]:
        """What a target of this server needs besides the password."""
        if self.kind == "plain":
            return {"allow_plain": True}
        return {"ca_file": str(self.authority.trusted), "implicit": self.kind == "implicit"}

    def publisher(self, path: Path, port: int | None = None, **options: Any) -> FtpPublisher:
        """A publisher on that folder, unless other options are given; `port` is a proxy's."""
        return opened(self.url(path, port), {"password": PASSWORD, **self.options, **options})

    def _serve(self, loop: IOLoop) -> None:
        while not self._is_over.is_set():
            loop.loop(0.05, blocking=False)
        loop.close()

    def _make_handler(self) -> Any:
        authorizer = DummyAuthorizer()
        authorizer.add_user(USER, PASSWORD, str(self.root), perm="elradfmwMT")
        base = {"explicit": _Explicit, "implicit": _Implicit, "plain": _Plain}[self.kind]
        settings = {"authorizer": authorizer, "weakness": self, "auth_failed_timeout": 0}
        return type("Handler", (base,), {**settings, "abstracted_fs": _Folder})


class _Folder(AbstractedFS):
    """The folder, with the server's weaknesses."""

    def open(self, filename: str, mode: str) -> Any:
        weakness: FtpServer = self.cmd_channel.weakness
        if weakness.is_read_only and mode != "rb":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return _File(filename, mode, weakness)

    def rename(self, src: str, dst: str) -> None:
        weakness: FtpServer = self.cmd_channel.weakness
        weakness.on_rename()
        if weakness.keeps_files and os.path.lexists(dst):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        super().rename(src, dst)
        weakness.on_renamed()


class _File:
    def __init__(self, path: str, mode: str, weakness: FtpServer) -> None:
        # Without a buffer: pyftpdlib does not expect that closing a file fails.
        self._file = Path(path).open(mode, buffering=0)  # noqa: SIM115
        self._weakness = weakness
        self._forgets = weakness.is_forgetful and mode != "rb"

    def write(self, data: bytes) -> None:
        room = self._weakness.room
        try:
            if room is not None and self._file.tell() + len(data) > room:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            while data:
                data = data[self._file.write(data) :]
        except OSError as error:
            self._weakness.reason = error.strerror
            raise

    def close(self) -> None:
        if self._forgets and not self._file.closed:
            self._file.truncate(max(0, self._file.tell() - 1))
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Spoilt:
    """What is the same in every kind of control connection."""

    weakness: FtpServer

    def respond(self, resp: str, *arguments: Any, **keys: Any) -> None:
        # pyftpdlib itself loses the reason.
        resp = self.weakness.says(resp.replace("426 None", f"426 {self.weakness.reason}"))
        proxy = self.weakness.proxy
        if proxy is not None and resp.startswith("227"):
            *host, high, low = re.findall(r"\d+", resp[4:])
            port = proxy.listen(int(high) * 256 + int(low))
            resp = f"227 Entering passive mode ({','.join(host)},{port // 256},{port % 256})."
        super().respond(resp, *arguments, **keys)  # type: ignore[misc]

    def process_command(self, cmd: str, *arguments: Any, **keys: Any) -> None:
        self.weakness.heard.append((cmd, isinstance(self.socket, SSL.Connection)))  # type: ignore[attr-defined]
        super().process_command(cmd, *arguments, **keys)  # type: ignore[misc]


class _PlainData(DTPHandler):
    def __init__(self, sock: Any, cmd_channel: Any) -> None:
        cmd_channel.weakness.unprotected += 1
        super().__init__(sock, cmd_channel)


class _TlsData(TLS_DTPHandler):
    # Its own, for TLS, closes the file that cannot be written and answers nothing.
    handle_error = DTPHandler.handle_error

    def __init__(self, sock: Any, cmd_channel: Any) -> None:
        super().__init__(sock, cmd_channel)
        self._weakness: FtpServer = cmd_channel.weakness
        self._weakness.unprotected += not cmd_channel._prot

    def handle_ssl_established(self) -> None:
        is_same = SSL._lib.SSL_session_reused(self.socket._ssl) == 1
        self._weakness.sessions.append(is_same)
        if self._weakness.demands_session and not is_same:
            self.cmd_channel.respond("522 SSL connection failed: session reuse required.")
            self.close()

    def send(self, data: bytes) -> int:
        limit = self._weakness.cuts_after
        if limit is None:
            return int(super().send(data))
        sent = int(super().send(data[:limit]))
        self.socket.sock_shutdown(2)
        return sent


class _Plain(_Spoilt, FTPHandler):
    dtp_handler = _PlainData


class _Explicit(_Spoilt, TLS_FTPHandler):
    tls_control_required = tls_data_required = True
    dtp_handler = _TlsData


class _Implicit(_Explicit):
    def __init__(self, *arguments: Any, **keys: Any) -> None:
        super().__init__(*arguments, **keys)
        self.secure_connection(self.ssl_context)


def opened(url: str, options: dict[str, Any]) -> FtpPublisher:
    """A publisher as a target's URL and options describe it, that does not wait long."""
    return FtpPublisher(read_login("partner", url, options), TIMEOUTS)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority") / "ca")


@pytest.fixture
def ftp_servers(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., FtpServer]]:
    """Makes servers on the test's own folder, ended with the test."""
    made: list[FtpServer] = []

    def make(kind: Kind = "explicit") -> FtpServer:
        made.append(FtpServer(tmp_path, authority, kind))
        made[-1].start()
        return made[-1]

    yield make
    for server in made:
        server.stop()
