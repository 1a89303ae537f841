"""Real SFTP servers on free loopback ports: asyncssh's, which a test can spoil, and OpenSSH's where it is installed."""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from prefect_server import free_port

from tasks.publish.sftp import SftpPublisher
from tasks.publish.sftp_login import read_login
from tasks.publish.timeouts import Timeouts

SSHD = Path("/usr/sbin/sshd")
#: Short, so that a test of a server that is silent does not take long, and enough for a machine that is busy.
TIMEOUTS = Timeouts(connect=10, login=10, answer=4)
USER, PASSWORD, PASSPHRASE = "drop", "pa@s:s/word", "open sesame"


class Keys:
    """A user's key, plain and encrypted, and the `known_hosts` file that the client goes by."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.user = asyncssh.generate_private_key("ssh-ed25519")
        self.plain, self.encrypted = folder / "key", folder / "encrypted_key"
        self.authorized, self.known_hosts = folder / "authorized_keys", folder / "known_hosts"
        self.user.write_private_key(self.plain)
        self.user.write_private_key(self.encrypted, passphrase=PASSPHRASE, rounds=1, ignore_few_rounds=True)
        self.user.write_public_key(self.authorized)
        for path in (self.plain, self.encrypted):
            path.chmod(0o600)

    def know(self, port: int, *keys: asyncssh.SSHKey) -> None:
        """Only these host keys are known, for a server on that port."""
        lines = [f"[127.0.0.1]:{port} {key.export_public_key().decode().strip()}\n" for key in keys]
        self.known_hosts.write_text("".join(lines))


class SftpServer:
    """asyncssh's server in a thread, confined to one folder; its weaknesses can be set while it runs."""

    def __init__(self, root: Path, keys: Keys) -> None:
        self.root, self.keys = root, keys
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.more_host_keys: list[asyncssh.SSHKey] = []
        self.port = 0
        #: It has no room for more than so many bytes of a file.
        self.room: int | None = None
        self.is_read_only = False
        #: It does not know these requests: `rename`, `posix_rename`.
        self.without: set[str] = set()
        #: It forgets the last byte of every file, and says that all went well.
        self.is_forgetful = False
        #: Called in the server's thread, before a rename is done, and after it, before its answer is sent.
        self.on_rename: Callable[[], object] = lambda: None
        self.on_renamed: Callable[[], object] = lambda: None
        self.logins: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._listener: asyncssh.SSHAcceptor | None = None
        self._connections: list[asyncssh.SSHServerConnection] = []
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    @property
    def host_keys(self) -> list[asyncssh.SSHKey]:
        """All keys it has; of each kind one."""
        return [self.host_key, *self.more_host_keys]

    def start(self) -> None:
        """Listen; again on the same port."""
        self._wait(self._listen())
        self.keys.know(self.port, self.host_key)

    def stop(self) -> None:
        """Close the port, and cut every connection."""
        self._wait(self._close())

    def restart(self) -> None:
        """All connections are gone, and new ones are taken."""
        self.stop()
        self.start()

    def change_host_key(self) -> None:
        """Another key from now on, of which the client knows nothing."""
        self.stop()
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self._wait(self._listen())

    def end(self) -> None:
        """Stop for good."""
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def url(self, path: Path, user: str = USER) -> str:
        """A folder of the machine, as the server's."""
        return f"sftp://{user}@127.0.0.1:{self.port}/{path.relative_to(self.root)}"

    def publisher(self, path: Path, port: int | None = None, **options: Any) -> SftpPublisher:
        """A publisher on that folder, with the user's key unless other options are given; `port` is a proxy's."""
        url = self.url(path)
        if port is not None:
            url = url.replace(f":{self.port}/", f":{port}/")
            self.keys.know(port, self.host_key)
        how = options or {"key_filename": str(self.keys.plain)}
        return opened(url, {"known_hosts": str(self.keys.known_hosts), **how})

    def _wait(self, coroutine: Any) -> None:
        future: Future[None] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        future.result(timeout=30)

    async def _listen(self) -> None:
        self._listener = await asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_host_keys=self.host_keys,
            server_factory=lambda: _Doorkeeper(self),
            sftp_factory=lambda channel: _Weak(self, channel),
            reuse_address=True,
        )
        self.port = self._listener.get_port()

    async def _close(self) -> None:
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        for connection in self._connections:
            connection.abort()
        self._connections.clear()


