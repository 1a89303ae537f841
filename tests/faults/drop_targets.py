"""Where the files of a proof are dropped: over each protocol, into a folder of this machine that a consumer empties."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

from sftp_process import serving
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
        served = stack.enter_context(serving(drop, workshop.folder / "keys"))
        workshop.target("drop", served.url, options=served.options)


TARGETS: dict[str, Callable[[], DropTarget]] = {"local": LocalFolder, "sftp": SftpFolder}
