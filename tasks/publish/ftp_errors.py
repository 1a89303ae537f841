"""What an FTP server, TLS or the network says, as errors of ours: one table."""

from __future__ import annotations

import ftplib
import ssl

from catalog.errors import Code, ExportError
from tasks.publish.ftp_client import DataConnectionError, UnknownSizeError, reply_code
from tasks.publish.ftp_login import Login
from tasks.publish.no_room import says_full

#: Replies that mean something else than their first digit does: 4 try again, 5 refused.
_BY_REPLY: dict[int, Code] = {
    430: Code.TARGET_AUTH,
    530: Code.TARGET_AUTH,
    532: Code.TARGET_AUTH,
    452: Code.TARGET_FULL,
    552: Code.TARGET_FULL,
    522: Code.CERTIFICATE_INVALID,
    533: Code.CERTIFICATE_INVALID,
    534: Code.CERTIFICATE_INVALID,
    536: Code.CERTIFICATE_INVALID,
}
_LONGEST = 300

_HINTS: dict[Code, str] = {
    Code.TARGET_AUTH: "see user name and password of the target and its secrets",
    Code.TARGET_DENIED: "see that {root} is there and that {user} may write and rename in it, then relaunch",
    Code.TARGET_FULL: "make room on the target, then relaunch",
    Code.TARGET_UNREACHABLE: "see that the server runs, and that this machine may reach it and its passive data ports",
    Code.TARGET_UNSUPPORTED: "no upload can be checked there: have MLST or SIZE allowed, or choose another target",
    Code.CERTIFICATE_INVALID: "use the host name of the certificate, and in ca_file the authority that signed it; "
    "an expired one is its owner's to renew",
}

#: Everything that can come out of a use of the client and is about the other side.
FROM_OUTSIDE = (ftplib.Error, EOFError, OSError)


def translate(error: Exception, login: Login, action: str, *, code: Code | None = None) -> ExportError:
    """One failure while doing `action` ("write ftps://..."), with the server's answer; `code` when it is known."""
    code = code or _code(error)
    hint = _HINTS[code].format(root=login.root, user=login.username)
    return ExportError(code, f"cannot {action}: {answer_of(error, login)}", hint)


def answer_of(error: Exception, login: Login) -> str:
    """What was said, in one line and without secrets."""
    return login.without_secrets(" ".join(_text(error).split()))[:_LONGEST]


def _code(error: Exception) -> Code:
    if isinstance(error, ssl.SSLCertVerificationError):
        return Code.CERTIFICATE_INVALID
    if isinstance(error, UnknownSizeError):
        return Code.TARGET_UNSUPPORTED
    reply = reply_code(error)
    if reply is None or reply < 400:
        return Code.TARGET_UNREACHABLE
    if says_full(str(error)):
        return Code.TARGET_FULL
    return _BY_REPLY.get(reply, Code.TARGET_DENIED if reply >= 500 else Code.TARGET_UNREACHABLE)


def _text(error: Exception) -> str:
    if isinstance(error, ftplib.Error | DataConnectionError):
        return str(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not valid: {error.verify_message}"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "the connection was lost"
    if isinstance(error, ssl.SSLError):
        return f"TLS fails ({(error.reason or 'no reason given').replace('_', ' ').lower()})"
    return getattr(error, "strerror", None) or type(error).__name__
