"""From the spool to the target, whole or not at all: upload, publish, commit, each recorded before the next begins."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.load import load_target
from catalog.windows import State, Window
from tasks import spool
from tasks.credentials import Lookup
from tasks.ledger import DOWNLOADS, Delivery, Extracted, Ledger, Turn
from tasks.publish.choose import open_downloads, open_publisher
from tasks.publish.contract import Publisher, Stat, temp_name

#: After this, a clean-up job may have taken the temp file, and its absence proves nothing.
_WITNESS_AGE = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Parcel:
    """One part of one window on its way to one target."""

    window: Window
    delivery: Delivery
    file: Extracted

    @property
    def temp_name(self) -> str:
        """The name it was uploaded under last."""
        assert self.delivery.temp_name is not None, "its upload has begun"
        return self.delivery.temp_name


def parcels(ledger: Ledger, window: Window) -> list[Parcel]:
    """What of the window is not settled yet, by part."""
    files = {file.part: file for file in ledger.extracted(window.id)}
    return [
        Parcel(window, delivery, files[delivery.part])
        for delivery in ledger.deliveries(window.id)
        if not delivery.state.settled
    ]


def publisher_of(target: str, lookup: Lookup) -> Publisher:
    """The publisher of a target of the catalog, or of the local downloads."""
    return open_downloads() if target == DOWNLOADS else open_publisher(target, load_target(target), lookup)


def upload(ledger: Ledger, turn: Turn, publisher: Publisher, parcel: Parcel) -> Parcel:
    """Every byte under a temp name, size checked, then recorded. A delivery that got this far is left as it is.

    Returns the parcel as the ledger knows it now, which is the one to publish: it says what the witness rule asks.
    Raises ExportError SPOOL_DAMAGED when the spool's bytes are not the ones that were extracted, and FENCED_OUT when
    another run has taken over.
    """
    parcel = _as_recorded(ledger, parcel)
    if parcel.delivery.state in (State.PUBLISHING, State.AMBIGUOUS):
        return parcel
    if not spool.is_there(parcel.file):
        raise ExportError(
            Code.SPOOL_DAMAGED,
            f"the spool file of {parcel.file.name} is gone, or is not what was extracted",
            "relaunch: the window is read again",
        )
    # One that was fenced out must not touch the temp file, which may be another's by now.
    turn.confirm()
    folder = parcel.window.folder
    if parcel.delivery.temp_name is not None:
        publisher.remove(folder, parcel.delivery.temp_name)
    # A name of its own for each try: what a dead one asked of a server may be done when this one's bytes are there.
    own = temp_name(parcel.file.name, parcel.window.id, uuid.uuid4().hex[:8])
    temp = publisher.begin(folder, parcel.file.name, own)
    turn.record_uploading(parcel.delivery, temp)
    publisher.put(parcel.file.path, folder, temp)
    path = publisher.address(folder, parcel.file.name)
    turn.record_publishing(parcel.delivery, temp, path, publisher.identity)
    return _as_recorded(ledger, parcel)


def _as_recorded(ledger: Ledger, parcel: Parcel) -> Parcel:
    own = (parcel.delivery.target, parcel.delivery.part)
    (delivery,) = [found for found in ledger.deliveries(parcel.window.id) if (found.target, found.part) == own]
    return Parcel(parcel.window, delivery, parcel.file)


def publish(turn: Turn, publisher: Publisher, parcel: Parcel, *, replace: bool) -> None:
    """Give the file its final name, unless that has happened: the temp file is the witness.

    Raises ExportError FILE_EXISTS, FILE_FOREIGN or PUBLICATION_UNKNOWN where a person has to decide, and FENCED_OUT
    when another run has taken over.
    """
    turn.confirm()
    folder, name = parcel.window.folder, parcel.file.name
    temp, final = publisher.stat(folder, parcel.temp_name), publisher.stat(folder, name)
    if parcel.delivery.target_identity != publisher.identity and (final is None or not _same(final, parcel.file)):
        # A temp that stands on another target may be left from an upload before this one: it is no witness.
        turn.record_ambiguous(parcel.delivery)
        raise _unknown(publisher, parcel)
    if temp is not None:
        if final is not None and not replace and _same(final, parcel.file):
            # A rename that links, then unlinks, was interrupted half-way.
            publisher.remove(folder, parcel.temp_name)
        else:
            publisher.publish(folder, parcel.temp_name, name, replace=replace)
    elif final is None:
        if not _was_taken(publisher, parcel):
            turn.record_ambiguous(parcel.delivery)
            raise _unknown(publisher, parcel)
    elif not _same(final, parcel.file):
        turn.record_ambiguous(parcel.delivery)
        raise ExportError(
            Code.FILE_FOREIGN,
            f"{publisher.address(folder, name)} holds other bytes than this export published ({final.size} bytes)",
            f"see who wrote it; move it away and relaunch, or {_resolve_hint(parcel)}",
        )


def commit(turn: Turn, parcel: Parcel) -> None:
    """The file is delivered, by the run whose turn it is."""
    turn.record_committed(parcel.delivery)


def may_replace(ledger: Ledger, export: Export, publisher: Publisher, parcel: Parcel) -> bool:
    """Whether a file of that name gives way: by `conflict: replace`, or when a full export wrote it itself earlier.

    `export` is what the run was given, not what its window was allotted with: a person who met FILE_EXISTS edits it.
    """
    if export.file.conflict == "replace":
        return True
    path = publisher.address(parcel.window.folder, parcel.file.name)
    return parcel.window.kind == "full" and ledger.has_delivered(export.id, parcel.delivery.target, path)


def _same(found: Stat, file: Extracted) -> bool:
    return found.holds(file.bytes, file.sha256)


def _was_taken(publisher: Publisher, parcel: Parcel) -> bool:
    """Temp and final name are both gone: whether that proves that the file was published and taken by its consumer."""
    delivery = parcel.delivery
    if publisher.promise == "may ask":
        return False
    # A clock that was set back makes everything look young, and even younger than nothing.
    if abs(datetime.now(UTC) - (delivery.publishing_at or delivery.updated_at)) < _WITNESS_AGE:
        # An unmounted folder shows neither file, and proves nothing.
        publisher.check(parcel.window.folder)
        return True
    return False


def _unknown(publisher: Publisher, parcel: Parcel) -> ExportError:
    return ExportError(
        Code.PUBLICATION_UNKNOWN,
        f"whether {publisher.address(parcel.window.folder, parcel.file.name)} was published cannot be known any more",
        f"ask whether it arrived; then {_resolve_hint(parcel)}",
    )


def _resolve_hint(parcel: Parcel) -> str:
    window = parcel.window
    asked = f"exports ledger {window.export} --resolve {window.id[:8]} sent|again|abandon"
    return f"`{asked} --target {parcel.delivery.target}`"
