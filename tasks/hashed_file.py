"""A file of the spool while it is written: what its bytes are, and on their way to the disk long before the end."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

#: After so many bytes the disk is asked to take them: little is left to wait for at the end.
_FLUSH_BYTES = 64 << 20


class HashedFile:
    """Knows the digest and size of what was written; it cannot go back, so formats must not seek."""

    def __init__(self, file: BinaryIO, disk: ThreadPoolExecutor) -> None:
        self._file, self._disk = file, disk
        self._flushing: Future[None] | None = None
        self._flushed = 0
        self.digest = hashlib.sha256()
        self.size = 0
        self.closed = False

    def write(self, data: bytes) -> int:
        """Add bytes. Raises OSError, also for earlier bytes that the disk did not take."""
        self.digest.update(data)
        written = self._file.write(data)
        self.size += written
        if self.size - self._flushed >= _FLUSH_BYTES and (self._flushing is None or self._flushing.done()):
            self._flush_meanwhile()
        return written

    def settle(self) -> None:
        """Wait until every byte is on the disk. Raises OSError."""
        self._hear()
        self._file.flush()
        os.fsync(self._file.fileno())

    def _flush_meanwhile(self) -> None:
        self._hear()
        self._file.flush()
        self._flushed = self.size
        self._flushing = self._disk.submit(os.fsync, self._file.fileno())

    def _hear(self) -> None:
        # The system tells of a failed write once: what the other thread was told must not be lost with it.
        if self._flushing is not None:
            self._flushing.result()

    def tell(self) -> int:
        """How many bytes were written."""
        return self.size

    def flush(self) -> None:
        """Hand what Python holds to the system."""
        self._file.flush()

    def writable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """No."""
        return False

    def seekable(self) -> bool:
        """No: the digest follows the order of the bytes."""
        return False

    def close(self) -> None:
        """Nothing: whoever opened the file closes it."""


@contextmanager
def create(path: Path) -> Iterator[HashedFile]:
    """A new file that only its owner reads; every byte is on the disk when this is left without an error.

    Raises OSError, FileExistsError among them.
    """
    with (
        os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        ThreadPoolExecutor(1, "flush") as disk,
    ):
        written = HashedFile(file, disk)
        yield written
        written.settle()
