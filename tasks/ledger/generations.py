"""Generations of windows: a new one begins by a person's word, and with the next export that has a deleted one's id."""

from __future__ import annotations

from typing import Literal

from sqlalchemy import ColumnElement, Connection, func, insert, select

from catalog.windows import Bounds
from tasks.ledger import tables
from tasks.ledger.records import now_text, text_of

#: `restart`: a person said where it begins. `deleted`: what came before belongs to an export that is no more.
Kind = Literal["restart", "deleted"]


def open_generation(connection: Connection, export_id: str, start: Bounds, kind: Kind) -> int:
    """The export's next window belongs to a new generation, whose number is returned.

    It begins at `start.low` (None: the beginning); after `deleted` it begins as the definition of that day says.
    """
    generation, window = tables.generation.c, tables.window.c
    opened = connection.execute(select(func.max(generation.number)).filter_by(export=export_id)).scalar()
    allotted = connection.execute(select(func.max(window.generation)).filter_by(export=export_id)).scalar()
    number: int = max(opened or 0, allotted or 0) + 1
    row = {"export": export_id, "number": number, "low": start.low, "since": text_of(start.since), "kind": kind}
    connection.execute(insert(tables.generation).values(**row, opened_at=now_text()))
    return number


def of_this_export(export_id: str) -> ColumnElement[bool]:
    """The condition that a window is of the export that has this id now, and not of a deleted one that had it."""
    generation = tables.generation.c
    deleted = select(func.max(generation.number)).where(generation.export == export_id, generation.kind == "deleted")
    return tables.window.c.generation >= func.coalesce(deleted.scalar_subquery(), 0)
