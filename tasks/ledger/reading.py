"""Looking into the ledger: nothing here writes, and a ledger that is not there is not made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Engine, RowMapping, Select, select

from catalog.definition import Export
from catalog.receipt import TargetState
from catalog.windows import UNSETTLED, State, Window, least_advanced
from tasks.ledger import tables
from tasks.ledger.allot import newest_window, windows
from tasks.ledger.connection import exists, open_engine, reading
from tasks.ledger.lock import is_held
from tasks.ledger.records import (
    Attempt,
    Delivery,
    Extracted,
    Findings,
    attempt_of,
    delivery_of,
    extracted_of,
    moment_of,
)


class LedgerReading:
    """What the ledger behind one SQLAlchemy URL is asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._stands = False

    @cached_property
    def engine(self) -> Engine:
        """The engine; it keeps no connection open."""
        return open_engine(self.url)

    def registered(self) -> set[str]:
        """The hashes of all definitions that were ever registered."""
        return {row["hash"] for row in self._read(select(tables.definition.c.hash))}

    def definition(self, digest: str) -> Export | None:
        """The definition of that hash, or None when it was never registered."""
        rows = self._read(select(tables.definition.c.json).filter_by(hash=digest))
        return Export.model_validate(json.loads(rows[0]["json"])) if rows else None

    def registered_at(self, digest: str) -> datetime | None:
        """When the definition of that hash was registered, or None when it never was."""
        rows = self._read(select(tables.definition.c.registered_at).filter_by(hash=digest))
        return moment_of(rows[0]["registered_at"]) if rows else None

    def window_of_run(self, run_id: str) -> Window | None:
        """The run's own window, or None when it was allotted none."""
        found = self._read_windows(select(tables.window).filter_by(run_id=run_id))
        return found[0] if found else None

    def newest(self, export_id: str) -> Window | None:
        """The newest window that is no backfill: its high bound is the watermark."""
        if not self._exists():
            return None
        with reading(self.engine) as connection:
            return newest_window(connection, export_id)

    def windows(self, export_id: str, limit: int | None = None) -> list[Window]:
        """The export's windows, the newest first."""
        query = select(tables.window).filter_by(export=export_id)
        order = (tables.window.c.logical_time.desc(), tables.window.c.allotted_at.desc())
        return self._read_windows(query.order_by(*order).limit(limit))

    def outstanding(self, export_id: str) -> list[Window]:
        """The export's windows that are not settled, strictly the oldest first."""
        open_ones = select(tables.delivery.c.window).where(tables.delivery.c.state.in_(UNSETTLED))
        query = select(tables.window).filter_by(export=export_id).where(tables.window.c.id.in_(open_ones))
        return self._read_windows(query.order_by(tables.window.c.logical_time, tables.window.c.allotted_at))

    def deliveries(self, window_id: str) -> list[Delivery]:
        """The window's deliveries by target and part."""
        query = select(tables.delivery).filter_by(window=window_id)
        return [delivery_of(row) for row in self._read(query.order_by("target", "part"))]

    def target_states(self, window_id: str) -> list[TargetState]:
        """How far the window has come on each of its targets."""
        return _by_target(self.deliveries(window_id))

    def extracted(self, window_id: str) -> list[Extracted]:
        """The window's extracted parts, in order; what goes with the data comes after it."""
        query = select(tables.extraction).filter_by(window=window_id).order_by("part")
        return [extracted_of(row) for row in self._read(query)]

    def parts_of_export(self, export_id: str) -> dict[str, list[tuple[Extracted, Delivery | None]]]:
        """The extracted parts of all the export's windows, by the window's id.

        Each has the delivery of it that has the longest way to go.
        """
        by_part: dict[tuple[str, int], Delivery] = {}
        for delivery in self._deliveries_of_export(export_id):
            other = by_part.setdefault((delivery.window, delivery.part), delivery)
            if least_advanced([delivery.state, other.state]) is not other.state:
                by_part[delivery.window, delivery.part] = delivery
        extraction, of_export = tables.extraction, tables.window.c.export == export_id
        extracted = self._read(select(extraction).join(tables.window).where(of_export).order_by(extraction.c.part))
        found: dict[str, list[tuple[Extracted, Delivery | None]]] = {}
        for row in extracted:
            part = (extracted_of(row), by_part.get((row["window"], row["part"])))
            found.setdefault(row["window"], []).append(part)
        return found

    def targets_of_export(self, export_id: str) -> dict[str, list[TargetState]]:
        """How far all the export's windows have come on each of their targets, by the window's id."""
        by_window: dict[str, list[Delivery]] = {}
        for delivery in self._deliveries_of_export(export_id):
            by_window.setdefault(delivery.window, []).append(delivery)
        return {window: _by_target(deliveries) for window, deliveries in by_window.items()}

    def _deliveries_of_export(self, export_id: str) -> list[Delivery]:
        delivery = tables.delivery
        query = select(delivery).join(tables.window).where(tables.window.c.export == export_id)
        return [delivery_of(row) for row in self._read(query.order_by(delivery.c.target, delivery.c.part))]

    def holders(self, export_id: str) -> dict[str, str]:
        """Who kept the upper bounds of the export's windows back, in words, by the window's id."""
        window = tables.window.c
        query = select(window.id, window.held_by).where(window.export == export_id, window.held_by.is_not(None))
        return {row["id"]: row["held_by"] for row in self._read(query)}

    def attempts(self, export_id: str) -> list[Attempt]:
        """The turns of the export's runs at its work, the newest first."""
        query = select(tables.attempt).filter_by(export=export_id).order_by(tables.attempt.c.fence.desc())
        return [attempt_of(row) for row in self._read(query)]

    def attempts_of_run(self, run_id: str) -> list[Attempt]:
        """The turns of one run, the newest first."""
        query = select(tables.attempt).filter_by(run_id=run_id).order_by(tables.attempt.c.fence.desc())
        return [attempt_of(row) for row in self._read(query)]

    def is_at_work(self, export_id: str) -> bool:
        """Whether a run holds the export's lock now."""
        return self._exists() and is_held(self.engine, export_id)

    def attempt(self, export_id: str, fence: int) -> Attempt | None:
        """One turn, by its number."""
        rows = self._read(select(tables.attempt).filter_by(export=export_id, fence=fence))
        return attempt_of(rows[0]) if rows else None

    def findings(self, window_id: str) -> Findings:
        """What the window's extraction found beside its rows, but for keys and counts."""
        names = ("null_cursors", "future", "latest", "late", "missed", "keyed_from", "columns_changed")
        rows = self._read(select(*(tables.window.c[name] for name in names)).filter_by(id=window_id))
        return Findings(**{name: value for name, value in rows[0].items() if value is not None}) if rows else Findings()

    def held_by(self, window_id: str) -> str | None:
        """Who kept the window's upper bound back, in words."""
        rows = self._read(select(tables.window.c.held_by).filter_by(id=window_id))
        return rows[0]["held_by"] if rows else None

    def _exists(self) -> bool:
        # A ledger that has been seen stays; one that has not may be made by another process at any moment.
        self._stands = self._stands or exists(self.engine)
        return self._stands

    def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        if not self._exists():
            return []
        with reading(self.engine) as connection:
            return connection.execute(query).mappings().all()

    def _read_windows(self, query: Select[Any]) -> list[Window]:
        if not self._exists():
            return []
        with reading(self.engine) as connection:
            return windows(connection, query)


def _by_target(deliveries: Sequence[Delivery]) -> list[TargetState]:
    states: dict[str, list[State]] = {}
    for delivery in deliveries:
        states.setdefault(delivery.target, []).append(delivery.state)
    return [TargetState(target, least_advanced(found).lower()) for target, found in states.items()]
