"""Windows: which rows a run delivers, decided once, by arithmetic alone.

A window is half-open, `[low, high)`, and follows the one before it without a gap. Bounds are kept as
text, exactly as they were decided; in mode `lag` they are instants in UTC with microseconds.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal

from catalog.cursor import Cursor
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.naming import fill_part
from catalog.schedule import check_moment

Kind = Literal["scheduled", "backfill", "full"]


class State(StrEnum):
    """How far one delivery (window x target x part) has come, as the ledger records it."""

    PLANNED = "PLANNED"
    EXTRACTED = "EXTRACTED"
    PUBLISHING = "PUBLISHING"
    AMBIGUOUS = "AMBIGUOUS"
    COMMITTED = "COMMITTED"
    EMPTY = "EMPTY"
    SUPERSEDED = "SUPERSEDED"
    ABANDONED = "ABANDONED"

    @property
    def settled(self) -> bool:
        """Whether nothing remains to be done."""
        return self in (State.COMMITTED, State.EMPTY, State.SUPERSEDED, State.ABANDONED)


#: Those in which something remains to be done.
UNSETTLED: tuple[State, ...] = tuple(state for state in State if not state.settled)


def least_advanced(states: Iterable[State]) -> State:
    """The one (there is one) that has the longest way to go."""
    return min(states, key=list(State).index)


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

    `folder` and `file_name` are resolved but for `{part}`. `definition` is the hash it is extracted with, `source` what
    identified the source when it was allotted (modes `xid` and `guarded`).
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
    source: str | None = None
    state: State = State.PLANNED

    @property
    def first_name(self) -> str:
        """The name of its file, or of the first of its parts."""
        return fill_part(self.file_name, 1)


def instant(moment: datetime) -> str:
    """An instant as bounds store it: ISO 8601 in UTC with microseconds, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


@dataclass(frozen=True, slots=True)
class Frontier:
    """How far a source is settled, as its database said at one moment (modes `xid` and `guarded`).

    Every row below `high` (a bound as windows store it) is there to be read, and none will come after. `until` is
    `high` as a time, for names and reports. `source` identifies the source; `held_by` says in words who keeps the
    bound back, None when nobody does.
    """

    high: str
    until: datetime
    source: str
    held_by: str | None = None


def next_bounds(
    export: Export, previous: Bounds | None, logical_time: datetime, frontier: Frontier | None = None
) -> Bounds | None:
    """The bounds of the window after `previous` (None: the first), or None when nothing can be new.

    A `previous` without upper bound stands for a beginning that a person chose: that of the table.

    Full and one-shot exports have no bounds. In mode `lag` the upper bound is the logical time minus the lag; in the
    other modes it is the source's `frontier`.
    """
    if export.cursor is None:
        return Bounds()
    cursor = export.cursor
    low, since = (previous.high, previous.until) if previous else (None, None)
    if previous is None and cursor.start is not None:
        since = export.in_zone(cursor.start)
        low = instant(since)
    if frontier is None:
        until = (logical_time - cursor.lag).astimezone(UTC)
        high = instant(until)
    else:
        high, until = frontier.high, frontier.until
    if low is not None and not _is_before(low, high, cursor):
        return None
    return Bounds(low, high, since, until)


def _is_before(low: str, high: str, cursor: Cursor) -> bool:
    if cursor.mode == "xid":
        return int(low) < int(high)
    return datetime.fromisoformat(low) < datetime.fromisoformat(high)


def explicit_bounds(
    export: Export, since: datetime | None, until: datetime | None, logical_time: datetime
) -> Bounds | None:
    """The bounds of a backfill, as a person asked for them, or None when none were asked for.

    Moments without a zone are meant in the schedule's. Raises ExportError DEFINITION_INVALID for half a span, an
    empty one, one off the calendar, one that is not over yet, or an export without a cursor that knows times.
    """
    if since is None and until is None:
        return None
    if since is None or until is None or export.cursor is None:
        message = "`since` and `until` go together, and only with an incremental export"
        raise _invalid_span(message, "give both, or neither: then the run delivers its own window")
    if export.cursor.mode == "xid":
        message = "mode xid has no time column, so there is no span of time to deliver once more"
        raise _invalid_span(message, "deliver those rows with a one shot, whose `where` or `query` names them")
    low, high = export.in_zone(since), export.in_zone(until)
    try:
        check_moment(low)
        check_moment(high)
    except ValueError as error:
        raise _invalid_span(str(error), "begin and end the span where the table has rows") from None
    if high <= low:
        raise _invalid_span("`since` is not before `until`", "begin the span earlier, or end it later")
    settled = logical_time - (export.cursor.lag if export.cursor.mode == "lag" else timedelta())
    if high > settled:
        message = f"the span ends at {high.isoformat()}, and rows may still come until then"
        raise _invalid_span(message, f"end it at {settled.astimezone(high.tzinfo).isoformat()} or before")
    return Bounds(instant(low), instant(high), low.astimezone(UTC), high.astimezone(UTC))


def _invalid_span(message: str, hint: str) -> ExportError:
    return ExportError(Code.DEFINITION_INVALID, message, hint)
