"""Code that a person wrote for an export, in `flows/custom/`: what it raises, as errors of ours."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy.exc import SQLAlchemyError

from catalog.errors import Code, ExportError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from tasks.connect import Source

#: What `transform` names: a batch of rows as they were read, into those that are written.
Transform: TypeAlias = "Callable[[pd.DataFrame], pd.DataFrame]"
#: What a custom export's flow has: the rows to write, DataFrame by DataFrame, out of its open database.
Frames: TypeAlias = "Callable[[Source], Iterator[pd.DataFrame]]"
#: Where such code lives, as a package.
CUSTOM = "flows.custom"


@dataclass(frozen=True, slots=True)
class HandWritten:
    """A function of that kind: its name as people know it, and the code of its failures."""

    name: str
    code: Code

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Around every call of it: its exceptions become an ExportError, unless they are about export or database.

        The exception's own text may quote a row, so that only its type and line are told, and it is not chained.
        """
        try:
            yield
        except (ExportError, SQLAlchemyError):
            raise
        except Exception as error:
            place = line_of(error)
            raise self.failed(
                f"raised {type(error).__name__}{f' at {place}' if place else ''}",
                "mend it, bring it to the worker, then relaunch: its window stays the same",
            ) from None

    def failed(self, what: str, hint: str) -> ExportError:
        """The error that it did something, in words that follow its name."""
        return ExportError(self.code, f"{self.name} {what}", hint)


def line_of(error: BaseException) -> str | None:
    """The last line of hand-written code that the exception went through, as `flows/custom/masking.py:12`."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(f"{CUSTOM}."):
            found = f"{module.replace('.', '/')}.py:{line}"
    return found
