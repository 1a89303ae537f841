"""The flow that looks after all exports: what could not tell of itself, or should have happened and did not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from catalog.errors import Code, ExportError
from flows import report
from flows.crashed import tell_of_crashed
from flows.late import tell_of_late
from flows.moments import in_utc
from tasks.ledger import Ledger


@flow(name="watch", persist_result=False, retries=0)
def watch(crashed_run: UUID | None = None) -> State[Any]:
    """Tell whom the definitions name of files that were not there by their `expect_by`, and of runs that crashed.

    It starts by itself: at each of those times, and when a run crashes. It fails when it found a file late.

    Args:
        crashed_run: The id of an export's run that crashed; without it, all exports are looked at.
    """
    ledger = Ledger.default()
    try:
        if crashed_run is not None:
            return report.succeeded(tell_of_crashed(ledger, crashed_run))
        late = tell_of_late(ledger, _project_tag(), _now())
    except ExportError as error:
        return report.failed(error)
    if not late:
        return report.succeeded("no file is late that was not told of before")
    found = "; ".join(each.words for each in late)
    return report.failed(ExportError(Code.FILE_LATE, found, "see with `exports runs` what keeps each of them"))


def _project_tag() -> str:
    tag: str = next(tag for tag in flow_run.tags if tag.startswith("project:"))
    return tag


def _now() -> datetime:
    # A worker's clock may be behind that of the server, which started this run at the very moment to look at.
    scheduled: datetime = in_utc(flow_run.scheduled_start_time)
    return max(datetime.now(UTC), scheduled)
