"""A target tried step by step, with a tiny file: whether a run could deliver there, and where it would fail."""

from __future__ import annotations

import hashlib
import socket
import tempfile
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Code, ExportError
from tasks.publish.connection_failures import causes
from tasks.publish.contract import Publisher, temp_name

#: What is tried, in this order; of a folder of this machine only what is about files.
_SERVER_STEPS = ("resolve", "connect", "authenticate")
_FILE_STEPS = ("write", "rename", "read back", "delete")
#: Which step a code stands for, whatever was being done; None when the target's own YAML lets no step begin.
_STEP_OF_CODE: dict[Code, str | None] = {
    Code.TARGET_AUTH: "authenticate",
    Code.HOST_KEY_MISMATCH: "host key",
    Code.CERTIFICATE_INVALID: "certificate",
    Code.TARGET_CANNOT_RENAME: "rename",
    **dict.fromkeys((Code.DEFINITION_INVALID, Code.DRIVER_MISSING, Code.SECRET_MISSING, Code.TARGET_UNSUPPORTED)),
}
_CONTENT = b"Written by `exports check --connect`, which deletes it at once.\n"


@dataclass(frozen=True, slots=True)
class Trial:
    """The steps of a target, and what ended them: an error, and in which step, or None when all went well."""

    steps: tuple[str, ...]
    error: ExportError | None = None
    failed_step: str | None = None


def probe(publisher: Publisher) -> Trial:
    """Drop a file of a hidden name of its own, read it back and delete it; what could be begun is cleared away."""
    attempt = _Attempt(publisher)
    try:
        attempt.make()
    except ExportError as error:
        attempt.clear_away()
        return Trial(_steps(publisher), error, _step_of(error, attempt))
    except BaseException:
        attempt.clear_away()
        raise
    return Trial(_steps(publisher))


class _Attempt:
    """One hidden file on its way there and away again."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._name = f".exports_check_{uuid.uuid4().hex}"
        self._left: list[str] = []
        self.is_reached = False
        self.step = _FILE_STEPS[0]

    def make(self) -> None:
        """All steps; `step` is the one that it is at."""
        publisher, name = self._publisher, self._name
        publisher.check()
        self.is_reached = True
        temp = publisher.begin("", name, temp_name(name, "check", uuid.uuid4().hex[:8]))
        self._left.append(temp)
        with tempfile.TemporaryDirectory() as folder:
            local = Path(folder) / "probe"
            local.write_bytes(_CONTENT)
            publisher.put(local, "", temp)
        self.step = "rename"
        self._left.append(name)
        publisher.publish("", temp, name, replace=False)
        self.step = "read back"
        self._read_back()
        self.step = "delete"
        publisher.remove("", name)
        if publisher.stat("", name) is not None:
            raise self._error(Code.TARGET_DENIED, "is still there after it was deleted", "let this user delete there")

    def clear_away(self) -> None:
        """Whatever may be left of it, as far as the target lets us."""
        for name in self._left:
            with suppress(ExportError):
                self._publisher.remove("", name)

    def _read_back(self) -> None:
        found = self._publisher.stat("", self._name)
        if found is None:
            what = "is not there after it was renamed"
            raise self._error(Code.TARGET_DENIED, what, "see what takes hidden files away there")
        if not found.holds(len(_CONTENT), hashlib.sha256(_CONTENT).hexdigest()):
            what = f"holds other bytes than were written ({found.size} in place of {len(_CONTENT)})"
            raise self._error(Code.UPLOAD_MISMATCH, what, "ask who runs the server")

    def _error(self, code: Code, what: str, hint: str) -> ExportError:
        return ExportError(code, f"{self._publisher.address('', self._name)} {what}", hint)


def _steps(publisher: Publisher) -> tuple[str, ...]:
    return _FILE_STEPS if publisher.identity.startswith("file:") else _SERVER_STEPS + _FILE_STEPS


def _step_of(error: ExportError, attempt: _Attempt) -> str | None:
    if error.code in _STEP_OF_CODE:
        return _STEP_OF_CODE[error.code]
    if error.code is Code.TARGET_UNREACHABLE and not attempt.is_reached:
        unknown = any(isinstance(cause, socket.gaierror) for cause in causes(error))
        return "resolve" if unknown else "connect"
    return attempt.step
