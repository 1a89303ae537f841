"""What went wrong with an HTTP connection, found below the layers of libraries that wrapped it.

Their own texts quote whole addresses, and some of those hold a signature that lets anybody in.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from catalog.errors import Code


def connection_failure(error: BaseException) -> tuple[Code, str]:
    """The code and what happened, in words that hold nothing of what was sent."""
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return Code.CERTIFICATE_INVALID, f"its certificate is refused: {cause.verify_message}"
    for cause in chain:
        if isinstance(cause, socket.gaierror):
            return Code.TARGET_UNREACHABLE, f"its name is not known: {cause.strerror}"
        if isinstance(cause, TimeoutError) or "timeout" in type(cause).__name__.lower():
            return Code.TARGET_UNREACHABLE, "no answer in time"
        if isinstance(cause, OSError) and cause.errno is not None and cause.strerror:
            return Code.TARGET_UNREACHABLE, cause.strerror
    return Code.TARGET_UNREACHABLE, "the connection was lost"


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error and everything that it was made of, the outermost first."""
    waiting, seen = [error], set()
    while waiting:
        found = waiting.pop(0)
        if id(found) in seen:
            continue
        seen.add(id(found))
        yield found
        # botocore keeps the cause in `kwargs`, urllib3 in `reason`, azure-core in `inner_exception`.
        kept = getattr(found, "kwargs", None)
        inner = [found.__cause__, found.__context__, getattr(found, "reason", None)]
        inner += [getattr(found, "inner_exception", None), *found.args]
        inner += kept.values() if isinstance(kept, dict) else []
        waiting += [each for each in inner if isinstance(each, BaseException)]
