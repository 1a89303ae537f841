"""What the ledger is asked and told. Every method that writes is one transaction."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from functools import cached_property
from typing import Any

from sqlalchemy import ColumnElement, Engine, RowMapping, Select, insert, select, update

from catalog.definition import Export
from catalog.places import ledger_url
from catalog.receipt import DeliveredFile
from catalog.windows import Bounds, State, Window
from tasks.ledger import tables
from tasks.ledger.allot import allot, newest_window, windows
from tasks.ledger.connection import exists, open_engine, reading, writing
from tasks.ledger.records import (
    Allotment,
    Delivery,
    Extracted,
    delivered_of,
    delivery_of,
    extracted_of,
    now_text,
)


class Ledger:
    """The ledger behind one SQLAlchemy URL; it is made by the first write, never by looking."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    def default(cls) -> Ledger:
        """The ledger of `EXPORTS_LEDGER`."""
        return cls(ledger_url())

    @cached_property
    def engine(self) -> Engine:
        """The engine; it keeps no connection open."""
        return open_engine(self.url)

    def register(self, export: Export) -> str:
        """Keep a definition under its hash, which is returned; once is enough."""
        known = self.definition(export.hash)
        if known is None:
            row = {
                "hash": export.hash,
                "export": export.id,
                "json": json.dumps(export.frozen()),
                "registered_at": now_text(),
            }
            with writing(self.engine, lock=export.id) as connection:
                found = connection.execute(select(tables.definition).filter_by(hash=export.hash)).first()
                if found is None:
                    connection.execute(insert(tables.definition).values(row))
        return export.hash

    def registered(self) -> set[str]:
        """The hashes of all definitions that were ever registered."""
        return {row["hash"] for row in self._read(select(tables.definition.c.hash))}

    def definition(self, digest: str) -> Export | None:
        """The definition of that hash, or None when it was never registered."""
        rows = self._read(select(tables.definition.c.json).filter_by(hash=digest))
        return Export.model_validate(json.loads(rows[0]["json"])) if rows else None

    def allot(self, export: Export, run_id: str, logical_time: datetime, explicit: Bounds | None = None) -> Allotment:
        """The window of this run: allotted once, with bounds and names, before anything is read.

        A run that asks again gets its own again. A run whose time is not after the newest window's gets none.
        `explicit` bounds make a backfill, which never moves the watermark.
        Raises ExportError NAME_NOT_UNIQUE when another window of this export has the name already.
        """
        with writing(self.engine, lock=export.id) as connection:
            return allot(connection, export, run_id, logical_time, explicit)

    def window_of_run(self, run_id: str) -> Window | None:
        """The run's own window, or None when it was allotted none."""
        found = self._read_windows(select(tables.window).filter_by(run_id=run_id))
        return found[0] if found else None

    def newest(self, export_id: str) -> Window | None:
        """The newest window that is no backfill: its high bound is the watermark."""
        if not exists(self.engine):
            return None
        with reading(self.engine) as connection:
            return newest_window(connection, export_id)

    def windows(self, export_id: str, limit: int | None = None) -> list[Window]:
        """The export's windows, the newest first."""
        query = select(tables.window).filter_by(export=export_id)
        return self._read_windows(query.order_by(tables.window.c.logical_time.desc()).limit(limit))

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

    def extracted(self, window_id: str) -> list[Extracted]:
        """The window's extracted parts, in order."""
        query = select(tables.extraction).filter_by(window=window_id).order_by("part")
        return [extracted_of(row) for row in self._read(query)]

    def record_extracted(self, window: Window, files: Sequence[Extracted], run_id: str) -> None:
        """The final bytes stand in the spool; no files means there is nothing to deliver, found by this run."""
        delivery, extraction = tables.delivery, tables.extraction
        with writing(self.engine, lock=window.export) as connection:
            query = select(delivery.c.target, delivery.c.state).filter_by(window=window.id)
            before = connection.execute(query).all()
            if any(State(row.state) not in (State.PLANNED, State.EXTRACTED) for row in before):
                raise AssertionError(f"window {window.id} was extracted after its publication began")
            connection.execute(delivery.delete().filter_by(window=window.id))
            connection.execute(extraction.delete().filter_by(window=window.id))
            for file in files:
                connection.execute(
                    insert(extraction).values(
                        window=window.id,
                        part=file.part,
                        name=file.name,
                        spool_path=str(file.path),
                        rows=file.rows,
                        bytes=file.bytes,
                        sha256=file.sha256,
                        extracted_at=now_text(),
                    )
                )
            state = State.EXTRACTED if files else State.EMPTY
            for target in dict.fromkeys(row.target for row in before):
                for part in [file.part for file in files] or [1]:
                    values = {
                        "window": window.id,
                        "target": target,
                        "part": part,
                        "state": state,
                        "committed_by": None if files else run_id,
                        "updated_at": now_text(),
                    }
                    connection.execute(insert(delivery).values(values))

    def record_publishing(self, delivery: Delivery, temp_name: str, path: str, identity: str) -> None:
        """Every byte is at the target under `temp_name`; publishing may begin."""
        self._move(
            delivery,
            tables.delivery.c.state.in_({State.EXTRACTED, State.PUBLISHING}),
            state=State.PUBLISHING,
            temp_name=temp_name,
            path=path,
            target_identity=identity,
        )

    def record_committed(self, delivery: Delivery, run_id: str) -> None:
        """The file stands under its final name, or was taken from there. Once more by the same run changes nothing."""
        columns = tables.delivery.c
        # The answer to a commit can be lost, and the step is then tried again.
        done = (columns.state == State.COMMITTED) & (columns.committed_by == run_id)
        self._move(delivery, (columns.state == State.PUBLISHING) | done, state=State.COMMITTED, committed_by=run_id)

    def supersede(self, window: Window) -> None:
        """What this window meant cannot be read any more: a later run of a full export took its place."""
        if window.kind != "full":
            raise AssertionError(f"window {window.id} has bounds: superseding it would lose its rows")
        with writing(self.engine, lock=window.export) as connection:
            query = update(tables.delivery).filter_by(window=window.id)
            connection.execute(query.values(state=State.SUPERSEDED, updated_at=now_text()))

    def redefine(self, window: Window, export: Export) -> None:
        """The window is extracted with a later, corrected definition of the same source."""
        with writing(self.engine, lock=window.export) as connection:
            connection.execute(update(tables.window).filter_by(id=window.id).values(definition=export.hash))

    def revive(self, window: Window) -> None:
        """A superseded window is wanted after all: its own run was relaunched."""
        with writing(self.engine, lock=window.export) as connection:
            query = update(tables.delivery).filter_by(window=window.id, state=State.SUPERSEDED)
            connection.execute(query.values(state=State.PLANNED, updated_at=now_text()))

    def _move(self, delivery: Delivery, before: ColumnElement[bool], **values: Any) -> None:
        query = update(tables.delivery).filter_by(window=delivery.window, target=delivery.target, part=delivery.part)
        with writing(self.engine, lock=delivery.window) as connection:
            moved = connection.execute(query.where(before).values(**values, updated_at=now_text()))
            if moved.rowcount != 1:
                raise AssertionError(f"delivery of window {delivery.window} may not become {values['state']} now")

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
        # Not by state: a window that was superseded half-way has delivered some of its parts.
        committed = query.where(delivery.committed_by.is_not(None), delivery.target == target, delivery.path == path)
        return bool(self._read(committed.limit(1)))

    def settled_by(self, run_id: str) -> str | None:
        """The run that settled the last of this run's own window, or None while some of it is outstanding."""
        query = select(tables.delivery.c.committed_by).join(tables.window).where(tables.window.c.run_id == run_id)
        found = [row["committed_by"] for row in self._read(query.order_by(tables.delivery.c.updated_at))]
        return found[-1] if found and all(found) else None

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
            .where(condition)
            .order_by(window.logical_time, delivery.target, delivery.part)
        )
        return [delivered_of(row) for row in self._read(query)]

    def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        if not exists(self.engine):
            return []
        with reading(self.engine) as connection:
            return connection.execute(query).mappings().all()

    def _read_windows(self, query: Select[Any]) -> list[Window]:
        if not exists(self.engine):
            return []
        with reading(self.engine) as connection:
            return windows(connection, query)
