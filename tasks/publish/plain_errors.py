"""What any of fsspec's file systems raises, as errors of ours: by HTTP status, errno, or the name of its class.

Its text is never shown: nobody knows which of them quote an address, a header or a token.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
from contextlib import suppress
from http import HTTPStatus

from catalog.errors import Code, ExportError
from tasks.publish.connection_failures import causes, connection_failure
from tasks.publish.no_room import says_full

_BY_STATUS: dict[int, Code] = {
    401: Code.TARGET_AUTH,
    407: Code.TARGET_AUTH,
    408: Code.TARGET_UNREACHABLE,
    413: Code.TARGET_FULL,
    423: Code.TARGET_UNREACHABLE,
    425: Code.TARGET_UNREACHABLE,
    429: Code.TARGET_UNREACHABLE,
    499: Code.TARGET_UNREACHABLE,
    507: Code.TARGET_FULL,
}
_BY_ERRNO: dict[int, Code] = {
    errno.ENOSPC: Code.TARGET_FULL,
    errno.EDQUOT: Code.TARGET_FULL,
    **dict.fromkeys((errno.ENOENT, errno.EACCES, errno.EPERM, errno.EROFS), Code.TARGET_DENIED),
    **dict.fromkeys((errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY), Code.TARGET_DENIED),
}
_BY_NAME: tuple[tuple[re.Pattern[str], Code], ...] = (
    (re.compile("insufficientstorage|diskfull|quota|nospace", re.IGNORECASE), Code.TARGET_FULL),
    (re.compile("auth|logon|credential|refresherror|passwordexpired", re.IGNORECASE), Code.TARGET_AUTH),
    (re.compile("forbidden|denied|permission|notfound|badnetworkname", re.IGNORECASE), Code.TARGET_DENIED),
    (re.compile("conflict|alreadyexists|fileexists|isadirectory|notadirectory", re.IGNORECASE), Code.TARGET_DENIED),
    (re.compile("notimplemented", re.IGNORECASE), Code.TARGET_DENIED),
)
_HINTS: dict[Code, str] = {
    Code.TARGET_AUTH: "see the target's options and its secrets",
    Code.TARGET_DENIED: "see that {root} is there and that this user may write and rename in it, then relaunch",
    Code.TARGET_FULL: "make room on the target, then relaunch",
    Code.TARGET_UNREACHABLE: "see that the server answers and that this machine may reach it",
    Code.CERTIFICATE_INVALID: "ask its owner for a valid certificate, or have the worker trust their authority",
}


def translate(error: Exception, identity: str, action: str) -> ExportError:
    """One failure while doing `action` ("write webdav://...") on the target of that identity."""
    code, text = _found(error)
    return ExportError(code, f"cannot {action}: {text}", _HINTS[code].format(root=identity))


def _found(error: Exception) -> tuple[Code, str]:
    chain = list(causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in chain):
        return connection_failure(error)
    for cause in chain:
        if (status := _status(cause)) is not None:
            code = Code.TARGET_FULL if status >= 500 and _says_full(cause) else _by_status(status)
            return code, f"the server answers {status} {_phrase(status)}".rstrip()
        number = cause.errno if isinstance(cause, OSError) else None
        if number in _BY_ERRNO:
            return _BY_ERRNO[number], os.strerror(number)
        for words, code in _BY_NAME:
            if words.search(type(cause).__name__):
                return code, type(cause).__name__
    code, text = connection_failure(error)
    return code, f"{text} ({type(error).__name__})"


def _status(error: BaseException) -> int | None:
    """The HTTP status that it stands for, wherever its library keeps it."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            value = getattr(holder, name, None)
            if isinstance(value, int) and 400 <= value < 600:
                return value
    return None


def _says_full(error: BaseException) -> bool:
    """Whether the body of an answer tells of a full disk, as servers do that have no status for it."""
    text = None
    # One that was not read yet raises.
    with suppress(Exception):
        text = getattr(getattr(error, "response", None), "text", None)
    return isinstance(text, str) and says_full(text)


def _by_status(status: int) -> Code:
    return _BY_STATUS.get(status, Code.TARGET_UNREACHABLE if status >= 500 else Code.TARGET_DENIED)


def _phrase(status: int) -> str:
    return HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
