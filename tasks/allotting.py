"""Which rows a run delivers: asked of the source where it alone can say, and allotted by the ledger."""

from __future__ import annotations

from datetime import datetime

from catalog.definition import Export
from catalog.load import load_database
from catalog.windows import Bounds, Frontier, Window
from tasks.connect import open_source
from tasks.credentials import Lookup
from tasks.ledger import Allotment, Ledger
from tasks.source.frontier import settle


def allot(
    ledger: Ledger,
    export: Export,
    run_id: str,
    logical_time: datetime,
    explicit: Bounds | None,
    lookup: Lookup,
) -> Allotment:
    """The window of this run: its own when it has one already, else one that ends where the source is settled.

    Raises ExportError for what the source has against it, and what `Ledger.allot` raises.
    """
    frontier = None
    if explicit is None and _is_to_be_asked(ledger, export, run_id, logical_time):
        # Read first: whatever is allotted meanwhile cannot make the source look older than it is.
        frontier = frontier_of(export, ledger.going_on(export).window, logical_time, lookup)
    return ledger.allot(export, run_id, logical_time, explicit, frontier)


def frontier_of(export: Export, previous: Window | None, logical_time: datetime, lookup: Lookup) -> Frontier:
    """How far the source is settled now; `previous` is the window that the next one follows."""
    with open_source(export.database, load_database(export.database), lookup) as source:
        return settle(source, export, logical_time, previous)


def _is_to_be_asked(ledger: Ledger, export: Export, run_id: str, logical_time: datetime) -> bool:
    if export.cursor is None or export.cursor.mode == "lag" or ledger.window_of_run(run_id) is not None:
        return False
    newest = ledger.newest(export.id)
    return newest is None or newest.logical_time < logical_time
