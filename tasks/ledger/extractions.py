"""Recording an extraction: its parts, its deliveries to come, and what it found, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update

from catalog.errors import Code, ExportError
from catalog.windows import UNSETTLED, State, Window, instant
from tasks.ledger import tables
from tasks.ledger.records import Extracted, Findings, now_text

_ROWS_A_STATEMENT = 5_000


def record_extraction(
    connection: Connection, window: Window, files: Sequence[Extracted], findings: Findings, run_id: str
) -> None:
    """The window's final bytes stand in the spool; without files it is settled as empty, by this run.

    What went out already stays as it is, when these are the same bytes: only the rest is still to be sent. Raises
    ExportError PUBLICATION_UNKNOWN when they are not.
    """
    delivery = tables.delivery.c
    columns = (delivery.target, delivery.part, delivery.state, delivery.temp_name, delivery.publishing_at)
    before = connection.execute(select(*columns).where(delivery.window == window.id)).all()
    if not _may_have_appeared(window, before):
        _replace_parts(connection, window, files, before, run_id)
        _record_findings(connection, window, findings)
        _have_later_ones_read_again(connection, window)
    elif _has_the_same(connection, window, files):
        _have_the_rest_sent(connection, window, files)
    else:
        raise ExportError(
            Code.PUBLICATION_UNKNOWN,
            f"some of {window.first_name} was delivered, the spool has lost the rest, and read again it is another",
            f"`exports ledger {window.export} --resolve {window.id[:8]} again` sends all of it once more, "
            "`abandon` leaves it at what was delivered",
            export=window.export,
        )


def _may_have_appeared(window: Window, before: Sequence[Row[Any]]) -> bool:
    """Whether a target may show some of the window already, by what is recorded of its deliveries."""
    # An empty one too: the answer to this very transaction can be lost, and the step is then tried again.
    unsent = [row for row in before if row.state in (State.PLANNED, State.EXTRACTED, State.EMPTY)]
    if not unsent:
        raise AssertionError(f"window {window.id} was extracted after its publication began")
    # On a target no part is published before its last one is uploaded; version 1 did that, and knew no `publishing_at`.
    still_uploading = {row.target for row in unsent}
    uploaded = [
        row
        for row in before
        if row.state == State.PUBLISHING and row.publishing_at is not None and row.target in still_uploading
    ]
    given_up = [row for row in before if row.state == State.ABANDONED and row.publishing_at is None]
    return len(unsent) + len(uploaded) + len(given_up) < len(before)


def _replace_parts(
    connection: Connection, window: Window, files: Sequence[Extracted], before: Sequence[Row[Any]], run_id: str
) -> None:
    """The window's parts are these from now on, each still to be sent to every target that was not given up."""
    delivery, extraction = tables.delivery, tables.extraction
    for table in (delivery, extraction, tables.delivered_key):
        connection.execute(delete(table).filter_by(window=window.id))
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
                kind=file.kind,
                extracted_at=now_text(),
            )
        )
    # What an upload that died has left is removed by the next one of that part.
    left = {(row.target, row.part): row.temp_name for row in before}
    given_up = {row.target for row in before if row.state == State.ABANDONED}
    for target in dict.fromkeys(row.target for row in before):
        state = State.ABANDONED if target in given_up else State.EXTRACTED if files else State.EMPTY
        for part in [file.part for file in files] or [1]:
            values = {
                "window": window.id,
                "target": target,
                "part": part,
                "state": state,
                "temp_name": left.get((target, part)),
                "committed_by": run_id if state is State.EMPTY else None,
                "updated_at": now_text(),
            }
            connection.execute(insert(delivery).values(values))


def _has_the_same(connection: Connection, window: Window, files: Sequence[Extracted]) -> bool:
    """Whether these are the bytes that were extracted before, part for part."""
    columns = [tables.extraction.c[name] for name in ("part", "name", "bytes", "sha256")]
    known = connection.execute(select(*columns).filter_by(window=window.id)).all()
    found = [(file.part, file.name, file.bytes, file.sha256) for file in files]
    return sorted(map(tuple, known)) == sorted(found)


