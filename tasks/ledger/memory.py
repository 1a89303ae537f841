"""What the ledger remembers of rows that were delivered, for the windows in mode `lag` that follow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Engine, func, select

from catalog.windows import Window, instant
from tasks.ledger import tables
from tasks.ledger.connection import reading
from tasks.ledger.records import moment_of

#: How far back an audit looks for rows that came later than the lookback.
_AUDITED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier window of the same generation: its bounds, and how many rows its span held when last looked at."""

    id: str
    low: str | None
    high: str
    counted: int


@dataclass(frozen=True, slots=True)
class Memory:
    """`keys` are the hashes, made with `salt`, of every delivered row from `known_from` to the window's low bound.

    `known_from` None: there is no such row. `audit_due` when no older window has been looked at on this day.
    """

    salt: str
    known_from: str | None
    keys: frozenset[str]
    earlier: tuple[Earlier, ...]
    audit_due: bool


def memory_before(engine: Engine, window: Window) -> Memory:
    """What is remembered of the windows before this one."""
    known = tables.window
    same = select(known).filter_by(export=window.export, generation=window.generation, kind="scheduled")
    before = same.where(known.c.logical_time < instant(window.logical_time)).order_by(known.c.logical_time.desc())
    oldest = instant(window.logical_time - _AUDITED)
    with reading(engine) as connection:
        salt: str = connection.execute(select(tables.schema_version.c.ledger_id)).scalar_one()
        previous = connection.execute(before.limit(1)).first()
        recent = connection.execute(before.where(known.c.counted.is_not(None), known.c.high >= oldest)).all()
        hashes = connection.execute(
            select(tables.delivered_key.c.hash)
            .join(tables.window)
            .where(known.c.export == window.export, known.c.generation == window.generation, known.c.id != window.id)
        ).scalars()
        keys = frozenset(hashes)
        audited = connection.execute(select(func.max(known.c.audited_at)).filter_by(export=window.export)).scalar()
    last_audit = moment_of(audited)
    return Memory(
        salt=salt,
        known_from=previous.keyed_from if previous else None,
        keys=keys,
        earlier=tuple(Earlier(row.id, row.low, row.high, row.counted) for row in recent),
        audit_due=last_audit is None or last_audit.date() < window.logical_time.date(),
    )
