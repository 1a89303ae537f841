"""What stands against each of several targets, and how a run that failed on some of them ends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.errors import ExportError
from catalog.windows import Window


@dataclass(frozen=True, slots=True)
class Failure:
    """The window that a target did not get, and why."""

    window: Window
    error: ExportError


def as_one(failed: Mapping[str, Failure]) -> ExportError:
    """The error of the first target (there is one), its message followed by what stands against the others."""
    first, *others = failed.items()
    error = first[1].error
    if others:
        also = [f"{target}: {failure.error.code}: {failure.error.message}" for target, failure in others]
        error.message = f"{error.message}; also {'; '.join(also)}"
    return error
