"""What an SFTP server, paramiko or the network says, as errors of ours: one table."""

from __future__ import annotations

import re

import paramiko

from catalog.errors import Code, ExportError
from tasks.publish.no_room import says_full
from tasks.publish.sftp_client import Status, StatusError
from tasks.publish.sftp_login import Login

_BY_STATUS: dict[int, Code] = {
    Status.NO_CONNECTION: Code.TARGET_UNREACHABLE,
    Status.CONNECTION_LOST: Code.TARGET_UNREACHABLE,
    Status.NO_SPACE: Code.TARGET_FULL,
    Status.QUOTA_EXCEEDED: Code.TARGET_FULL,
}
#: What paramiko calls a failed authentication, and is none.
_CUT_OFF = re.compile(r"timeout|timed out|transport shut down|EOF", re.IGNORECASE)
_NOTHING_TO_LOG_IN_WITH = "No authentication methods available"

_HINTS: dict[Code, str] = {
    Code.TARGET_AUTH: "see user name, password, key_filename and passphrase of the target and its secrets",
    Code.TARGET_DENIED: "see that {root} is there and that {user} may write and rename in it, then relaunch",
    Code.TARGET_FULL: "make room on the target, then relaunch",
    Code.TARGET_UNREACHABLE: "see that the server runs and that this machine may reach it",
}

#: Everything that can come out of a use of paramiko and is about the other side.
FROM_OUTSIDE = (paramiko.SSHException, paramiko.SFTPError, EOFError, OSError)


def translate(error: Exception, login: Login, action: str, *, full: bool = False) -> ExportError:
    """One failure while doing `action` ("write sftp://..."); `full` when the server is known to have no room left."""
    code = Code.TARGET_FULL if full else _code(error)
    text = login.without_secrets(_text(error))
    hint = _HINTS[code].format(root=login.root, user=login.username)
    return ExportError(code, f"cannot {action}: {text}", hint)


def _code(error: Exception) -> Code:
    if isinstance(error, StatusError):
        if says_full(error.text):
            return Code.TARGET_FULL
        return _BY_STATUS.get(error.status, Code.TARGET_DENIED)
    if isinstance(error, paramiko.AuthenticationException):
        return Code.TARGET_UNREACHABLE if _CUT_OFF.search(str(error)) else Code.TARGET_AUTH
    return Code.TARGET_AUTH if _NOTHING_TO_LOG_IN_WITH in str(error) else Code.TARGET_UNREACHABLE


def _text(error: Exception) -> str:
    if isinstance(error, StatusError):
        return error.text
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, EOFError):
        return "the connection was lost"
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
