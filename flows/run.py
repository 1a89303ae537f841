"""The flow of an export: the story of a run, told in Prefect."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import Task, flow, get_run_logger
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from pydantic import WithJsonSchema

from catalog.definition import Export
from catalog.errors import ExportError, state_message
from catalog.windows import explicit_bounds
from flows import announce, report
from flows.custom_code import refuse_other_hands
from flows.moments import in_utc
from flows.story import Means, Story
from tasks import steps
from tasks.ledger import Ledger
from tasks.partitions import Running

#: The parameter that says what a run does; in Prefect's form it is one JSON object.
Definition = Annotated[Export, WithJsonSchema({"type": "object", "title": "Definition"})]


@flow(name="export", persist_result=False, retries=0, log_prints=False)
def run(since: datetime | None = None, until: datetime | None = None, *, definition: Definition) -> State[Any]:
    """Deliver one export.

    Args:
        since: With `until`: deliver this time span once more, beside the schedule (incremental exports only).
        until: The end of that span; the row at exactly this moment is not in it.
        definition: What the run does, frozen when the export was activated. Leave it as it is.
    """
    return deliver(definition, since, until)


def deliver(
    definition: Export, since: datetime | None, until: datetime | None, extract: Task[..., Any] | None = None
) -> State[Any]:
    """Everything a flow of an export does: the story of its run, the report, and the word to whom it concerns.

    `extract` reads the rows of a custom export; `tasks.steps.extraction` makes one. Returns the flow's final state.
    """
    ledger, run_id, begun = Ledger.default(), str(flow_run.id), datetime.now(UTC)
    found_dead: list[str] = []
    means = _in_prefect(ledger, run_id, found_dead)
    story = Story(definition, ledger, run_id, in_utc(flow_run.scheduled_start_time), means, extract or steps.extract)
    error: ExportError | None = None
    try:
        refuse_other_hands(definition, by_hand=extract is not None)
        delivered_before = len(ledger.delivered_by_run(run_id))
        allotment = story.deliver(explicit_bounds(definition, since, until, begun))
        line = report.outcome(ledger, run_id, allotment, delivered_before)
    except ExportError as found:
        error = found
    except Exception as found:
        error = report.internal(found)
        get_run_logger().error("".join(report.frames(found)))
    except BaseException:
        # Its turn ends in order, so that no later run would find it dead and tell of it.
        announce.run_stopped(ledger, definition, begun, report.stopped(run_id))
        raise
    if error is not None:
        line = state_message(error)
    _report(story, line)
    announce.run_ended(ledger, definition, begun, line, error)
    for dead in found_dead:
        announce.run_died(ledger, definition, dead)
    return report.succeeded(line) if error is None else report.failed(error)


def _in_prefect(ledger: Ledger, run_id: str, found_dead: list[str]) -> Means:
    logger = get_run_logger()

    def bury(dead: str) -> None:
        report.bury(dead, at_work_since=ledger.attempts_of_run(dead)[0].began_at, by=run_id)
        found_dead.append(dead)

    return Means(
        step=_tried_again,
        beside=_beside,
        name=lambda name: report.name_run(run_id, name),
        tell=logger.info,
        warn=logger.warning,
        bury=bury,
        lookup=report.secret_block,
        progress=report.Progress,
    )


def _tried_again(step: Any, export: Export) -> Callable[..., Any]:
    retried: Callable[..., Any] = step.with_options(retries=export.retries)
    return retried


def _beside(step: Any, *arguments: Any) -> Running:
    # What goes on beside others is tried again with them, by the step that began it.
    running: Running = step.with_options(retries=0).submit(*arguments)
    return running


def _report(story: Story, line: str) -> None:
    """Write the run's report into Prefect; the ledger is the truth, so a report that fails changes nothing."""
    try:
        report.write_report(story.ledger, story.export, story.id, line)
    except Exception as error:
        get_run_logger().warning("the report could not be written (%s)", type(error).__name__)
