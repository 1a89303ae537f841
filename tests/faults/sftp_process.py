"""An SFTP server in a process of its own, since it has threads and a proof forks: prints its port, ends with stdin."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


@dataclass(frozen=True, slots=True)
class Served:
    """A folder of this machine behind SFTP: the URL of that root, and the options a target needs."""

    url: str
    options: dict[str, str]


@contextmanager
def serving(root: Path, keys: Path) -> Iterator[Served]:
    """A server on that folder for as long as the block runs; `keys` is a folder for its keys, which is made."""
    command = [sys.executable, __file__, str(root), str(keys)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        port = int(process.stdout.readline())
        try:
            options = {"known_hosts": str(keys / "known_hosts"), "key_filename": str(keys / "key")}
            yield Served(f"sftp://drop@127.0.0.1:{port}/", options)
        finally:
            process.stdin.close()
            process.wait(30)


def main(root: Path, keys: Path) -> None:
    """Serve until stdin is closed."""
    from sftp_server import Keys, SftpServer

    server = SftpServer(root, Keys(keys))
    server.start()
    print(server.port, flush=True)
    sys.stdin.read()
    server.end()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
