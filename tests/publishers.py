"""Every publisher there is, each on a place that can be looked at from outside, and what their tests put there."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Protocol

import pytest
from azure_server import Azurite
from debian_ftp_servers import PROFTPD, VSFTPD
from ftp_server import Kind
from s3_server import SeaweedFs
from sftp_server import OpenSsh, SftpServer

from tasks.publish import Publisher
from tasks.publish.contract import Promise, temp_name
from tasks.publish.local import LocalPublisher

CONTENT = b"id\n1\n" * 100_000
NAME, TEMP = "orders.csv", temp_name("orders.csv", "w1", "u1")

#: A publisher on a folder below the test's own.
Opener = Callable[[Path], Publisher]


class Place(Protocol):
    """A target of one test's own, empty at first, as others than its publisher see it."""

    promise: Promise

    def publisher(self, folder: str = "drop") -> Publisher:
        """A publisher on that folder of it."""

    def publisher_nowhere(self) -> Publisher:
        """A publisher on a place that nobody made, `unmounted` by name."""

    def files(self) -> dict[str, bytes]:
        """Everything that can be seen below the folder `drop`, hidden files too."""

    def write(self, name: str, data: bytes) -> None:
        """What another one writes there."""


class FolderPlace:
    """A folder of this machine."""

    def __init__(self, opener: Opener, folder: Path, promise: Promise = "exactly once") -> None:
        self.promise = promise
        self._opener, self._folder = opener, folder
        (folder / "drop").mkdir(exist_ok=True)

    def publisher(self, folder: str = "drop") -> Publisher:
        return self._opener(self._folder / folder)

    def publisher_nowhere(self) -> Publisher:
        return self._opener(self._folder / "unmounted")

    def files(self) -> dict[str, bytes]:
        assert not (self._folder / "unmounted").exists()
        return files_in(self._folder / "drop")

    def write(self, name: str, data: bytes) -> None:
        (self._folder / "drop" / name).write_bytes(data)


def local_folders(request: pytest.FixtureRequest) -> Opener:
    return LocalPublisher


