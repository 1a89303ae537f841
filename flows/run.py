"""The story of a run: allot a window, extract, upload, publish, commit, report."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import WithJsonSchema

from catalog.definition import Export
from catalog.errors import Code, ExportError, Remedy, state_message
from catalog.naming import fill_part
from catalog.windows import Bounds, Window, explicit_bounds
from catalog.windows import State as Progressed
from flows import report
from tasks import deliver, spool, steps
from tasks.ledger import Ledger, hold


@flow(name="export", persist_result=False, retries=0, log_prints=False)
def run(
    since: datetime | None = None,
    until: datetime | None = None,
    *,
    definition: Annotated[Export, WithJsonSchema({"type": "object", "title": "Definition"})],
) -> State[Any]:
    """Deliver one export.

    Args:
        since: With `until`: deliver this time span once more, beside the schedule (incremental exports only).
        until: The end of that span; the row at exactly this moment is not in it.
        definition: What the run does, frozen when the export was activated. Leave it as it is.
    """
    this = _ThisRun(definition, Ledger.default(), str(flow_run.id), flow_run.scheduled_start_time.astimezone(UTC))
    try:
        line = this.deliver(explicit_bounds(definition, since, until))
    except ExportError as error:
        this.report(state_message(error))
        return report.failed(error)
    except Exception as error:
        found = report.internal(error)
        get_run_logger().error("".join(report.frames(error)))
        this.report(state_message(found))
        return report.failed(found)
    this.report(line)
    return report.succeeded(line)


@dataclass(frozen=True, slots=True)
class _ThisRun:
    """One execution: what it delivers, where that is recorded, its id in Prefect, and its logical time."""

    export: Export
    ledger: Ledger
    id: str
    logical_time: datetime

    def deliver(self, explicit: Bounds | None) -> str:
        """Allot this run's own window, then work off every outstanding one, the oldest first; returns the outcome."""
        ledger, export = self.ledger, self.export
        _refuse_unregistered(ledger, export)
        allotment = _retried(steps.allot_window, export)(ledger, export, self.id, self.logical_time, explicit)
        own = allotment.window
        report.name_run(self.id, fill_part(own.file_name, 1) if own else f"{export.id}: nothing to do")
        with hold(ledger.url, export.id, self.id, on_wait=self._wait):
            if own is not None and own.state is Progressed.SUPERSEDED:
                ledger.revive(own)
            while window := self._next():
                self._work_off(window)
            spool.sweep(export.id, ledger.outstanding(export.id))
        return report.outcome(ledger, self.id, allotment)

    def _next(self) -> Window | None:
        """The oldest outstanding window that can still be delivered."""
        for window in self.ledger.outstanding(self.export.id):
            if window.kind != "full" or window.run_id == self.id or self._is_sent_as_it_stands(window):
                return window
            self.ledger.supersede(window)
        return None

    def _is_sent_as_it_stands(self, window: Window) -> bool:
        # Yesterday's table cannot be read today: only what was extracted then can still be sent.
        return window.state is Progressed.PUBLISHING or spool.stands(self.ledger.extracted(window.id))

    def _work_off(self, window: Window) -> None:
        export = self.ledger.definition(window.definition) or self.export
        if window.state is not Progressed.PUBLISHING and not spool.stands(self.ledger.extracted(window.id)):
            export = self._extract(window, export)
        for parcel in deliver.parcels(self.ledger, window):
            publisher = deliver.publisher_of(parcel.delivery.target, report.secret_block)
            replace = deliver.may_replace(self.ledger, export, publisher, parcel)
            sent = _retried(steps.upload, export)(self.ledger, publisher, parcel)
            _retried(steps.publish, export)(publisher, sent, replace=replace)
            _retried(steps.commit, export)(self.ledger, sent, self.id)
        spool.discard(window)

    def _extract(self, window: Window, export: Export) -> Export:
        """Bring the window's rows into the spool, and return the definition that it was possible with."""
        progress = report.Progress(export, window.file_name, self._rows_of_last_file())
        step = _retried(steps.extract, export)
        try:
            found = step(self.ledger, export, window, self.id, report.secret_block, progress)
        except ExportError as error:
            if not self._corrects(export, error):
                raise
            get_run_logger().info("this window's own definition fails (%s); its correction is used", error.code)
            self.ledger.redefine(window, self.export)
            return self._extract(window, self.export)
        progress.finish()
        get_run_logger().info("extracted %s rows into %s files", f"{found.rows:,}", len(found.files))
        if found.null_cursors:
            get_run_logger().warning("%s rows without cursor were left out", f"{found.null_cursors:,}")
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

    def _wait(self, holder: str) -> None:
        get_run_logger().info("waiting: another run of this export is at work (%s)", holder)

    def report(self, line: str) -> None:
        """Write the run's report into Prefect; the ledger is the truth, so a report that fails changes nothing."""
        try:
            report.write_report(self.ledger, self.export, self.id, line)
        except Exception as error:
            get_run_logger().warning("the report could not be written (%s)", type(error).__name__)


def _retried(step: Any, export: Export) -> Any:
    return step.with_options(retries=export.retries)


def _refuse_unregistered(ledger: Ledger, export: Export) -> None:
    if ledger.definition(export.hash) is None:
        raise ExportError(
            Code.DEFINITION_UNREGISTERED,
            f"the run's definition of {export.id} (version {export.hash[:12]}) was never activated in this ledger",
            "leave the parameter `definition` as it is; edit the YAML and activate it; "
            "or see that worker and command use one EXPORTS_LEDGER",
            export=export.id,
        )