class _Doorkeeper(asyncssh.SSHServer):
    def __init__(self, server: SftpServer) -> None:
        self._server = server

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server._connections.append(conn)

    def password_auth_supported(self) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return self._let_in("password", (username, password) == (USER, PASSWORD))

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        known = self._server.keys.user.public_data
        return self._let_in("key", username == USER and key.public_data == known)

    def _let_in(self, how: str, is_right: bool) -> bool:
        self._server.logins.append(how if is_right else f"wrong {how}")
        return is_right


class _Weak(asyncssh.SFTPServer):
    def __init__(self, server: SftpServer, channel: Any) -> None:
        super().__init__(channel, chroot=str(server.root).encode())
        self._weakness = server

    def open(self, path: bytes, pflags: int, attrs: Any) -> object:
        if self._weakness.is_read_only and pflags & asyncssh.FXF_WRITE:
            raise asyncssh.SFTPPermissionDenied("Permission denied")
        return super().open(path, pflags, attrs)

    def write(self, file_obj: Any, offset: int, data: bytes) -> Any:
        room = self._weakness.room
        if room is not None and offset + len(data) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().write(file_obj, offset, data)

    def close(self, file_obj: Any) -> Any:
        if self._weakness.is_forgetful and file_obj.writable():
            file_obj.flush()
            file_obj.truncate(os.fstat(file_obj.fileno()).st_size - 1)
        return super().close(file_obj)

    def rename(self, oldpath: bytes, newpath: bytes) -> Any:
        self._refuse_unknown("rename")
        self._weakness.on_rename()
        result = super().rename(oldpath, newpath)
        self._weakness.on_renamed()
        return result

    def posix_rename(self, oldpath: bytes, newpath: bytes) -> Any:
        self._refuse_unknown("posix_rename")
        result = super().posix_rename(oldpath, newpath)
        self._weakness.on_renamed()
        return result

    def _refuse_unknown(self, request: str) -> None:
        if request in self._weakness.without:
            raise asyncssh.SFTPOpUnsupported("Unsupported request")


class OpenSsh:
    """OpenSSH's server, as the user who runs the tests; it is not confined."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.keys, self.port = keys, free_port()
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        host_key.write_private_key(folder / "host_key")
        (folder / "host_key").chmod(0o600)
        settings = {
            "Port": self.port,
            "ListenAddress": "127.0.0.1",
            "HostKey": folder / "host_key",
            "AuthorizedKeysFile": keys.authorized,
            "PidFile": "none",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "Subsystem": "sftp internal-sftp",
        }
        (folder / "config").write_text("".join(f"{key} {value}\n" for key, value in settings.items()))
        keys.know(self.port, host_key)
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        command = [SSHD, "-D", "-e", "-f", folder / "config"]
        self._process = subprocess.Popen(command, stderr=(folder / "log").open("wb"))
        self._wait_for_port()

    def publisher(self, path: Path) -> SftpPublisher:
        """A publisher on that folder."""
        user = pwd.getpwuid(os.getuid()).pw_name
        options = {"known_hosts": str(self.keys.known_hosts), "key_filename": str(self.keys.plain)}
        return opened(f"sftp://{user}@127.0.0.1:{self.port}{path}", options)

    def end(self) -> None:
        """Stop for good."""
        self._process.terminate()
        self._process.wait()

    def _wait_for_port(self) -> None:
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None and time.monotonic() < deadline, "sshd does not start"
                time.sleep(0.02)


def opened(url: str, options: dict[str, Any]) -> SftpPublisher:
    """A publisher as a target's URL and options describe it, that does not wait long."""
    return SftpPublisher(read_login("partner", url, options), TIMEOUTS)


@pytest.fixture
def ssh_keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path / "keys")


@pytest.fixture
def sftp_server(tmp_path: Path, ssh_keys: Keys) -> Iterator[SftpServer]:
    """A server on the test's own folder."""
    server = SftpServer(tmp_path, ssh_keys)
    server.start()
    yield server
    server.end()


@pytest.fixture
def openssh(tmp_path: Path, ssh_keys: Keys) -> Iterator[OpenSsh]:
    if not SSHD.exists():
        if os.environ.get("CI"):
            pytest.fail("OpenSSH's server is needed here")
        pytest.skip("OpenSSH's server is not installed")
    folder = tmp_path / "sshd"
    folder.mkdir()
    server = OpenSsh(folder, ssh_keys)
    yield server
    server.end()
    shutil.rmtree(folder)
