"""What the ledger remembers of rows that were delivered, for the windows in mode `lag` that follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine, Select, func, select

from catalog.windows import State, Window, instant
from tasks.ledger import tables
from tasks.ledger.connection import reading
from tasks.ledger.records import moment_of

#: How far back an audit looks for rows that came later than the lookback.
_AUDITED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier window of the same generation: its bounds, and how many rows its span held when last looked at.

    `keyed` is False once its keys are forgotten: a later window that is read again must not look for late rows there.
    """

    id: str
    low: str | None
    high: str
    counted: int
    keyed_by: str | None
    keyed: bool


@dataclass(frozen=True, slots=True)
class Memory:
    """`keys` are the hashes, made with `salt`, of every delivered row from `known_from` to the window's low bound.

    `known_from` None: there is no such row. `keyed_by` says how they were made, as `Findings` does. `own_keys` are the
    window's own, when it was read before. `audit_due` when no older window has been looked at on this day.
    """

    salt: str
    known_from: str | None
    keyed_by: str | None
    keys: frozenset[str]
    own_keys: frozenset[str]
    earlier: tuple[Earlier, ...]
    audit_due: bool


def memory_before(engine: Engine, window: Window, looks_back: timedelta) -> Memory:
    """What is remembered of the windows before this one, which looks for late rows `looks_back` below itself."""
    known = tables.window
    same = select(known).filter_by(export=window.export, generation=window.generation, kind="scheduled")
    before = same.where(known.c.logical_time < instant(window.logical_time)).order_by(known.c.logical_time.desc())
    # The window before may be older than any audit reaches: exports that run once a week or month look back too.
    reach = window.logical_time if window.bounds.low is None else datetime.fromisoformat(window.bounds.low)
    oldest = instant(min(window.logical_time - _AUDITED, reach - looks_back))
    with reading(engine) as connection:
        salt: str = connection.execute(select(tables.schema_version.c.ledger_id)).scalar_one()
        last = connection.execute(before.where(known.c.keyed_from.is_not(None)).limit(1)).first()
        counted = before.where(known.c.counted.is_not(None), known.c.id.not_in(_given_up(window.export)))
        # One more, or an export that runs once a week would never count what came too late.
        recent = [
            *connection.execute(counted.where(known.c.high >= oldest)),
            *connection.execute(counted.where(known.c.high < oldest).limit(1)),
        ]
        hashes = (
            select(tables.delivered_key.c.hash)
            .join(tables.window)
            .where(known.c.export == window.export, known.c.generation == window.generation)
        )
        keys = frozenset(connection.execute(hashes.where(known.c.id != window.id)).scalars())
        own_keys = frozenset(connection.execute(hashes.where(known.c.id == window.id)).scalars())
        audited = connection.execute(select(func.max(known.c.audited_at)).filter_by(export=window.export)).scalar()
    last_audit = moment_of(audited)
    return Memory(
        salt=salt,
        known_from=last.keyed_from if last else None,
        keyed_by=last.keyed_by if last else None,
        keys=keys,
        own_keys=own_keys,
        earlier=tuple(
            Earlier(row.id, row.low, row.high, row.counted, row.keyed_by, row.keyed_from is not None) for row in recent
        ),
        audit_due=last_audit is None or last_audit.date() < window.logical_time.date(),
    )


def _given_up(export_id: str) -> Select[tuple[str]]:
    """The export's windows that a person gave up, their late rows with them: `again` still delivers all of them.

    One that was given up for some of its targets alone is not among them: the others get what comes late for it.
    """
    delivery, here, there = tables.delivery.c, tables.delivery.alias().c, tables.delivery.alias().c
    on_that_target = select(there.part).where(
        there.window == here.window, there.target == here.target, there.state == State.ABANDONED
    )
    still_wanted = select(here.part).where(here.window == delivery.window, ~on_that_target.exists())
    given_up = select(delivery.window).join(tables.window).where(tables.window.c.export == export_id)
    return given_up.where(delivery.state == State.ABANDONED, ~still_wanted.exists())
