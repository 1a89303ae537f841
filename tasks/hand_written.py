"""Code that a person wrote for an export, in `flows/custom/`: what it raises, as errors of ours."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, TypeVar
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from catalog.errors import Code, ExportError, Remedy
from tasks.translate import translate

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from sqlalchemy.engine import ExceptionContext

    from tasks.connect import Source

#: What `transform` names: a batch of rows as they were read, into those that are written.
Transform: TypeAlias = "Callable[[pd.DataFrame], pd.DataFrame]"
#: What a custom export's flow has: the rows to write, DataFrame by DataFrame, out of its open database.
Frames: TypeAlias = "Callable[[Source], Iterator[pd.DataFrame]]"
T = TypeVar("T")
#: Where such code lives, as a package.
CUSTOM = "flows.custom"


class Asked:
    """The database that hand-written code is given: which of its exceptions come from there, and what they mean."""

    def __init__(self, source: Source) -> None:
        self._source, self._raised = source, WeakSet[BaseException]()
        event.listen(source.connection.engine, "handle_error", self._note)

    def _note(self, context: ExceptionContext) -> None:
        if context.sqlalchemy_exception is not None:
            self._raised.add(context.sqlalchemy_exception)

    def meaning_of(self, error: BaseException) -> ExportError | None:
        """The database's error as ours; None for what it has not raised."""
        if not isinstance(error, DBAPIError) or error not in self._raised:
            return None
        return translate(error, self._source.name, self._source.connection.engine.url, connected=True)


@dataclass(frozen=True, slots=True)
class HandWritten:
    """A function of that kind: its name as people know it, and the code of its failures."""

    name: str
    code: Code

    @contextmanager
    def at_work(self, asked: Asked | None = None) -> Iterator[None]:
        """Around every call of it: its exceptions become an ExportError; those of the `asked` database keep its code.

        The exception's own text may quote a row, so that only its type and line are told, and it is not chained.
        """
        try:
            yield
        except ExportError:
            raise
        except (Exception, SystemExit) as error:
            place = line_of(error)
            raised = f"raised {type(error).__name__}{f' at {place}' if place else ''}"
            meaning = asked.meaning_of(error) if asked else None
            if meaning is None:
                raise self.failed(
                    raised, "mend it, bring it to the worker, then relaunch: its window stays the same"
                ) from None
            if meaning.code.remedy is not Remedy.EDIT:
                raise meaning from None
            # What is wrong with a statement is said by quoting it, and this one may be made of cells.
            raise ExportError(
                meaning.code, f"{self.name} {raised}", "mend its SQL, bring it to the worker, then run it again"
            ) from None

    def failed(self, what: str, hint: str) -> ExportError:
        """The error that it did something, in words that follow its name."""
        return ExportError(self.code, f"{self.name} {what}", hint)


def unawaited(given: T) -> T:
    """What such code gave, as it is; what an `async def` gave is closed, so that Python does not complain beside us."""
    if inspect.iscoroutine(given):
        given.close()
    return given


def line_of(error: BaseException) -> str | None:
    """The last line of hand-written code that the exception went through, as `flows/custom/masking.py:12`."""
    found = None
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        if module.startswith(f"{CUSTOM}."):
            found = f"{module.replace('.', '/')}.py:{line}"
    return found
