"""The story of a run: allot a window, extract, upload, publish, commit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Protocol

from catalog.definition import Export
from catalog.errors import Code, ExportError, Remedy
from catalog.windows import Bounds, State, Window
from flows.custom_code import transform_of
from flows.failures import Failure, as_one
from flows.remarks import remarks
from tasks import deliver, spool, steps
from tasks.credentials import Lookup
from tasks.deliver import Parcel
from tasks.ledger import Allotment, Attempt, Ledger, Turn
from tasks.partitions import Running
from tasks.retention import remove_older
from tasks.sidecars import write_again

#: States in which every byte is at the target.
_SENT = (State.PUBLISHING, State.AMBIGUOUS)
#: What the definition itself makes an error of.
_AS_DEFINED = (Code.CURSOR_NULL, Code.CURSOR_IN_FUTURE, Code.SCHEMA_CHANGED)


class Progress(Protocol):
    """Told how far a long extraction is."""

    def __call__(self, rows: int, size: int) -> None:
        """So many rows and bytes are written."""

    def finish(self) -> None:
        """The extraction is done."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with, so that its story is the same inside Prefect and without it.

    `step` gives one of `tasks.steps` ready to be called; `beside` begins one, with its arguments, that goes on beside
    others; `name` calls the run after its file; `tell` and `warn` say what happens; `bury` is told of a run that died
    at this work; `progress` follows an extraction of that export, into that file, of as many rows as the last had.
    """

    step: Callable[[Any, Export], Callable[..., Any]]
    beside: Callable[..., Running]
    name: Callable[[str], None]
    tell: Callable[[str], None]
    warn: Callable[[str], None]
    bury: Callable[[str], None]
    lookup: Lookup
    progress: Callable[[Export, str, int | None], Progress]


@dataclass(frozen=True, slots=True)
class Story:
    """One execution: what it delivers, where that is recorded, its id in Prefect, its logical time, and its means.

    `extract` is the step that brings a window's rows into the spool.
    """

    export: Export
    ledger: Ledger
    id: str
    logical_time: datetime
    means: Means
    extract: Any = steps.extract

    def deliver(self, explicit: Bounds | None) -> Allotment:
        """Allot this run's own window, then work off every outstanding one, the oldest first."""
        ledger, export, means = self.ledger, self.export, self.means
        _refuse_unregistered(ledger, export)
        allotment: Allotment = self._step(steps.allot_window)(
            ledger, export, self.id, self.logical_time, explicit, means.lookup
        )
        own = allotment.window
        means.name(own.first_name if own else f"{export.id}: nothing to do")
        if allotment.held_by is not None:
            means.warn(f"the upper bound is held back by {allotment.held_by}")
        with ledger.take_turn(export.id, self.id, on_wait=self._wait) as turn:
            self._tell_of_the_dead(turn)
            if own is not None and own.state is State.SUPERSEDED:
                turn.revive(own)
            self._work_off(turn)
            spool.sweep(export.id, ledger.outstanding(export.id))
        return allotment

    def _work_off(self, turn: Turn) -> None:
        """Deliver window after window; a target that fails is left alone from then on, and the others go on."""
        failed: dict[str, Failure] = {}
        while window := self._next(turn, failed):
            turn.at = window
            try:
                self._see_to_its_bytes(turn, window)
            except ExportError as error:
                if not failed:
                    raise self._with_the_way_out(error, window) from error.__cause__
                # It is tried once more below, where it stands in nobody's way.
                break
            failed |= self._send(turn, window, failed)
        if failed:
            self._extract_what_follows(turn)
            first = next(iter(failed.values()))
            turn.at = first.window
            raise as_one(failed) from first.error.__cause__

    def _next(self, turn: Turn, failed: Collection[str]) -> Window | None:
        """The oldest outstanding window that can still be delivered somewhere, and is this run's to deliver."""
        for window in self.ledger.outstanding(self.export.id):
            left = {found.target for found in self.ledger.deliveries(window.id) if not found.state.settled}
            if left <= set(failed):
                continue
            if window.run_id == self.id or window.kind == "scheduled":
                return window
            if window.kind == "backfill":
                # Only its own run works on a backfill: one that fails must not stop the schedule.
                continue
            if self._is_sent_as_it_stands(turn, window):
                return window
            turn.supersede(window)
        return None

    def _is_sent_as_it_stands(self, turn: Turn, window: Window) -> bool:
        # Yesterday's table cannot be read today: only what was extracted then can still be sent.
        return window.state in _SENT or self._stands(turn, window)

    def _stands(self, turn: Turn, window: Window) -> bool:
        """Whether the spool holds what is still to be uploaded; a lost sidecar is made again."""
        files = {file.part: file for file in self.ledger.extracted(window.id)}
        wanted = [
            files[delivery.part]
            for delivery in self.ledger.deliveries(window.id)
            if delivery.state in (State.PLANNED, State.EXTRACTED) and delivery.part in files
        ]
        lost = [file for file in wanted if not spool.stands([file])]
        if len(wanted) < len(files) and all(file.kind != "data" for file in lost):
            for file in lost:
                turn.record_made_again(window, file.part, write_again(window, file, list(files.values())))
            return True
        return bool(files) and not lost

    def _see_to_its_bytes(self, turn: Turn, window: Window) -> None:
        """Extract the window unless the spool holds it, or the target already has all of it."""
        if not self._stands(turn, window) and not self._all_sent(window):
            self._extract(turn, window, self.ledger.definition(window.definition) or self.export)

    def _extract_what_follows(self, turn: Turn) -> None:
        """What cannot be sent blocks the sending of what follows, but not its reading, which would get harder."""
        for window in self.ledger.outstanding(self.export.id):
            if window.kind == "scheduled":
                try:
                    self._see_to_its_bytes(turn, window)
                except ExportError as error:
                    self.means.warn(f"{window.first_name} could not be extracted meanwhile: {error}")
                    return

    def _send(self, turn: Turn, window: Window, failed: Collection[str]) -> dict[str, Failure]:
        """Bring the window to every target that has not failed yet; returns what stands against the others."""
        found: dict[str, Failure] = {}
        parcels = [parcel for parcel in deliver.parcels(self.ledger, window) if parcel.delivery.target not in failed]
        for target, bound_for in groupby(parcels, lambda parcel: parcel.delivery.target):
            try:
                self._send_to(target, turn, list(bound_for))
            except ExportError as error:
                if error.code is Code.FENCED_OUT:
                    raise
                self.means.warn(f"{window.first_name} was not delivered to {target}: {error}")
                found[target] = Failure(window, self._with_the_way_out(error, window))
        if all(delivery.state.settled for delivery in self.ledger.deliveries(window.id)):
            spool.discard(window)
        return found

    def _send_to(self, target: str, turn: Turn, parcels: Sequence[Parcel]) -> None:
        """Upload every part, then publish them in order: what has begun to appear can be finished without the spool."""
        with closing(deliver.publisher_of(target, self.means.lookup)) as publisher:
            if publisher.warning is not None:
                self.means.warn(f"target {target}: {publisher.warning}")
            sent = [self._step(steps.upload)(self.ledger, turn, publisher, parcel) for parcel in parcels]
            for parcel in sent:
                replace = deliver.may_replace(self.ledger, self.export, publisher, parcel)
                self._step(steps.publish)(turn, publisher, parcel, replace=replace)
                self._step(steps.commit)(turn, parcel)
            if (keep := self.export.file.keep) is not None:
                remove_older(self.ledger, turn, publisher, target, keep, self.means.tell, self.means.warn)

    def _all_sent(self, window: Window) -> bool:
        """Whether nothing of the window is left to be uploaded."""
        deliveries = self.ledger.deliveries(window.id)
        return all(delivery.state in _SENT or delivery.state.settled for delivery in deliveries)

    def _extract(self, turn: Turn, window: Window, export: Export) -> None:
        """Bring the window's rows into the spool, if need be with the definition that corrects its own."""
        progress = self.means.progress(export, window.file_name, self._rows_of_last_file())
        try:
            found = self._step(self.extract)(
                self.ledger, turn, export, window, self.means.lookup, progress, self.means.beside, transform_of(export)
            )
        except ExportError as error:
            if not self._corrects(export, error):
                raise
            self.means.tell(f"this window's own definition fails ({error.code}); its correction is used")
            turn.redefine(window, self.export)
            self._extract(turn, window, self.export)
            return
        progress.finish()
        if found.read_anew is not None:
            self.means.tell(f"read anew, row by row, which takes longer and gives the same: {found.read_anew}")
        data = [file for file in found.files if file.kind == "data"]
        self.means.tell(f"extracted {found.rows:,} rows into {len(data)} files")
        for remark in remarks(found.findings):
            self.means.warn(remark)

    def _corrects(self, earlier: Export, error: ExportError) -> bool:
        # A window keeps its definition, but one that can never be read with it would stop the export for ever.
        edited = self.export.hash != earlier.hash and self.export.source_key == earlier.source_key
        by_definition = error.code.remedy is Remedy.EDIT or error.code in _AS_DEFINED
        return by_definition and edited and _is_customised_as(self.export, earlier)

    def _with_the_way_out(self, error: ExportError, window: Window) -> ExportError:
        """The error, with a hint that helps where an edit would not: a window keeps the definition it began with."""
        if error.code.remedy is Remedy.EDIT and window.definition != self.export.hash:
            error.hint = (
                f"window {window.id[:8]} was allotted with an earlier definition: put back what that one names, "
                f"or give the window up with `exports ledger {window.export} --resolve {window.id[:8]} abandon`"
            )
        return error

    def _tell_of_the_dead(self, turn: Turn) -> None:
        dead = turn.took_over
        if dead is not None:
            self.means.warn(
                f"run {dead.run_id} on {dead.host}, process {dead.pid}, at work since "
                f"{dead.began_at:%Y-%m-%d %H:%M:%S} UTC, ended without a word: this run goes on where it was"
            )
            for run_id in dict.fromkeys(found.run_id for found in self._never_told_of(dead)):
                if run_id != self.id:
                    self.means.bury(run_id)

    def _never_told_of(self, dead: Attempt) -> Iterator[Attempt]:
        """The dead turn, and those that it had taken over: it died before its run could tell of them."""
        found: Attempt | None = dead
        while found is not None:
            yield found
            found = self.ledger.attempt(found.export, found.took_over) if found.took_over else None

    def _rows_of_last_file(self) -> int | None:
        files = [
            file
            for window in self.ledger.windows(self.export.id, 5)
            for file in self.ledger.delivered_of_window(window.id)
        ]
        return files[0].rows if files else None

    def _step(self, step: Any) -> Callable[..., Any]:
        return self.means.step(step, self.export)

    def _wait(self, holder: str) -> None:
        self.means.tell(f"waiting: another run of this export is at work ({holder})")


def _is_customised_as(later: Export, earlier: Export) -> bool:
    """Whether no row that the earlier definition changes would be written as it was read: a mask must not fall off."""
    still_custom = earlier.standard_equivalent is None or later.standard_equivalent is not None
    return still_custom and (earlier.transform is None or later.transform is not None)


def _refuse_unregistered(ledger: Ledger, export: Export) -> None:
    if ledger.definition(export.hash) is None:
        raise ExportError(
            Code.DEFINITION_UNREGISTERED,
            f"the run's definition of {export.id} (version {export.hash[:12]}) was never activated in this ledger",
            "leave the parameter `definition` as it is; edit the YAML and activate it; "
            "or see that worker and command use one EXPORTS_LEDGER",
            export=export.id,
        )