def _have_the_rest_sent(connection: Connection, window: Window, files: Sequence[Extracted]) -> None:
    extraction, delivery = tables.extraction, tables.delivery
    for file in files:
        known = update(extraction).filter_by(window=window.id, part=file.part)
        connection.execute(known.values(spool_path=str(file.path)))
    unsent = update(delivery).filter_by(window=window.id).where(delivery.c.state.in_([State.PLANNED, State.EXTRACTED]))
    connection.execute(unsent.values(state=State.EXTRACTED, updated_at=now_text()))


def _have_later_ones_read_again(connection: Connection, window: Window) -> None:
    """What was extracted after it may hold rows that came late for it, and read again it holds them itself."""
    known, delivery = tables.window.c, tables.delivery
    later = select(known.id).where(
        known.export == window.export,
        known.generation == window.generation,
        known.logical_time > instant(window.logical_time),
        known.late > 0,
        known.id.in_(select(delivery.c.window).where(delivery.c.state == State.EXTRACTED)),
        known.id.not_in(select(delivery.c.window).where(delivery.c.state != State.EXTRACTED)),
    )
    plan_anew(connection, connection.execute(later).scalars().all())


def plan_anew(connection: Connection, window_ids: Sequence[str]) -> None:
    """These windows are read again, all of each: their parts need not be the same ones."""
    delivery, extraction = tables.delivery, tables.extraction
    connection.execute(delete(extraction).where(extraction.c.window.in_(window_ids)))
    connection.execute(delete(delivery).where(delivery.c.window.in_(window_ids), delivery.c.part > 1))
    planned = update(delivery).where(delivery.c.window.in_(window_ids))
    connection.execute(planned.values(state=State.PLANNED, committed_by=None, cleared_at=None, updated_at=now_text()))


def _record_findings(connection: Connection, window: Window, findings: Findings) -> None:
    found = {
        "null_cursors": findings.null_cursors,
        "future": findings.future,
        "latest": findings.latest,
        "late": findings.late,
        "missed": findings.missed,
        "keyed_from": findings.keyed_from,
        "keyed_by": findings.keyed_by,
        "audited_at": instant(window.logical_time) if findings.audited else None,
        "columns": findings.layout.to_text() if findings.layout else None,
        "columns_changed": findings.columns_changed,
    }
    connection.execute(update(tables.window).filter_by(id=window.id).values(found))
    for window_id, count in findings.counted.items():
        connection.execute(update(tables.window).filter_by(id=window_id).values(counted=count))
    hashes = sorted(findings.keys)
    for begin in range(0, len(hashes), _ROWS_A_STATEMENT):
        rows = [{"window": window.id, "hash": one} for one in hashes[begin : begin + _ROWS_A_STATEMENT]]
        connection.execute(insert(tables.delivered_key), rows)
    if findings.keyed_from is not None:
        _forget_old_keys(connection, window, min(findings.keyed_from, findings.late_from or findings.keyed_from))


def _forget_old_keys(connection: Connection, window: Window, needed_from: str) -> None:
    """Drop the keys of windows that ended before what this, an outstanding or a later one can look back on."""
    older = select(tables.window.c.id).filter_by(export=window.export).where(tables.window.c.high < needed_from)
    open_ones = select(tables.delivery.c.window).where(tables.delivery.c.state.in_(UNSETTLED))
    # A backfill does not look back, and one that failed may wait for its own run for ever.
    planned = select(tables.window.c.id).filter_by(export=window.export, kind="scheduled")
    planned = planned.where(tables.window.c.id.in_(open_ones))
    if connection.execute(planned.where(tables.window.c.logical_time < instant(window.logical_time))).first():
        return
    connection.execute(delete(tables.delivered_key).where(tables.delivered_key.c.window.in_(older)))
    forgotten = update(tables.window).where(tables.window.c.id.in_(older), tables.window.c.keyed_from.is_not(None))
    connection.execute(forgotten.values(keyed_from=None))
