"""Definitions, moments and spooled files for tests of the ledger and of what is recorded in it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from postgres_server import Postgres

from catalog.definition import Export
from catalog.naming import fill_part
from catalog.windows import Bounds, Window
from tasks.ledger import Delivery, Extracted, Ledger, Turn

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def hour(number: float) -> datetime:
    return START + timedelta(hours=number)


def incremental(export_id: str = "orders", **keys: Any) -> Export:
    content = {
        "id": export_id,
        "name": export_id,
        "type": "incremental",
        "database": "crm",
        "table": "orders",
        "cursor": {"column": "updated_at", "lag": "1m"},
        "file": {"name": "orders_{date:%Y%m%dT%H%M%S%f}.csv"},
        "target": "drop",
    }
    return Export.model_validate({**content, **keys})


def full(export_id: str = "orders", **keys: Any) -> Export:
    content: dict[str, Any] = {"type": "periodic_full", "cursor": None, "file": {"name": "orders.csv"}}
    return incremental(export_id, **{**content, **keys})


def a_run() -> str:
    return str(uuid.uuid4())


def allotted(
    ledger: Ledger, export: Export, at: datetime, run_id: str | None = None, explicit: Bounds | None = None
) -> Window:
    ledger.register(export)
    window = ledger.allot(export, run_id or a_run(), at, explicit).window
    assert window is not None
    return window


def spooled(folder: Path, window: Window, *contents: bytes) -> list[Extracted]:
    """Files in a spool, one part each, with 3 rows each."""
    folder.mkdir(exist_ok=True)
    files = []
    for part, content in enumerate(contents, start=1):
        path = folder / f"{window.id}_{part}"
        path.touch(mode=0o600)
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files.append(Extracted(part, fill_part(window.file_name, part), path, 3, len(content), digest))
    return files


def as_turn(ledger: Ledger, work: Callable[[Turn], None], run_id: str = "extractor", export_id: str = "orders") -> None:
    """Do one thing under the export's lock, in a turn of its own."""
    with ledger.take_turn(export_id, run_id, wait_seconds=0) as turn:
        work(turn)


def record_extracted(ledger: Ledger, window: Window, files: list[Extracted], run_id: str = "extractor") -> None:
    as_turn(ledger, lambda turn: turn.record_extracted(window, files), run_id, window.export)


def record_publishing(ledger: Ledger, delivery: Delivery, path: str = "/drop/o.csv") -> None:
    as_turn(ledger, lambda turn: turn.record_publishing(delivery, ".temp", path, "file:///drop"))


def record_committed(ledger: Ledger, delivery: Delivery, run_id: str) -> None:
    as_turn(ledger, lambda turn: turn.record_committed(delivery), run_id)


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger that nobody has written yet, once of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'state' / 'ledger.sqlite'}"
    else:
        postgres: Postgres = request.getfixturevalue("postgres")
        yield postgres.url(postgres.fresh_database())


@pytest.fixture
def ledger(ledger_url: str) -> Ledger:
    return Ledger(ledger_url)
