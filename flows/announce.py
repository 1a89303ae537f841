"""What the world is told when a run has ended: an event in Prefect, and the report to whom the definition names.

All of it comes after the turn at the work, and nothing of it fails a run.
"""

from __future__ import annotations

from datetime import UTC, datetime

from prefect import get_run_logger
from prefect.events import emit_event
from prefect.runtime import deployment, flow_run
from prefect.utilities.urls import url_for

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.receipt import RunReport
from catalog.report_text import body, subject
from flows.report import attempt_at, secret_block
from flows.run_report import Ending, draw, draw_without_ledger
from tasks import notify
from tasks.credentials import has_reference
from tasks.ledger import Ledger

#: The event that automations and webhooks can wait for.
FINISHED = "export.finished"
#: How long, in seconds, a run that is being stopped waits for its messages: what stops it may lose patience.
_STOPPED_PATIENCE = 10.0


def run_ended(ledger: Ledger, export: Export, started_at: datetime, message: str, error: ExportError | None) -> None:
    """Tell how this run ended: well, with that message, or with that error."""
    _announce_own(ledger, export, started_at, message, error, notify.PATIENCE)


def run_stopped(ledger: Ledger, export: Export, started_at: datetime, error: ExportError) -> None:
    """Tell that this run is being ended from outside."""
    _announce_own(ledger, export, started_at, error.message, error, _STOPPED_PATIENCE)


def run_died(ledger: Ledger, export: Export, run_id: str) -> None:
    """Tell of another run that died at its work, which could not do so itself."""
    try:
        died = ledger.attempts_of_run(run_id)[0]
        text = f"process {died.pid} on {died.host} ended without a word, and run {flow_run.id} went on with its work"
        why = (Code.PROCESS_VANISHED, text, "see which run delivered its window; if none did, relaunch")
        ending = Ending("failed", died.began_at, died.ended_at, attempt_at(run_id, died.began_at), text, why)
        other_ended(ledger, export, run_id, str(deployment.id), ending)
    except Exception as error:
        _warn(run_id, error)


def other_ended(ledger: Ledger, export: Export, run_id: str, deployment_id: str, ending: Ending) -> bool:
    """Tell how another run, of that deployment, ended; False when that was told already. Raises ExportError."""
    if not _is_first(ledger, export, run_id, ending.attempts):
        return False
    report = draw(ledger, export.id, run_id, ending)
    _announce(export, report, deployment_id, notify.PATIENCE, registered=True)
    return True


def _announce_own(
    ledger: Ledger, export: Export, started_at: datetime, message: str, error: ExportError | None, seconds: float
) -> None:
    run_id, now = str(flow_run.id), datetime.now(UTC)
    why = (error.code, error.message, error.hint) if error else None
    ending = Ending("failed" if error else "succeeded", started_at, now, flow_run.run_count, message, why)
    try:
        try:
            registered: bool | None = ledger.definition(export.hash) is not None
            # One that was never activated has no ledger to be written into.
            if registered and not _is_first(ledger, export, run_id, ending.attempts):
                return
            report = draw(ledger, export.id, run_id, ending)
        except ExportError:
            registered, report = None, draw_without_ledger(export.id, run_id, ending)
        _announce(export, report, deployment.id, seconds, registered=registered)
    except Exception as failure:
        _warn(run_id, failure)


def _is_first(ledger: Ledger, export: Export, run_id: str, attempt: int) -> bool:
    """Whether nobody has told how this attempt of the run ended: it may be found dead from several sides."""
    return ledger.record_told(export.id, f"ended {run_id} {attempt}")


def _announce(
    export: Export, report: RunReport, deployment_id: str | None, seconds: float, *, registered: bool | None
) -> None:
    """Tell Prefect, and whom the definition names if it is `registered`; None when the ledger cannot be asked."""
    try:
        _emit(export, report, deployment_id)
    except Exception as error:
        _warn(report.run_id, error)
    wanted = export.report
    if wanted is None or report.status not in wanted.on or registered is False:
        return
    # Anybody may start a run with another definition: while nobody knows it, its word gets no secret.
    held_back = [url for url in wanted.to if registered is None and has_reference(url)]
    message = notify.Message(
        subject(report), body(report, export.name, _link(report.run_id)), report.status == "failed"
    )
    warnings = notify.send([url for url in wanted.to if url not in held_back], message, secret_block, seconds)
    warnings += [f"the report was not sent to {url}: the ledger could not be asked first" for url in held_back]
    for warning in warnings:
        get_run_logger().warning(warning)


def _emit(export: Export, report: RunReport, deployment_id: str | None) -> None:
    # Automations match labels, not payloads.
    labels = {"export.status": report.status, "export.error-code": report.error_code or ""}
    emit_event(
        FINISHED,
        resource={"prefect.resource.id": f"export.{export.id}", "prefect.resource.name": export.name, **labels},
        related=_related(report.run_id, deployment_id),
        payload={**report.to_json(), "link": _link(report.run_id)},
    )


def _related(run_id: str, deployment_id: str | None) -> list[dict[str, str]]:
    """The run that ended and its deployment. Prefect would take whichever run tells of it for that run."""
    related = [(f"prefect.flow-run.{run_id}", "flow-run")]
    if run_id != str(flow_run.id):
        related.append((f"prefect.flow-run.{flow_run.id}", "found-by"))
    if deployment_id:
        related.append((f"prefect.deployment.{deployment_id}", "deployment"))
    return [{"prefect.resource.id": found, "prefect.resource.role": role} for found, role in related]


def _link(run_id: str) -> str | None:
    return url_for("flow-run", obj_id=run_id)


def _warn(run_id: str, error: Exception) -> None:
    get_run_logger().warning("nobody could be told of run %s (%s)", run_id, type(error).__name__)
