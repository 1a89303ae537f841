"""The targets of each protocol as others than their publisher see them, each behind a proxy of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from tcp_proxy import TcpProxy


class Place(Protocol):
    """One target that is empty at first."""

    def sizes(self) -> dict[str, int]:
        """Every file that a consumer sees, by name."""

    def read(self, name: str) -> bytes:
        """What is in it."""

    def take(self, name: str) -> bytes:
        """As a consumer does; it is gone then."""

    def left(self) -> list[str]:
        """What no consumer sees: temp files, open uploads, blocks that wait."""

    def clear(self) -> None:
        """Remove all of it."""


class Folder:
    """A folder of this machine, whoever serves it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def sizes(self) -> dict[str, int]:
        return {path.name: path.stat().st_size for path in self._folder.iterdir() if path.name[0] != "."}

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def take(self, name: str) -> bytes:
        # Out of reach at once, whoever is still writing.
        return (self._folder / name).rename(self._folder.parent / "taken").read_bytes()

    def left(self) -> list[str]:
        return [path.name for path in self._folder.rglob("*") if path.name[0] == "." or path.is_dir()]

    def clear(self) -> None:
        for path in self._folder.iterdir():
            path.unlink()


@dataclass(frozen=True, slots=True)
class Target:
    """A place, how it is reached through the proxy, and how often it is looked at: that costs more in some."""

    place: Place
    url: str
    options: dict[str, Any]
    proxy: TcpProxy | None
    pause_seconds: float


@contextmanager
def _file(folder: Path) -> Iterator[Target]:
    yield Target(Folder(folder / "drop"), str(folder / "drop"), {}, None, 0.001)


@contextmanager
def _sftp(folder: Path) -> Iterator[Target]:
    from sftp_server import Keys, SftpServer

    keys = Keys(folder / "keys")
    server = SftpServer(folder, keys)
    server.start()
    proxy = TcpProxy(server.port)
    keys.know(proxy.port, server.host_key)
    url = server.url(folder / "drop").replace(f":{server.port}/", f":{proxy.port}/")
    options = {"known_hosts": str(keys.known_hosts), "key_filename": str(keys.plain)}
    yield Target(Folder(folder / "drop"), url, options, proxy, 0.001)
    proxy.end()
    server.end()


@contextmanager
def _ftps(folder: Path) -> Iterator[Target]:
    from ftp_server import PASSWORD, Authority, FtpServer

    server = FtpServer(folder, Authority(folder / "keys"))
    server.start()
    server.proxy = TcpProxy(server.port)
    url = server.url(folder / "drop", server.proxy.port)
    options = {**server.options, "password": PASSWORD}
    yield Target(Folder(folder / "drop"), url, options, server.proxy, 0.001)
    server.proxy.end()
    server.stop()


@contextmanager
def _s3(folder: Path) -> Iterator[Target]:
    from s3_server import KEY, SECRET, SeaweedFs

    with TemporaryDirectory(prefix="weed", ignore_cleanup_errors=True) as data:
        server = SeaweedFs(Path(data), volumes=400)
        place, proxy = server.place(), TcpProxy(server.port)
        options = {"key": KEY, "secret": SECRET, "endpoint_url": place.endpoint(proxy.port)}
        yield Target(place, place.url(), options, proxy, 0.02)
        proxy.end()
        server.end()


@contextmanager
def _abfs(folder: Path) -> Iterator[Target]:
    from azure_server import Azurite

    server = Azurite()
    place, proxy = server.place(), TcpProxy(server.port)
    options = {"connection_string": server.connection_string(proxy.port)}
    yield Target(place, place.url(), options, proxy, 0.02)
    proxy.end()
    server.end()


#: By protocol; the folder has one named `drop`.
TARGETS: dict[str, Callable[[Path], AbstractContextManager[Target]]] = {
    "file": _file,
    "sftp": _sftp,
    "ftps": _ftps,
    "s3": _s3,
    "abfs": _abfs,
}
