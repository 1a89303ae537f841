"""Where files cost no waiting for a disk."""

from __future__ import annotations

import shutil
from pathlib import Path

_MEMORY = Path("/dev/shm")
#: More than all that the tests of a whole session leave.
_ENOUGH_BYTES = 4 << 30


def memory() -> Path | None:
    """A folder in memory with room for all tests, or None where there is none; a container has only 64 MB as a rule."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free >= _ENOUGH_BYTES else None
