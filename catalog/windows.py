"""Windows: which rows a run delivers, decided once, by arithmetic alone.

A window is half-open, `[low, high)`, and follows the one before it without a gap. Bounds are kept as
text, exactly as they were decided; in mode `lag` they are instants in UTC with microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from catalog.definition import Cursor, Export
from catalog.errors import Code, ExportError
from catalog.naming import fill_part

Kind = Literal["scheduled", "backfill", "full"]


class State(StrEnum):
    """How far one delivery (window x target x part) has come, as the ledger records it."""

    PLANNED = "PLANNED"
    EXTRACTED = "EXTRACTED"
    PUBLISHING = "PUBLISHING"
    COMMITTED = "COMMITTED"
    EMPTY = "EMPTY"
    SUPERSEDED = "SUPERSEDED"

    @property
    def settled(self) -> bool:
        """Whether nothing remains to be done."""
        return self in (State.COMMITTED, State.EMPTY, State.SUPERSEDED)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Half-open bounds on the cursor; `low` None is the beginning of the table, both None no bounds at all.

    `since` and `until` are the same bounds as times, for names and reports.
    """

    low: str | None = None
    high: str | None = None
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """An allotted window, as it stands in the ledger: everything a run needs is fixed here.

    `folder` and `file_name` are resolved but for `{part}`. `definition` is the hash it is extracted with.
    """

    id: str
    export: str
    generation: int
    kind: Kind
    bounds: Bounds
    logical_time: datetime
    definition: str
    run_id: str
    folder: str
    file_name: str
    state: State = State.PLANNED

    @property
    def first_name(self) -> str:
        """The name of its file, or of the first of its parts."""
        return fill_part(self.file_name, 1)


def instant(moment: datetime) -> str:
    """An instant as bounds store it: ISO 8601 in UTC with microseconds, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def next_bounds(export: Export, previous_high: str | None, logical_time: datetime) -> Bounds | None:
    """The bounds of the window after `previous_high` (None: the first), or None when no time has passed.

    Full and one-shot exports have no bounds. In mode `lag` the upper bound is the logical time minus the lag.
    """
    if export.cursor is None:
        return Bounds()
    cursor = export.cursor
    until = (logical_time - cursor.lag).astimezone(UTC)
    since = datetime.fromisoformat(previous_high) if previous_high is not None else _start(cursor, export)
    if since is not None and until <= since:
        return None
    return Bounds(instant(since) if since else None, instant(until), since, until)


def explicit_bounds(export: Export, since: datetime | None, until: datetime | None) -> Bounds | None:
    """The bounds a person asked for, or None when none were asked for.

    Moments without a zone are meant in the schedule's. Raises ExportError DEFINITION_INVALID for half a span, an
    empty one, or an export without a cursor.
    """
    if since is None and until is None:
        return None
    if since is None or until is None or export.cursor is None:
        raise _invalid_span("`since` and `until` go together, and only with an incremental export")
    low, high = (moment if moment.tzinfo else moment.replace(tzinfo=export.timezone) for moment in (since, until))
    if high <= low:
        raise _invalid_span("`since` is not before `until`")
    return Bounds(instant(low), instant(high), low.astimezone(UTC), high.astimezone(UTC))


def _invalid_span(message: str) -> ExportError:
    return ExportError(Code.DEFINITION_INVALID, message, "run it again with other parameters")


def _start(cursor: Cursor, export: Export) -> datetime | None:
    if cursor.start is None:
        return None
    return cursor.start if cursor.start.tzinfo else cursor.start.replace(tzinfo=export.timezone)
