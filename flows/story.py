"""The story of a run: allot a window, extract, upload, publish, commit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from catalog.definition import Export
from catalog.errors import Code, ExportError, Remedy
from catalog.windows import Bounds, State, Window
from tasks import deliver, spool, steps
from tasks.credentials import Lookup
from tasks.ledger import Allotment, Ledger, hold


class Progress(Protocol):
    """Told how far a long extraction is."""

    def __call__(self, rows: int, size: int) -> None:
        """So many rows and bytes are written."""

    def finish(self) -> None:
        """The extraction is done."""


@dataclass(frozen=True, slots=True)
class Means:
    """What a run works with, so that its story is the same inside Prefect and without it.

    `step` gives one of `tasks.steps` ready to be called; `name` calls the run after its file; `tell` and `warn` say
    what happens; `progress` follows an extraction of that export, into that file, of as many rows as the last had.
    """

    step: Callable[[Any, Export], Callable[..., Any]]
    name: Callable[[str], None]
    tell: Callable[[str], None]
    warn: Callable[[str], None]
    lookup: Lookup
    progress: Callable[[Export, str, int | None], Progress]


@dataclass(frozen=True, slots=True)
class Story:
    """One execution: what it delivers, where that is recorded, its id in Prefect, its logical time, and its means."""

    export: Export
    ledger: Ledger
    id: str
    logical_time: datetime
    means: Means

    def deliver(self, explicit: Bounds | None) -> Allotment:
        """Allot this run's own window, then work off every outstanding one, the oldest first."""
        ledger, export = self.ledger, self.export
        _refuse_unregistered(ledger, export)
        allotment: Allotment = self._step(steps.allot_window)(ledger, export, self.id, self.logical_time, explicit)
        own = allotment.window
        self.means.name(own.first_name if own else f"{export.id}: nothing to do")
        with hold(ledger.url, export.id, self.id, on_wait=self._wait):
            if own is not None and own.state is State.SUPERSEDED:
                ledger.revive(own)
            while window := self._next():
                self._work_off(window)
            spool.sweep(export.id, ledger.outstanding(export.id))
        return allotment

    def _next(self) -> Window | None:
        """The oldest outstanding window that can still be delivered."""
        for window in self.ledger.outstanding(self.export.id):
            if window.kind != "full" or window.run_id == self.id or self._is_sent_as_it_stands(window):
                return window
            self.ledger.supersede(window)
        return None

    def _is_sent_as_it_stands(self, window: Window) -> bool:
        # Yesterday's table cannot be read today: only what was extracted then can still be sent.
        return window.state is State.PUBLISHING or spool.stands(self.ledger.extracted(window.id))

    def _work_off(self, window: Window) -> None:
        export = self.ledger.definition(window.definition) or self.export
        if window.state is not State.PUBLISHING and not spool.stands(self.ledger.extracted(window.id)):
            export = self._extract(window, export)
        for parcel in deliver.parcels(self.ledger, window):
            with closing(deliver.publisher_of(parcel.delivery.target, self.means.lookup)) as publisher:
                replace = deliver.may_replace(self.ledger, export, publisher, parcel)
                sent = self._step(steps.upload)(self.ledger, publisher, parcel)
                self._step(steps.publish)(publisher, sent, replace=replace)
                self._step(steps.commit)(self.ledger, sent, self.id)
        spool.discard(window)

    def _extract(self, window: Window, export: Export) -> Export:
        """Bring the window's rows into the spool, and return the definition that it was possible with."""
        progress = self.means.progress(export, window.file_name, self._rows_of_last_file())
        try:
            found = self._step(steps.extract)(self.ledger, export, window, self.id, self.means.lookup, progress)
        except ExportError as error:
            if not self._corrects(export, error):
                raise
            self.means.tell(f"this window's own definition fails ({error.code}); its correction is used")
            self.ledger.redefine(window, self.export)
            return self._extract(window, self.export)
        progress.finish()
        self.means.tell(f"extracted {found.rows:,} rows into {len(found.files)} files")
        if found.null_cursors:
            self.means.warn(f"{found.null_cursors:,} rows without cursor were left out")
        return export

    def _corrects(self, earlier: Export, error: ExportError) -> bool:
        # A window keeps its definition, but one that can never be read with it would stop the export for ever.
        edited = self.export.hash != earlier.hash and self.export.source_key == earlier.source_key
        return error.code.remedy is Remedy.EDIT and edited

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


def _refuse_unregistered(ledger: Ledger, export: Export) -> None:
    if ledger.definition(export.hash) is None:
        raise ExportError(
            Code.DEFINITION_UNREGISTERED,
            f"the run's definition of {export.id} (version {export.hash[:12]}) was never activated in this ledger",
            "leave the parameter `definition` as it is; edit the YAML and activate it; "
            "or see that worker and command use one EXPORTS_LEDGER",
            export=export.id,
        )
