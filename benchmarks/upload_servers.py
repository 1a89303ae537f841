"""The servers that files are uploaded to, on loopback, and how the best plain client of each is called."""

from __future__ import annotations

import os
import pwd
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from debian_ftp_servers import PROFTPD, VSFTPD, DebianServer
from ftp_server import PASSWORD, USER, Authority, FtpServer
from s3_server import BUCKET, KEY, SECRET, SeaweedFs
from sftp_server import SSHD, Keys, OpenSsh

Command = list[str | Path]
#: A client that is installed uploads under another name and renames, where it can: as much as is asked of ours.
_TEMP = ".upload.part"


@dataclass(frozen=True, slots=True)
class Server:
    """One server, the target it is for us, its best plain client, and how to see and remove what was uploaded."""

    name: str
    url: str
    options: dict[str, Any]
    client: str
    command: Callable[[Path, str], Command]
    size: Callable[[str], int]
    remove: Callable[[str], object]
    environment: dict[str, str] = field(default_factory=dict)


@contextmanager
def openssh(folder: Path) -> Iterator[Server | None]:
    """OpenSSH's, and its own `sftp`."""
    if not SSHD.exists() or not shutil.which("sftp"):
        yield None
        return
    keys, drop, settings = Keys(folder / "keys"), _made(folder / "drop"), _made(folder / "sshd")
    server = OpenSsh(settings, keys)
    user = pwd.getpwuid(os.getuid()).pw_name
    batch = folder / "batch"

    def command(file: Path, name: str) -> Command:
        batch.write_text(f"put {file} {drop / _TEMP}\nrename {drop / _TEMP} {drop / name}\n")
        known = ["-o", f"UserKnownHostsFile={keys.known_hosts}", "-o", "IdentitiesOnly=yes"]
        return ["sftp", "-q", "-b", batch, "-i", keys.plain, *known, "-P", str(server.port), f"{user}@127.0.0.1"]

    options = {"known_hosts": str(keys.known_hosts), "key_filename": str(keys.plain)}
    url = f"sftp://{user}@127.0.0.1:{server.port}{drop}"
    yield Server("SFTP of OpenSSH", url, options, "sftp", command, *_in_folder(drop))
    server.end()


@contextmanager
def ftps(folder: Path) -> Iterator[Server | None]:
    """A Debian server where `make test-servers` has installed one, else pyftpdlib's; and `curl`."""
    if not shutil.which("curl"):
        yield None
        return
    authority, drop = Authority(folder / "keys"), _made(folder / "drop")
    program = next((found for found in (VSFTPD, PROFTPD) if found.exists() and os.getuid() == 0), None)
    server: DebianServer | FtpServer
    if program is not None:
        server = DebianServer(program, folder, _made(folder / "server"), authority)
    else:
        server = FtpServer(folder, authority)
        server.start()
    where = f"127.0.0.1:{server.port}/drop"

    def command(file: Path, name: str) -> Command:
        renamed = ["-Q", f"-RNFR {_TEMP}", "-Q", f"-RNTO {name}"]
        login = ["--ssl-reqd", "--cacert", authority.trusted, "-u", f"{USER}:{PASSWORD}"]
        return ["curl", "-sS", *login, *renamed, "-T", file, f"ftp://{where}/{_TEMP}"]

    options = {"password": PASSWORD, "ca_file": str(authority.trusted)}
    name = f"FTPS of {program.name if program else 'pyftpdlib'}"
    yield Server(name, f"ftps://{USER}@{where}", options, "curl", command, *_in_folder(drop))
    server.end() if isinstance(server, DebianServer) else server.stop()


@contextmanager
def seaweedfs(folder: Path) -> Iterator[Server | None]:
    """SeaweedFS, and `rclone`."""
    if not shutil.which("rclone"):
        yield None
        return
    server = SeaweedFs(_made(folder / "weed"), volumes=200)
    place = server.place()
    drop = f"{BUCKET}/{place.folder}/drop"

    def command(file: Path, name: str) -> Command:
        return ["rclone", "--config", folder / "none", "copyto", "--s3-no-check-bucket", file, f":s3:{drop}/{name}"]

    login = {"ACCESS_KEY_ID": KEY, "SECRET_ACCESS_KEY": SECRET, "ENDPOINT": place.endpoint(), "PROVIDER": "Other"}
    # A bundle for other servers, which this one has no use for, stops rclone.
    environment = {"AWS_CA_BUNDLE": "", **{f"RCLONE_S3_{key}": value for key, value in login.items()}}
    options = {"key": KEY, "secret": SECRET, "endpoint_url": place.endpoint()}
    sizes: Callable[[str], int] = lambda name: place.sizes()[name]  # noqa: E731
    yield Server("S3 of SeaweedFS", place.url(), options, "rclone", command, sizes, place.take, environment)
    server.end()


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _in_folder(drop: Path) -> tuple[Callable[[str], int], Callable[[str], object]]:
    return lambda name: (drop / name).stat().st_size, lambda name: (drop / name).unlink()


SERVERS = {"sftp": openssh, "ftps": ftps, "s3": seaweedfs}
