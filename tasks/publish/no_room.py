"""A full disk, in the words of a server whose protocol has no number for it."""

from __future__ import annotations

import re

_FULL = re.compile(
    r"no space|quota|disk (is )?full|not enough space|insufficient (disk )?space"
    # vsftpd's, for every file that it cannot go on writing.
    r"|failure writing to local file",
    re.IGNORECASE,
)


def says_full(text: str) -> bool:
    """Whether a server's own words for a failure mean that it has no room left."""
    return _FULL.search(text) is not None
