"""Every publisher there is, each opened on a folder of this machine, and what their tests put on them."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from debian_ftp_servers import PROFTPD, VSFTPD
from ftp_server import Kind
from sftp_server import OpenSsh, SftpServer

from tasks.publish import Publisher
from tasks.publish.contract import temp_name
from tasks.publish.local import LocalPublisher

CONTENT = b"id\n1\n" * 100_000
NAME, TEMP = "orders.csv", temp_name("orders.csv", "w1", "u1")

#: A publisher on a folder below the test's own.
Opener = Callable[[Path], Publisher]


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


def debian_ftp_folders(program: Path) -> Callable[[pytest.FixtureRequest], Opener]:
    def folders(request: pytest.FixtureRequest) -> Opener:
        opener: Opener = request.getfixturevalue("debian_ftp_servers")(program).publisher
        return opener

    return folders


#: Every publisher; another protocol's goes here.
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
}
#: On servers that `make test-servers` installs.
OPENERS_ON_SERVERS = {
    "ftps of ProFTPD": debian_ftp_folders(PROFTPD),
    "ftps of vsftpd": debian_ftp_folders(VSFTPD),
}
#: Whose servers show no link that leads nowhere, by any question.
BLIND_TO_LINKS = {"ftps of ProFTPD"}


@pytest.fixture(
    params=[
        *(pytest.param(opener, id=name) for name, opener in OPENERS.items()),
        *(pytest.param(opener, id=name, marks=pytest.mark.servers) for name, opener in OPENERS_ON_SERVERS.items()),
    ]
)
def opener(request: pytest.FixtureRequest) -> Opener:
    """Opens publishers of one protocol."""
    found: Opener = request.param(request)
    return found


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    """The target's folder, as this machine sees it."""
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def publisher(opener: Opener, drop: Path) -> Iterator[Publisher]:
    """A publisher on an empty target."""
    with closing(opener(drop)) as opened:
        yield opened


@pytest.fixture
def spool_file(tmp_path: Path) -> Path:
    """What is to be dropped."""
    path = tmp_path / "spool_file"
    path.touch(mode=0o600)
    path.write_bytes(CONTENT)
    return path


def content(publisher: Publisher, folder: str, name: str) -> tuple[int, str] | None:
    """Size and digest of what stands under the name."""
    found = publisher.stat(folder, name)
    return (found.size, found.sha256()) if found else None


def of(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def files_in(folder: Path) -> dict[str, bytes]:
    """Everything below the folder, hidden files too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
