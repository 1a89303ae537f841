"""How a run dies that drops its file in a local folder: at a byte of the copy, or before one of its writes."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from mortal import Life

from tasks.publish import local

_BLOCK = 4096


def die() -> None:
    """kill -9."""
    os.kill(os.getpid(), signal.SIGKILL)


def copy_instead_of_linking(dies_at: int | None = None) -> None:
    """From now on the spool is on another disk, and this process dies when so many bytes are copied."""

    def refused(source: object, target: object) -> None:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def copied(source: BinaryIO, sink: BinaryIO, _length: int) -> None:
        done = 0
        while block := source.read(_BLOCK if dies_at is None else min(_BLOCK, dies_at - done)):
            sink.write(block)
            sink.flush()
            done += len(block)
            if done == dies_at:
                die()

    os.link = refused  # type: ignore[assignment]
    local.shutil.copyfileobj = copied  # type: ignore[assignment]


def die_before_write(folder: Path, number: int) -> None:
    """From now on every write below the folder is counted, and this process dies before that one."""
    Life(folder, number, die).__enter__()


def tell_writes(folder: Path, tell: Callable[[str], None]) -> None:
    """From now on every write below the folder is told."""
    Life(folder, None, die, tell=tell).__enter__()
