"""Looking into the ledger: nothing here writes, and a ledger that is not there is not made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import Engine, RowMapping, Select, and_, or_, select

from catalog.definition import Export
from catalog.receipt import DeliveredFile, TargetState
from catalog.windows import State, Window, instant, least_advanced
from tasks.ledger import tables
from tasks.ledger.allot import newest_window, windows
from tasks.ledger.connection import exists, open_engine, reading
from tasks.ledger.generations import of_this_export
from tasks.ledger.lock import is_held
from tasks.ledger.records import (
    Attempt,
    Delivered,
    Delivery,
    Extracted,
    Findings,
    attempt_of,
    delivered_of,
    delivery_of,
    extracted_of,
    moment_of,
    retained_of,
)

#: A first look at years of deliveries must not hold up the run that takes it.
_MOST_AT_ONCE = 500


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
        unsettled = [state for state in State if not state.settled]
        open_ones = select(tables.delivery.c.window).where(tables.delivery.c.state.in_(unsettled))
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
        window = tables.window.c
        rows = self._read(
            select(window.null_cursors, window.late, window.missed, window.keyed_from).filter_by(id=window_id)
        )
        return Findings(**{name: value for name, value in rows[0].items() if value is not None}) if rows else Findings()

    def held_by(self, window_id: str) -> str | None:
        """Who kept the window's upper bound back, in words."""
        rows = self._read(select(tables.window.c.held_by).filter_by(id=window_id))
        return rows[0]["held_by"] if rows else None

    def delivered_by_run(self, run_id: str) -> list[DeliveredFile]:
        """The files this run delivered, its own and those it caught up with, by time."""
        return self._delivered(tables.delivery.c.committed_by == run_id)

    def delivered_of_window(self, window_id: str) -> list[DeliveredFile]:
        """The files of one window that have been delivered."""
        return self._delivered((tables.delivery.c.window == window_id) & tables.delivery.c.committed_by.is_not(None))

    def has_delivered(self, export_id: str, target: str, path: str) -> bool:
        """Whether a full window of this export has put a file of that address on the target before."""
        delivery, window = tables.delivery.c, tables.window.c
        query = select(delivery.part).join(tables.window).where(window.export == export_id, window.kind == "full")
        query = query.where(of_this_export(export_id))
        # Not by state: a window that was superseded half-way has delivered some of its parts.
        committed = query.where(delivery.committed_by.is_not(None), delivery.target == target, delivery.path == path)
        return bool(self._read(committed.limit(1)))

    def delivered_before(self, export_id: str, target: str, identity: str, moment: datetime) -> list[Delivered]:
        """What this export delivered to the target before the moment and retention has not seen, the oldest first.

        At most some hundreds at once. Of one window the last part comes first: its done marker goes before what it
        vouches for. What belongs to a window that is not settled on the target is left out.
        """
        delivery, extraction, window = tables.delivery, tables.extraction.c, tables.window.c
        other = delivery.alias()
        later = select(other.c.part).where(
            other.c.path == delivery.c.path,
            other.c.target_identity == delivery.c.target_identity,
            other.c.window != delivery.c.window,
            or_(
                other.c.state.in_([State.PUBLISHING, State.AMBIGUOUS]),
                and_(other.c.state == State.COMMITTED, other.c.updated_at > delivery.c.updated_at),
            ),
        )
        unsettled = [state for state in State if not state.settled]
        open_ones = select(other.c.window).where(other.c.target == target, other.c.state.in_(unsettled))
        query = (
            select(
                delivery,
                window.folder,
                extraction.name,
                extraction.bytes,
                extraction.sha256,
                later.exists().label("later"),
            )
            .join(tables.extraction, (extraction.window == delivery.c.window) & (extraction.part == delivery.c.part))
            .join(tables.window, window.id == delivery.c.window)
            .where(
                window.export == export_id,
                of_this_export(export_id),
                delivery.c.target == target,
                delivery.c.target_identity == identity,
                delivery.c.state == State.COMMITTED,
                delivery.c.updated_at < instant(moment),
                delivery.c.cleared_at.is_(None),
                delivery.c.window.not_in(open_ones),
            )
            .order_by(window.logical_time, window.allotted_at, delivery.c.part.desc())
            .limit(_MOST_AT_ONCE)
        )
        return [retained_of(row) for row in self._read(query)]

    def settled_by(self, run_id: str) -> str | None:
        """The run that settled the last of this run's own window, or None while some of it is outstanding."""
        query = select(tables.delivery.c.committed_by).join(tables.window).where(tables.window.c.run_id == run_id)
        found = [row["committed_by"] for row in self._read(query.order_by(tables.delivery.c.updated_at))]
        return found[-1] if found and all(found) else None

    def first_delivery(self, export_id: str, since: datetime, until: datetime) -> datetime | None:
        """When the first window with a logical time in `[since, until]` had been delivered to all its targets.

        Delivered is also a window that had nothing to deliver. None when there is none; backfills do not count.
        """
        delivery, window = tables.delivery.c, tables.window.c
        query = select(delivery.window, delivery.state, delivery.updated_at).join(tables.window)
        query = query.where(window.export == export_id, window.kind != "backfill", of_this_export(export_id))
        settled: dict[str, list[tuple[bool, str]]] = {}
        for row in self._read(query.where(window.logical_time.between(instant(since), instant(until)))):
            done = row["state"] in (State.COMMITTED, State.EMPTY)
            settled.setdefault(row["window"], []).append((done, row["updated_at"]))
        whole = [max(at for _, at in parts) for parts in settled.values() if all(done for done, _ in parts)]
        return moment_of(min(whole, default=None))

    def _delivered(self, condition: Any) -> list[DeliveredFile]:
        delivery, extraction, window = tables.delivery.c, tables.extraction.c, tables.window.c
        query = (
            select(
                extraction.name,
                extraction.rows,
                extraction.bytes,
                extraction.sha256,
                delivery.path,
                delivery.target,
                window.since,
                window.until,
            )
            .join(tables.extraction, (extraction.window == delivery.window) & (extraction.part == delivery.part))
            .join(tables.window, window.id == delivery.window)
            .where(condition, extraction.kind == "data")
            .order_by(window.logical_time, delivery.target, delivery.part)
        )
        return [delivered_of(row) for row in self._read(query)]

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
