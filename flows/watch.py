"""The flow that looks after all exports: what could not tell of itself, or should have happened and did not."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.errors import ExportError
from flows import report
from flows.crashed import tell_of_crashed
from tasks.ledger import Ledger


@flow(name="watch", persist_result=False, retries=0)
def watch(crashed_run: UUID | None = None) -> State[Any]:
    """Tell whom a definition names of runs that crashed. Automations start it.

    Args:
        crashed_run: The id of an export's run that crashed.
    """
    try:
        if crashed_run is None:
            return report.succeeded("nothing to tell")
        return report.succeeded(tell_of_crashed(Ledger.default(), crashed_run))
    except ExportError as error:
        return report.failed(error)
