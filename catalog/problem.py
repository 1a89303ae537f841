"""One finding about the catalog: what is wrong, in which file, line and key."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from catalog.errors import Code, ExportError

Severity = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding of `exports check`; `step` is where trying a target failed."""

    export: str | None
    severity: Severity
    code: Code
    message: str
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    key: str | None = None
    step: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The finding as `exports check --json` prints it."""
        return {
            "export": self.export,
            "severity": self.severity,
            "code": str(self.code),
            "message": self.message,
            "hint": self.hint,
            "file": self.file,
            "line": self.line,
            "key": self.key,
            "step": self.step,
        }

    def as_error(self) -> ExportError:
        """The finding as the exception that stops an action."""
        return ExportError(
            self.code, self.message, self.hint, export=self.export, file=self.file, line=self.line, key=self.key
        )


def problem_from(error: ExportError, export: str | None, severity: Severity = "error") -> Problem:
    """An exception as a finding about the export, or about a connection when `export` is None."""
    return Problem(export, severity, error.code, error.message, error.hint, error.file, error.line, error.key)


def refuse_errors(problems: Iterable[Problem]) -> None:
    """Raises the first of the findings that is an error, as ExportError."""
    for problem in problems:
        if problem.severity == "error":
            raise problem.as_error()
