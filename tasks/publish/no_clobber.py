"""A rename that never takes the place of another file: one step, where the system has such a call."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

#: The call, what stands before each path in its arguments, and its flag "only to a name that is free".
_CALL, _BEFORE_PATH, _FREE_NAME = {
    "linux": ("renameat2", (ctypes.c_int(-100),), ctypes.c_uint(1)),
    "darwin": ("renamex_np", (), ctypes.c_uint(4)),
}.get(sys.platform, ("", (), ctypes.c_uint(0)))
_LIBRARY = ctypes.CDLL(None, use_errno=True)
#: What a system, or one of its file systems, answers that has no such call.
_NOT_SERVED = {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}


def rename_to_free_name(source: Path, target: Path) -> None:
    """Rename within one file system. Raises FileExistsError when `target` is there, and OSError.

    Never by a link and an unlink: when the process dies between the two and a consumer takes the file meanwhile, the
    source stands there as if nothing had been published. Where the call is missing, a look comes before the rename,
    and a file that appears between them is replaced.
    """
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno not in _NOT_SERVED:
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from None
        source.rename(target)


def _rename(source: Path, target: Path) -> None:
    call = getattr(_LIBRARY, _CALL, None)
    if call is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    paths = [ctypes.c_char_p(os.fsencode(path)) for path in (source, target)]
    if call(*_BEFORE_PATH, paths[0], *_BEFORE_PATH, paths[1], _FREE_NAME) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(source), None, str(target))
