"""The ledger's rows as values, and its moments as texts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from catalog.receipt import DeliveredFile
from catalog.windows import Bounds, State, Window, instant

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


def window_of(row: RowMapping, state: State) -> Window:
    """A row of the window table, with the state that its deliveries give it."""
    logical_time = moment_of(row["logical_time"])
    assert logical_time is not None, "the column is not nullable"
    return Window(
        id=row["id"],
        export=row["export"],
        generation=row["generation"],
        kind=row["kind"],
        bounds=Bounds(row["low"], row["high"], moment_of(row["since"]), moment_of(row["until"])),
        logical_time=logical_time,
        definition=row["definition"],
        run_id=row["run_id"],
        folder=row["folder"],
        file_name=row["file_name"],
        state=state,
    )


def delivery_of(row: RowMapping) -> Delivery:
    """A row of the delivery table."""
    values = {**row, "state": State(row["state"]), "updated_at": datetime.fromisoformat(row["updated_at"])}
    return Delivery(**values)


def extracted_of(row: RowMapping) -> Extracted:
    """A row of the extraction table."""
    return Extracted(row["part"], row["name"], Path(row["spool_path"]), row["rows"], row["bytes"], row["sha256"])


def delivered_of(row: RowMapping) -> DeliveredFile:
    """A delivered part, joined with its extraction and window."""
    values: dict[str, Any] = dict(row)
    return DeliveredFile(**{**values, "since": moment_of(row["since"]), "until": moment_of(row["until"])})


def now_text() -> str:
    """This moment, as the ledger writes it."""
    return instant(datetime.now(UTC))


def text_of(moment: datetime | None) -> str | None:
    """A moment as the ledger writes it."""
    return instant(moment) if moment else None


def moment_of(text: str | None) -> datetime | None:
    """A moment as the ledger wrote it."""
    return datetime.fromisoformat(text) if text else None
