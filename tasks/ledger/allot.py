"""Allotting windows: one transaction decides which rows a run delivers, under which name."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.naming import NameFields, beside_schedule, fill_part, render, render_folder
from catalog.windows import Bounds, Frontier, Kind, State, Window, least_advanced, next_bounds
from tasks.ledger import tables
from tasks.ledger.generations import of_this_export
from tasks.ledger.records import DOWNLOADS, Allotment, moment_of, now_text, text_of, window_of


@dataclass(frozen=True, slots=True)
class GoingOn:
    """Where an export's next window belongs: its generation, the bounds it follows, and whose they are."""

    generation: int
    previous: Bounds | None
    window: Window | None


def allot(
    connection: Connection,
    export: Export,
    run_id: str,
    logical_time: datetime,
    explicit: Bounds | None,
    frontier: Frontier | None,
) -> Allotment:
    """The window of this run, within the caller's transaction; see `Ledger.allot`."""
    if own := windows(connection, select(tables.window).filter_by(run_id=run_id)):
        return Allotment(own[0], None)
    newest = newest_window(connection, export.id)
    if explicit is not None:
        kind: Kind = "backfill"
        generation, bounds = (newest.generation if newest else going_on(connection, export).generation), explicit
    else:
        kind = "scheduled" if export.cursor else "full"
        if kind == "scheduled" and newest is not None and logical_time <= newest.logical_time:
            return Allotment(None, newest)
        going = going_on(connection, export)
        following = next_bounds(export, going.previous, logical_time, frontier)
        if following is None:
            # A bound that has not moved is covered by nobody: what came meanwhile is not settled yet.
            return Allotment(None, None, frontier.held_by) if frontier else Allotment(None, newest)
        generation, bounds = going.generation, following
    window = _named(export, run_id, logical_time, kind, generation, bounds, frontier)
    _refuse_taken_name(connection, window, export)
    _insert(connection, window, _targets(export), frontier)
    return Allotment(window, None, frontier.held_by if frontier else None)


def going_on(connection: Connection, export: Export) -> GoingOn:
    """Where the export's next window belongs: a new generation when its source changed, or one was opened."""
    newest = newest_window(connection, export.id)
    order = tables.generation.c.number.desc()
    opened = connection.execute(select(tables.generation).filter_by(export=export.id).order_by(order)).first()
    if opened is not None and (newest is None or opened.number > newest.generation):
        begun = Bounds(None, opened.low, None, moment_of(opened.since)) if opened.kind == "restart" else None
        return GoingOn(opened.number, begun, None)
    if newest is None:
        return GoingOn(1, None, None)
    if _definition(connection, newest.definition).source_key == export.source_key:
        return GoingOn(newest.generation, newest.bounds, newest)
    return GoingOn(newest.generation + 1, None, None)


def newest_window(connection: Connection, export_id: str) -> Window | None:
    """The newest window of the export that has this id now and that is no backfill."""
    query = select(tables.window).filter_by(export=export_id).where(tables.window.c.kind != "backfill")
    query = query.where(of_this_export(export_id))
    order = (tables.window.c.logical_time.desc(), tables.window.c.generation.desc())
    found = windows(connection, query.order_by(*order).limit(1))
    return found[0] if found else None


def windows(connection: Connection, query: Select[Any]) -> list[Window]:
    """The windows that the query selects, each with the state of its least advanced delivery."""
    rows = connection.execute(query).mappings().all()
    delivery = tables.delivery.c
    states: dict[str, list[State]] = {}
    for begin in range(0, len(rows), 500):
        ids = [row["id"] for row in rows[begin : begin + 500]]
        for found in connection.execute(select(delivery.window, delivery.state).where(delivery.window.in_(ids))):
            states.setdefault(found.window, []).append(State(found.state))
    return [window_of(row, least_advanced(states[row["id"]])) for row in rows]


def _definition(connection: Connection, digest: str) -> Export:
    text = connection.execute(select(tables.definition.c.json).filter_by(hash=digest)).scalar_one()
    return Export.model_validate(json.loads(text))


def _named(
    export: Export,
    run_id: str,
    logical_time: datetime,
    kind: Kind,
    generation: int,
    bounds: Bounds,
    frontier: Frontier | None,
) -> Window:
    fields = NameFields(logical_time, export.timezone, bounds.since, bounds.until, export.id, run_id)
    name = render(export.file.name, fields, key="file.name")
    return Window(
        id=uuid.uuid4().hex,
        export=export.id,
        generation=generation,
        kind=kind,
        bounds=bounds,
        logical_time=logical_time,
        definition=export.hash,
        run_id=run_id,
        folder=render_folder(export.folder, fields),
        file_name=beside_schedule(name, run_id) if kind == "backfill" else name,
        source=frontier.source if frontier else None,
    )


def _targets(export: Export) -> tuple[str, ...]:
    return export.targets or (DOWNLOADS,)


def _insert(connection: Connection, window: Window, targets: Sequence[str], frontier: Frontier | None) -> None:
    row = {
        "id": window.id,
        "export": window.export,
        "generation": window.generation,
        "kind": window.kind,
        "low": window.bounds.low,
        "high": window.bounds.high,
        "since": text_of(window.bounds.since),
        "until": text_of(window.bounds.until),
        "logical_time": text_of(window.logical_time),
        "definition": window.definition,
        "run_id": window.run_id,
        "target": targets[0],
        "folder": window.folder,
        "file_name": window.file_name,
        "allotted_at": now_text(),
        "source": window.source,
        "held_by": frontier.held_by if frontier else None,
    }
    planned = {"window": window.id, "part": 1, "state": State.PLANNED, "updated_at": now_text()}
    connection.execute(insert(tables.window).values(row))
    connection.execute(insert(tables.delivery), [{**planned, "target": target} for target in targets])


def _refuse_taken_name(connection: Connection, window: Window, export: Export) -> None:
    delivery = tables.delivery.c
    there = select(delivery.window).where(delivery.target.in_(_targets(export)))
    same = select(tables.window).filter_by(export=window.export, folder=window.folder, file_name=window.file_name)
    same = same.where(tables.window.c.id.in_(there), of_this_export(export.id))
    if window.kind == "full":
        # A full export replaces its own earlier file. An unsettled one is no obstacle either: it is sent or superseded
        # before this one, and refusing the name would stop every run after a failed one.
        same = same.where(tables.window.c.kind != "full")
    for other in windows(connection, same):
        if other.state is State.SUPERSEDED:
            continue
        raise ExportError(
            Code.NAME_NOT_UNIQUE,
            f"the name {fill_part(window.file_name, 1)} was allotted to run {other.run_id[:8]} already",
            "use a finer date in file.name, as {date:%Y%m%dT%H%M%S}, or {run}; or relaunch that run first",
            export=window.export,
            key="file.name",
        )