def folders_without_links(request: pytest.FixtureRequest) -> Opener:
    # As FAT, and most network shares, answer.
    def refused(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    request.getfixturevalue("monkeypatch").setattr(os, "link", refused)
    return LocalPublisher


def folders_without_such_a_rename(request: pytest.FixtureRequest) -> Opener:
    # As on NFS, and on systems that have no rename to a free name.
    def refused(source: object, target: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    request.getfixturevalue("monkeypatch").setattr("tasks.publish.no_clobber._rename", refused)
    return LocalPublisher


def asyncssh_folders(request: pytest.FixtureRequest) -> Opener:
    server: SftpServer = request.getfixturevalue("sftp_server")
    return server.publisher


def openssh_folders(request: pytest.FixtureRequest) -> Opener:
    server: OpenSsh = request.getfixturevalue("openssh")
    return server.publisher


def ftp_folders(kind: Kind) -> Callable[[pytest.FixtureRequest], Opener]:
    def folders(request: pytest.FixtureRequest) -> Opener:
        opener: Opener = request.getfixturevalue("ftp_servers")(kind).publisher
        return opener

    return folders


def folders_of_an_old_ftp_server(request: pytest.FixtureRequest) -> Opener:
    server = request.getfixturevalue("ftp_servers")("explicit")
    server.lacks("MLST", "MLSD")
    opener: Opener = server.publisher
    return opener


def webdav_folders(request: pytest.FixtureRequest) -> Opener:
    opener: Opener = request.getfixturevalue("webdav_servers")().publisher
    return opener


def debian_ftp_folders(program: Path) -> Callable[[pytest.FixtureRequest], Opener]:
    def folders(request: pytest.FixtureRequest) -> Opener:
        opener: Opener = request.getfixturevalue("debian_ftp_servers")(program).publisher
        return opener

    return folders


def s3_bucket(request: pytest.FixtureRequest) -> Place:
    server: SeaweedFs = request.getfixturevalue("seaweedfs")
    return server.place()


def azure_container(request: pytest.FixtureRequest) -> Place:
    server: Azurite = request.getfixturevalue("azurite")
    return server.place()


#: Every publisher whose target is a folder somewhere.
OPENERS = {
    "local": local_folders,
    "local without links": folders_without_links,
    "local without a rename to a free name": folders_without_such_a_rename,
    "sftp of asyncssh": asyncssh_folders,
    "sftp of OpenSSH": openssh_folders,
    "ftps": ftp_folders("explicit"),
    "ftps, implicit": ftp_folders("implicit"),
    "ftps without MLST": folders_of_an_old_ftp_server,
    "ftp": ftp_folders("plain"),
    "webdav of WsgiDAV": webdav_folders,
}
#: On servers that `make test-servers` installs.
ON_SERVERS = {
    "ftps of ProFTPD": debian_ftp_folders(PROFTPD),
    "ftps of vsftpd": debian_ftp_folders(VSFTPD),
}
#: What they promise, where it is not `exactly once`.
PROMISES: dict[str, Promise] = {"webdav of WsgiDAV": "may ask"}
#: Whose servers show no link that leads nowhere, by any question.
BLIND_TO_LINKS = {"ftps of ProFTPD", "webdav of WsgiDAV"}


def folder_place(name: str) -> Callable[[pytest.FixtureRequest], Place]:
    opener, promise = {**OPENERS, **ON_SERVERS}[name], PROMISES.get(name, "exactly once")
    return lambda request: FolderPlace(opener(request), request.getfixturevalue("tmp_path"), promise)


#: Every publisher there is; another protocol's goes here, or above.
PLACES = [
    *(pytest.param(folder_place(name), id=name) for name in OPENERS),
    *(pytest.param(folder_place(name), id=name, marks=pytest.mark.servers) for name in ON_SERVERS),
    pytest.param(s3_bucket, id="s3 of SeaweedFS"),
    pytest.param(azure_container, id="abfs of Azurite", marks=pytest.mark.servers),
]


@pytest.fixture(
    params=[
        *(pytest.param(opener, id=name) for name, opener in OPENERS.items()),
        *(pytest.param(opener, id=name, marks=pytest.mark.servers) for name, opener in ON_SERVERS.items()),
    ]
)
def opener(request: pytest.FixtureRequest) -> Opener:
    """Opens publishers of one protocol on folders."""
    found: Opener = request.param(request)
    return found


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    """A target of one protocol."""
    found: Place = request.param(request)
    return found


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """The target's folder, as this machine sees it."""
    folder = tmp_path / "drop"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def publisher(place: Place) -> Iterator[Publisher]:
    """A publisher on an empty target of any protocol."""
    with closing(place.publisher()) as opened:
        yield opened


@pytest.fixture
def folder_publisher(opener: Opener, drop: Path) -> Iterator[Publisher]:
    """A publisher on an empty folder."""
    with closing(opener(drop)) as opened:
        yield opened


@pytest.fixture
def spool_file(tmp_path: Path) -> Path:
    """What is to be dropped."""
    path = tmp_path / "spool_file"
    path.touch(mode=0o600)
    path.write_bytes(CONTENT)
    return path


def uploaded(publisher: Publisher, path: Path, folder: str = "", name: str = NAME, upload: str = "u1") -> str:
    """Upload a file that is to have the name; returns its temp name."""
    temp = publisher.begin(folder, name, temp_name(name, "w1", upload))
    publisher.put(path, folder, temp)
    return temp


def content(publisher: Publisher, folder: str, name: str) -> tuple[int, str] | None:
    """Size and digest of what stands under the name."""
    found = publisher.stat(folder, name)
    return (found.size, found.sha256()) if found else None


def of(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    """Everything below the folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
