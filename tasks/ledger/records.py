"""The ledger's rows as values, and its moments as texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import RowMapping

from catalog.layout import Layout
from catalog.receipt import DeliveredFile
from catalog.windows import Bounds, State, Window, instant

#: The target of a one shot that names none: a local folder for just this.
DOWNLOADS = "downloads"

Kind = Literal["data", "checksum", "manifest", "done"]


@dataclass(frozen=True, slots=True)
class Allotment:
    """The run's own window, or the window of the run that covered its time, or neither when no time has passed.

    `held_by` says who keeps the upper bound back, when somebody does.
    """

    window: Window | None
    covered_by: Window | None
    held_by: str | None = None


@dataclass(frozen=True, slots=True)
class Extracted:
    """One extracted part: its final name, and where its bytes stand in the spool of the worker that wrote it.

    What goes with the data comes after the last part of it: checksums, then the manifest, then the done marker.
    """

    part: int
    name: str
    path: Path
    rows: int
    bytes: int
    sha256: str
    kind: Kind = "data"


@dataclass(frozen=True, slots=True)
class Findings:
    """What an extraction found beside its rows, for the report and for the windows that follow.

    `null_cursors` rows were left out, and `future` ones wait for their time, the last for that of the cursor `latest`.
    `late` ones were delivered though they came after an earlier window; `missed` came later still and could only be
    counted. `keys` are hashes of delivered rows from `keyed_from` on, and `keyed_by`
    changes when hashes and counts from before cannot be compared with these. `counted` says how many rows the span of
    each window (by id) holds now; `audited` whether windows older than the lookback were among them. `late_from` is
    where late rows were looked for: keys from there on are needed once more when the window is read again.
    `layout` is that of its file, None without one; `columns_changed` says in words how it differs from the one before.
    """

    null_cursors: int = 0
    future: int = 0
    latest: str | None = None
    late: int = 0
    missed: int = 0
    keys: frozenset[str] = frozenset()
    keyed_from: str | None = None
    keyed_by: str | None = None
    late_from: str | None = None
    counted: Mapping[str, int] = field(default_factory=dict)
    audited: bool = False
    layout: Layout | None = None
    columns_changed: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """One part on its way to one target; `publishing_at` is when its temp name was recorded.

    `cleared_at` is when retention was done with the file that was delivered.
    """

    window: str
    target: str
    part: int
    state: State
    temp_name: str | None
    path: str | None
    target_identity: str | None
    committed_by: str | None
    updated_at: datetime
    publishing_at: datetime | None
    cleared_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delivered:
    """A file as it was delivered, of any kind. `replaced`: what stands under its name is of a later delivery."""

    delivery: Delivery
    folder: str
    name: str
    bytes: int
    sha256: str
    replaced: bool


@dataclass(frozen=True, slots=True)
class LastFile:
    """The file that was delivered last. `accepted`: a person said that the next may have other columns."""

    name: str
    logical_time: datetime
    layout: Layout
    accepted: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One turn of a run at an export's work, under its lock.

    `ended_at` None is a run that is at work or died without a word; `took_over` the fence of such a dead turn that
    this one found. `window` is the id of the window that stood in its way.
    """

    export: str
    fence: int
    run_id: str
    host: str
    pid: int
    began_at: datetime
    ended_at: datetime | None
    error_code: str | None
    window: str | None
    took_over: int | None


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
        source=row["source"],
        state=state,
    )


def delivery_of(row: Mapping[Any, Any]) -> Delivery:
    """A row of the delivery table."""
    moments = {name: moment_of(row[name]) for name in ("updated_at", "publishing_at", "cleared_at")}
    values: dict[str, Any] = {**row, **moments, "state": State(row["state"])}
    return Delivery(**values)


def attempt_of(row: RowMapping) -> Attempt:
    """A row of the attempt table."""
    moments = {"began_at": moment_of(row["began_at"]), "ended_at": moment_of(row["ended_at"])}
    values: dict[str, Any] = {**row, **moments}
    return Attempt(**values)


def extracted_of(row: RowMapping) -> Extracted:
    """A row of the extraction table."""
    where = Path(row["spool_path"])
    return Extracted(row["part"], row["name"], where, row["rows"], row["bytes"], row["sha256"], row["kind"])


def delivered_of(row: RowMapping) -> DeliveredFile:
    """A delivered part, joined with its extraction and window."""
    times = {"since": moment_of(row["since"]), "until": moment_of(row["until"])}
    values: dict[str, Any] = {**row, **times, "path": row["path"] or row["name"]}
    return DeliveredFile(**values)


def retained_of(row: RowMapping) -> Delivered:
    """A delivery, joined with its extraction and its window's folder; `later` is whether another took its place."""
    beside = ("folder", "name", "bytes", "sha256", "later")
    own = {name: value for name, value in row.items() if name not in beside}
    folder, name, size, sha256, later = (row[key] for key in beside)
    return Delivered(delivery_of(own), folder, name, size, sha256, bool(later))


def now_text() -> str:
    """This moment, as the ledger writes it."""
    return instant(datetime.now(UTC))


def text_of(moment: datetime | None) -> str | None:
    """A moment as the ledger writes it."""
    return instant(moment) if moment else None


def moment_of(text: str | None) -> datetime | None:
    """A moment as the ledger wrote it."""
    return datetime.fromisoformat(text) if text else None
