"""Where the files of a proof are dropped: over each protocol, into a folder of this machine that a consumer empties."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from ftp_server import PASSWORD
from server_process import serving
from workshop import Workshop


class DropTarget(Protocol):
    """One protocol."""

    def serve(self, workshop: Workshop, drop: Path, stack: ExitStack) -> None:
        """Make the catalog's target `drop` lead into the folder; what serves it ends with the stack."""


class LocalFolder:
    """The folder itself."""

    def serve(self, workshop: Workshop, drop: Path, stack: ExitStack) -> None:
        """Nothing has to run."""
        workshop.target("drop", str(drop))


class SftpFolder:
    """The folder behind an SFTP server."""

    def serve(self, workshop: Workshop, drop: Path, stack: ExitStack) -> None:
        """The server runs in a process of its own."""
        served = stack.enter_context(serving("sftp", drop, workshop.folder / "keys"))
        workshop.target("drop", served.url, options=served.options)


class FtpsFolder:
    """The folder behind an FTPS server."""

    def serve(self, workshop: Workshop, drop: Path, stack: ExitStack) -> None:
        """The server runs in a process of its own."""
        served = stack.enter_context(serving("ftps", drop, workshop.folder / "keys"))
        os.environ["DROP_PASSWORD"] = PASSWORD
        workshop.target("drop", served.url, options={**served.options, "password": "{{ $DROP_PASSWORD }}"})


TARGETS: dict[str, Callable[[], DropTarget]] = {"local": LocalFolder, "sftp": SftpFolder, "ftps": FtpsFolder}
