"""A spool file's bytes go to the disk while more are written; what the disk says of them is never lost."""

import errno
import hashlib
import os
from pathlib import Path

import pytest

from tasks.hashed_file import create

PIECE = os.urandom(1 << 20)
PIECES = 200


def test_the_bytes_and_their_digest_are_those_that_were_written(tmp_path: Path) -> None:
    path = tmp_path / "1"
    with create(path) as file:
        for _ in range(PIECES):
            file.write(PIECE)
    held = path.read_bytes()
    assert (file.size, file.digest.hexdigest()) == (len(held), hashlib.sha256(held).hexdigest())
    assert held == PIECE * PIECES
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_early_failure_of_the_disk_is_told_though_the_last_flush_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Linux tells of a failed write to the first fsync after it, and to no other.
    flush, flushed = os.fsync, []

    def failing_once(handle: int) -> None:
        flushed.append(handle)
        if len(flushed) == 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        flush(handle)

    monkeypatch.setattr(os, "fsync", failing_once)
    with pytest.raises(OSError, match="Input/output error"), create(tmp_path / "1") as file:
        for _ in range(PIECES):
            file.write(PIECE)


def test_an_existing_file_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "1"
    path.write_text("another's")
    with pytest.raises(FileExistsError), create(path):
        pass
    assert path.read_text() == "another's"
