"""What the ledger is asked and told. Every method that writes is one transaction."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, RowMapping, Select, func, insert, select, update

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.naming import NameFields, fill_part, render, render_folder
from catalog.places import ledger_url
from catalog.receipt import DeliveredFile
from catalog.windows import Bounds, Kind, State, Window, instant, next_bounds
from tasks.ledger import tables
from tasks.ledger.connection import exists, open_engine, reading, writing

#: The target of a one shot that names none: a local folder for just this.
DOWNLOADS = "downloads"


@dataclass(frozen=True, slots=True)
class Allotment:
    """The run's own window, or the window of the run that covered its time, or neither when no time has passed."""

    window: Window | None
    covered_by: Window | None


@dataclass(frozen=True, slots=True)
class Extracted:
    """One extracted part: its final name, and where its bytes stand in the spool of the worker that wrote it."""

    part: int
    name: str
    path: Path
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One part on its way to one target."""

    window: str
    target: str
    part: int
    state: State
    temp_name: str | None
    path: str | None
    target_identity: str | None
    committed_by: str | None
    updated_at: datetime


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
            row = {"hash": export.hash, "export": export.id, "json": json.dumps(export.frozen()), "registered_at": _now()}
            with writing(self.engine, lock=export.id) as connection:
                found = connection.execute(select(tables.definition).filter_by(hash=export.hash)).first()
                if found is None:
                    connection.execute(insert(tables.definition).values(row))
        return export.hash

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
            if own := self._windows(connection, select(tables.window).filter_by(run_id=run_id)):
                return Allotment(own[0], None)
            newest = self._newest(connection, export.id)
            kind: Kind = "backfill" if explicit else "scheduled" if export.cursor else "full"
            generation, previous_high = 1, None
            if newest is not None:
                earlier = self.definition(newest.definition)
                same_source = earlier is not None and earlier.source_key == export.source_key
                generation = newest.generation if same_source else newest.generation + 1
                previous_high = newest.bounds.high if same_source else None
                if kind == "scheduled" and logical_time <= newest.logical_time:
                    return Allotment(None, newest)
            bounds = explicit or next_bounds(export, previous_high, logical_time)
            if bounds is None:
                return Allotment(None, newest)
            return Allotment(self._insert(connection, export, run_id, logical_time, kind, generation, bounds), None)

    def _insert(
        self,
        connection: Connection,
        export: Export,
        run_id: str,
        logical_time: datetime,
        kind: Kind,
        generation: int,
        bounds: Bounds,
    ) -> Window:
        fields = NameFields(logical_time, export.timezone, bounds.since, bounds.until, export.id, run_id)
        window = Window(
            id=uuid.uuid4().hex,
            export=export.id,
            generation=generation,
            kind=kind,
            bounds=bounds,
            logical_time=logical_time,
            definition=export.hash,
            run_id=run_id,
            folder=render_folder(export.folder, fields),
            file_name=render(export.file.name, fields, key="file.name"),
        )
        target = export.target or DOWNLOADS
        self._refuse_taken_name(connection, window, target, may_replace=export.cursor is None)
        connection.execute(
            insert(tables.window).values(
                id=window.id,
                export=window.export,
                generation=generation,
                kind=kind,
                low=bounds.low,
                high=bounds.high,
                since=_text(bounds.since),
                until=_text(bounds.until),
                logical_time=_text(logical_time),
                definition=window.definition,
                run_id=run_id,
                target=target,
                folder=window.folder,
                file_name=window.file_name,
                allotted_at=_now(),
            )
        )
        connection.execute(
            insert(tables.delivery).values(window=window.id, target=target, part=1, state=State.PLANNED, updated_at=_now())
        )
        return window

    def _refuse_taken_name(self, connection: Connection, window: Window, target: str, *, may_replace: bool) -> None:
        same = select(tables.window).filter_by(
            export=window.export, target=target, folder=window.folder, file_name=window.file_name
        )
        for other in self._windows(connection, same):
            # A full export may replace its own earlier file, once that one is out of the way.
            if other.state is State.SUPERSEDED or (may_replace and other.state.settled):
                continue
            raise ExportError(
                Code.NAME_NOT_UNIQUE,
                f"the name {fill_part(window.file_name, 1)} was allotted to run {other.run_id[:8]} already",
                "use a finer date in file.name, as {date:%Y%m%dT%H%M%S}, or {run}; or finish that run first",
                export=window.export,
                key="file.name",
            )

    def window_of_run(self, run_id: str) -> Window | None:
        """The run's own window, or None when it was allotted none."""
        found = self._read_windows(select(tables.window).filter_by(run_id=run_id))
        return found[0] if found else None

    def newest(self, export_id: str) -> Window | None:
        """The newest window that is no backfill: its high bound is the watermark."""
        if not exists(self.engine):
            return None
        with reading(self.engine) as connection:
            return self._newest(connection, export_id)

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
        return [_delivery(row) for row in self._read(query.order_by("target", "part"))]

    def extracted(self, window_id: str) -> list[Extracted]:
        """The window's extracted parts, in order."""
        query = select(tables.extraction).filter_by(window=window_id).order_by("part")
        return [
            Extracted(row["part"], row["name"], Path(row["spool_path"]), row["rows"], row["bytes"], row["sha256"])
            for row in self._read(query)
        ]

    def record_extracted(self, window: Window, files: Sequence[Extracted]) -> None:
        """The final bytes stand in the spool; no files means there is nothing to deliver."""
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
                        extracted_at=_now(),
                    )
                )
            state = State.EXTRACTED if files else State.EMPTY
            for target in dict.fromkeys(row.target for row in before):
                for part in [file.part for file in files] or [1]:
                    values = {"window": window.id, "target": target, "part": part, "state": state, "updated_at": _now()}
                    connection.execute(insert(delivery).values(values))

    def record_publishing(self, delivery: Delivery, temp_name: str, path: str, identity: str) -> None:
        """Every byte is at the target under `temp_name`; publishing may begin."""
        self._move(
            delivery,
            {State.EXTRACTED, State.PUBLISHING},
            state=State.PUBLISHING,
            temp_name=temp_name,
            path=path,
            target_identity=identity,
        )

    def record_committed(self, delivery: Delivery, run_id: str) -> None:
        """The file stands under its final name, or was taken from there."""
        self._move(delivery, {State.PUBLISHING}, state=State.COMMITTED, committed_by=run_id)

    def supersede(self, window: Window) -> None:
        """What this window meant cannot be read any more: a later run of a full export took its place."""
        with writing(self.engine, lock=window.export) as connection:
            query = update(tables.delivery).filter_by(window=window.id)
            connection.execute(query.values(state=State.SUPERSEDED, updated_at=_now()))

    def revive(self, window: Window) -> None:
        """A superseded window is wanted after all: its own run was relaunched."""
        with writing(self.engine, lock=window.export) as connection:
            query = update(tables.delivery).filter_by(window=window.id, state=State.SUPERSEDED)
            connection.execute(query.values(state=State.PLANNED, updated_at=_now()))

    def _move(self, delivery: Delivery, before: set[State], **values: Any) -> None:
        query = update(tables.delivery).filter_by(window=delivery.window, target=delivery.target, part=delivery.part)
        with writing(self.engine, lock=delivery.window) as connection:
            moved = connection.execute(
                query.where(tables.delivery.c.state.in_(before)).values(**values, updated_at=_now())
            )
            if moved.rowcount != 1:
                raise AssertionError(f"delivery of window {delivery.window} is not in state {sorted(before)}")

    def delivered_by_run(self, run_id: str) -> list[DeliveredFile]:
        """The files this run delivered, its own and those it caught up with, by time."""
        return self._delivered(tables.delivery.c.committed_by == run_id)

    def delivered_of_window(self, window_id: str) -> list[DeliveredFile]:
        """The files of one window that have been delivered."""
        return self._delivered((tables.delivery.c.window == window_id) & tables.delivery.c.committed_by.is_not(None))

    def has_delivered(self, export_id: str, target: str, path: str) -> bool:
        """Whether this export has put a file of that address on the target before."""
        query = select(tables.delivery.c.part).join(tables.window).where(tables.window.c.export == export_id)
        return bool(self._read(query.filter(tables.delivery.c.state == State.COMMITTED, tables.delivery.c.target == target, tables.delivery.c.path == path).limit(1)))

    def settled_by(self, run_id: str) -> str | None:
        """The run that delivered this run's own window, or None while nobody has."""
        query = select(tables.delivery.c.committed_by).join(tables.window).where(tables.window.c.run_id == run_id)
        found = {row["committed_by"] for row in self._read(query)}
        return found.pop() if len(found) == 1 else None

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
        return [
            DeliveredFile(
                name=row["name"],
                path=row["path"],
                target=row["target"],
                rows=row["rows"],
                bytes=row["bytes"],
                sha256=row["sha256"],
                since=_moment(row["since"]),
                until=_moment(row["until"]),
            )
            for row in self._read(query)
        ]

    def _read(self, query: Select[Any]) -> Sequence[RowMapping]:
        if not exists(self.engine):
            return []
        with reading(self.engine) as connection:
            return connection.execute(query).mappings().all()

    def _read_windows(self, query: Select[Any]) -> list[Window]:
        if not exists(self.engine):
            return []
        with reading(self.engine) as connection:
            return self._windows(connection, query)

    def _newest(self, connection: Connection, export_id: str) -> Window | None:
        query = select(tables.window).filter_by(export=export_id).where(tables.window.c.kind != "backfill")
        order = (tables.window.c.logical_time.desc(), tables.window.c.generation.desc())
        found = self._windows(connection, query.order_by(*order).limit(1))
        return found[0] if found else None

    def _windows(self, connection: Connection, query: Select[Any]) -> list[Window]:
        rows = connection.execute(query).mappings().all()
        if not rows:
            return []
        delivery = tables.delivery.c
        states: dict[str, list[State]] = {}
        for begin in range(0, len(rows), 500):
            ids = [row["id"] for row in rows[begin : begin + 500]]
            for found in connection.execute(select(delivery.window, delivery.state).where(delivery.window.in_(ids))):
                states.setdefault(found.window, []).append(State(found.state))
        return [_window(row, min(states[row["id"]], key=list(State).index)) for row in rows]


def _window(row: RowMapping, state: State) -> Window:
    logical_time = _moment(row["logical_time"])
    assert logical_time is not None, "the column is not nullable"
    return Window(
        id=row["id"],
        export=row["export"],
        generation=row["generation"],
        kind=row["kind"],
        bounds=Bounds(row["low"], row["high"], _moment(row["since"]), _moment(row["until"])),
        logical_time=logical_time,
        definition=row["definition"],
        run_id=row["run_id"],
        folder=row["folder"],
        file_name=row["file_name"],
        state=state,
    )


def _delivery(row: RowMapping) -> Delivery:
    values = {**row, "state": State(row["state"]), "updated_at": datetime.fromisoformat(row["updated_at"])}
    return Delivery(**values)


def _now() -> str:
    return instant(datetime.now(UTC))


def _text(moment: datetime | None) -> str | None:
    return instant(moment) if moment else None


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
