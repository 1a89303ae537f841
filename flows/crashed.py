"""A run that Prefect calls crashed: it could tell nobody itself, so another tells of it."""

from __future__ import annotations

from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound
from prefect.states import Running

from catalog.definition import Export
from flows.announce import other_ended
from flows.moments import in_utc
from flows.parameters import definition_in
from flows.run_report import Ending, error_of
from tasks.ledger import Ledger


def tell_of_crashed(ledger: Ledger, run_id: UUID) -> str:
    """Tell once of an export's run that crashed; returns, in one sentence, what was done.

    A run that is at work all the same, as the ledger's lock knows, was only out of touch with Prefect: it is shown as
    running again. Raises ExportError LEDGER_UNREACHABLE.
    """
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(run_id)
        except ObjectNotFound:
            return f"run {run_id} is there no more"
        if run.state is None or not run.state.is_crashed():
            return f"run {run_id} is not crashed any more"
        export = definition_in(run.parameters)
        if export is None or ledger.definition(export.hash) is None:
            return f"run {run_id} is of no export that was activated here"
        if _is_at_work(ledger, export, str(run_id)):
            client.set_flow_run_state(run_id, Running(message="its process is at work"), force=True)
            return f"run {run_id} of {export.id} is at work: it was only out of touch with Prefect"
    ending = Ending(
        "failed",
        in_utc(run.start_time),
        in_utc(run.end_time),
        run.run_count,
        run.state.message or "",
        error_of(run.state),
    )
    told = other_ended(ledger, export, str(run_id), str(run.deployment_id), ending)
    return f"run {run_id} of {export.id} crashed{'' if told else ', which was told before'}"


def _is_at_work(ledger: Ledger, export: Export, run_id: str) -> bool:
    attempts = ledger.attempts_of_run(run_id)
    return bool(attempts) and attempts[0].ended_at is None and ledger.is_at_work(export.id)
