"""A server in a process of its own, since it has threads and a proof forks: prints how to reach it, ends with stdin."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
Protocol = Literal["sftp", "ftps"]


@dataclass(frozen=True, slots=True)
class Served:
    """A folder of this machine behind a server: the URL of that root, and the options a target needs."""

    url: str
    options: dict[str, str]


@contextmanager
def serving(protocol: Protocol, root: Path, keys: Path) -> Iterator[Served]:
    """A server on that folder for as long as the block runs; `keys` is a folder for its keys, which is made."""
    command = [sys.executable, __file__, protocol, str(root), str(keys)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        try:
            yield Served(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()
            process.wait(30)


def serve_sftp(root: Path, keys: Path) -> None:
    """Serve until stdin is closed."""
    from sftp_server import Keys, SftpServer

    server = SftpServer(root, Keys(keys))
    server.start()
    _tell(server.url(root), {"known_hosts": str(keys / "known_hosts"), "key_filename": str(keys / "key")})
    server.end()


def serve_ftps(root: Path, keys: Path) -> None:
    """Serve until stdin is closed."""
    from ftp_server import Authority, FtpServer

    server = FtpServer(root, Authority(keys))
    server.start()
    _tell(server.url(root), {"ca_file": str(server.authority.trusted)})
    server.stop()


def _tell(url: str, options: dict[str, str]) -> None:
    print(json.dumps({"url": url, "options": options}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    {"sftp": serve_sftp, "ftps": serve_ftps}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
