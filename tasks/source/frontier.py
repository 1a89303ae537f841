"""How far a source is settled: below the frontier no row will come any more (modes `xid` and `guarded`).

Mode `xid` asks for the oldest transaction id that is still at work in the cluster. Mode `guarded` takes the begin of
the oldest transaction that is open in the database, since what that one stamps cannot be older.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import text

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, Frontier, Window, instant
from tasks.connect import Source
from tasks.source.cursor import floored, fraction_digits
from tasks.source.holders import Holder, held_by, held_too_long, holder_of, oldest, open_transactions
from tasks.source.read import cursor_column, cursor_range, source_columns
from tasks.source.relation import Identity, qualified, refuse_without_xids, relation_of
from tasks.source.replaced import refuse_other, rewound, rewritten
from tasks.source.snapshot import refuse_wrapped

_SNAPSHOT = text("""
SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS high, statement_timestamp() AS now,
       pg_is_in_recovery() AS standby
""")
_CLOCK = text("""
SELECT statement_timestamp() AS now, pg_is_in_recovery() AS standby,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS may_see, current_user::text AS role
""")
#: A transaction that began this long ago is listed; a younger one may not be yet.
_UNLISTED = timedelta(seconds=1)


def settle(source: Source, export: Export, logical_time: datetime, previous: Window | None) -> Frontier:
    """Ask how far the source is settled; `previous` is the export's newest window, read before this is called.

    Raises ExportError XID_UNSUPPORTED, XID_WRAPPED, CURSOR_TYPE or COLUMN_MISSING when the mode does not fit the
    source; SOURCE_REPLACED, SOURCE_REWOUND or SOURCE_REWRITTEN when the source is not what it was; SOURCE_CONFLICT
    when a standby is behind; SOURCE_PRIVILEGE when the role sees too little; FRONTIER_HELD or FRONTIER_PREPARED when a
    transaction has been open for longer than `cursor.max_hold`.
    """
    assert export.cursor is not None and export.cursor.mode != "lag", "mode lag asks nothing"
    if export.cursor.mode == "xid":
        return _settle_xid(source, export, logical_time, previous)
    return _settle_guarded(source, export, logical_time, previous)


def _settle_xid(source: Source, export: Export, logical_time: datetime, previous: Window | None) -> Frontier:
    identity = refuse_without_xids(source, export).identity
    found = source.connection.execute(_SNAPSHOT).one()
    refuse_wrapped(export, int(found.high))
    if previous is not None and previous.source is not None:
        then = Identity.from_text(previous.source)
        refuse_other(export, then, identity)
        assert previous.bounds.high is not None, "an incremental window has an upper bound"
        low = int(previous.bounds.high)
        if int(found.high) < low:
            raise rewound(export, str(low), found.high, standby=found.standby)
        if then.file != identity.file and _is_rewritten(source, export, low):
            raise rewritten(export, then, identity)
    stood = previous.bounds.until if previous is not None and previous.bounds.high == found.high else None
    holder = held_by(export, holder_of(source.connection, int(found.high)), found.now, stood)
    return Frontier(found.high, logical_time, identity.to_text(), holder)


def _is_rewritten(source: Source, export: Export, low: int) -> bool:
    """Whether the table has rows, and every one of them is newer than what was delivered."""
    assert export.cursor is not None and export.table is not None, "mode xid reads a table"
    if export.cursor.column is not None:
        # A rewrite does not touch the values of a column.
        return False
    name = qualified(export.table).replace(":", r"\:")
    older = "CAST(CAST(xmin AS text) AS bigint) < :low"
    statement = f"SELECT EXISTS (SELECT FROM {name}), EXISTS (SELECT FROM {name} WHERE {older})"
    has_rows, has_old = source.connection.execute(text(statement), {"low": low}).one()
    return bool(has_rows and not has_old)


@dataclass(frozen=True, slots=True)
class Moment:
    """What the database says at one moment: its clock, its open and its prepared transactions."""

    now: datetime
    active: list[Holder]
    prepared: list[Holder]


def _settle_guarded(source: Source, export: Export, logical_time: datetime, previous: Window | None) -> Frontier:
    digits = _digits_of_cursor(source, export)
    clock = source.connection.execute(_CLOCK).one()
    if clock.standby:
        raise _unguarded(
            f"{source.name} is a standby, and does not know which transactions are open on its primary", "xid", export
        )
    if not clock.may_see:
        raise ExportError(
            Code.SOURCE_PRIVILEGE,
            f"mode `guarded` asks database {source.name} since when transactions are open, "
            f"and role {clock.role} may not see those of others",
            f"GRANT pg_read_all_stats TO {clock.role}",
            export=export.id,
        )
    identity = relation_of(source, export).identity
    if previous is not None and previous.source is not None:
        refuse_other(export, Identity.from_text(previous.source), identity)
        high = _high_of(previous)
        if clock.now < high:
            raise rewound(export, instant(high), instant(clock.now), standby=False)
    # The clock was read first: what begins from now on is younger than the bound.
    moment = Moment(clock.now, *open_transactions(source.connection))
    stands_at = _high_of(previous) if previous is not None else _start_of(export)
    until, holder = guarded_bound(export, logical_time, moment, stands_at)
    until = floored(until, digits)
    return Frontier(instant(until), until, identity.to_text(), held_by(export, holder, clock.now, None))


def guarded_bound(
    export: Export, logical_time: datetime, moment: Moment, stands_at: datetime | None
) -> tuple[datetime, Holder | None]:
    """The least of what is settled, and who keeps it below the logical time; `stands_at` is the bound before this one.

    Raises ExportError SOURCE_PRIVILEGE when a transaction hides its begin, SOURCE_CONFLICT or FRONTIER_PREPARED when
    one is prepared and there is no earlier bound to stay at.
    """
    if hidden := next((holder for holder in moment.active if holder.since is None), None):
        raise ExportError(
            Code.SOURCE_PRIVILEGE,
            f"process {hidden.pid} of user {hidden.usename} hides its transactions (track_activities is off), "
            "and mode `guarded` would lose their rows",
            f"ALTER ROLE {hidden.usename} SET track_activities = on; then end that connection",
            export=export.id,
        )
    settled = min(logical_time, moment.now - _UNLISTED)
    if prepared := oldest(moment.prepared):
        # When it began is not known any more, but not before the bound that was drawn while it was open.
        if stands_at is not None:
            return min(settled, stands_at), prepared
        assert export.cursor is not None and prepared.since is not None, "both are always known"
        if moment.now - prepared.since > export.cursor.max_hold:
            raise held_too_long(export, prepared)
        raise ExportError(
            Code.SOURCE_CONFLICT,
            f"no first window can be drawn while there is {prepared.in_words()}: when it began is not known any more",
            "it is tried again; or say where the export begins with `cursor.start`",
            export=export.id,
        )
    first = oldest(moment.active)
    if first is not None and first.since is not None and first.since < settled:
        return first.since, first
    return settled, None


def _digits_of_cursor(source: Source, export: Export) -> int:
    """How finely the cursor column keeps time. Raises ExportError CURSOR_TYPE when it keeps none."""
    assert export.cursor is not None, "only incremental exports have a bound"
    if source.dialect != "postgresql":
        raise _unguarded(f"{source.name} is no PostgreSQL ({source.dialect})", "lag", export)
    columns = source_columns(source, export)
    cursor_range(source, export, columns, Bounds(high="2026-01-01T00:00:00+00:00"))
    return fraction_digits(cursor_column(source, export, columns), source.dialect)


def _unguarded(reason: str, mode: str, export: Export) -> ExportError:
    message = f"mode `guarded` asks PostgreSQL which transactions are open: {reason}"
    return ExportError(Code.CURSOR_TYPE, message, f"use `cursor.mode: {mode}`", export=export.id, key="cursor.mode")


def _high_of(window: Window) -> datetime:
    assert window.bounds.high is not None, "an incremental window has an upper bound"
    return datetime.fromisoformat(window.bounds.high)


def _start_of(export: Export) -> datetime | None:
    start = export.cursor.start if export.cursor else None
    return None if start is None else export.in_zone(start)
