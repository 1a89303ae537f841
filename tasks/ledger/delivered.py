"""Looking into the ledger for what was delivered: files, by run, window, target and time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select

from catalog.layout import Layout
from catalog.receipt import DeliveredFile
from catalog.windows import UNSETTLED, State, Window, instant
from tasks.ledger import tables
from tasks.ledger.generations import of_this_export
from tasks.ledger.reading import LedgerReading
from tasks.ledger.records import Delivered, LastFile, delivered_of, moment_of, retained_of, window_of

#: A first look at years of deliveries must not hold up the run that takes it.
_MOST_AT_ONCE = 500


class LedgerDeliveries(LedgerReading):
    """What the ledger behind one SQLAlchemy URL is asked about deliveries."""

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
        open_ones = select(other.c.window).where(other.c.target == target, other.c.state.in_(UNSETTLED))
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

    def last_file(self, window: Window, definition: str) -> LastFile | None:
        """The newest file that was delivered, to any target, with the definition of that hash.

        Only windows of the same generation count, no backfills, and not this window itself. None when there is none
        whose columns are known.
        """
        known, delivery = tables.window.c, tables.delivery.c
        delivered = select(delivery.window).where(delivery.window == known.id, delivery.state == State.COMMITTED)
        query = select(tables.window).filter_by(export=window.export, generation=window.generation)
        query = query.where(
            known.definition == definition,
            known.kind != "backfill",
            known.id != window.id,
            known.columns.is_not(None),
            delivered.exists(),
        )
        rows = self._read(query.order_by(known.logical_time.desc(), known.allotted_at.desc()).limit(1))
        if not rows:
            return None
        found, accepted = window_of(rows[0], State.COMMITTED), rows[0]["columns_accepted_at"] is not None
        return LastFile(found.first_name, found.logical_time, Layout.from_text(rows[0]["columns"]), accepted)

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
