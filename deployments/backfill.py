"""A span of time once more: as it was asked for, or in the windows of the export's own schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.naming import NameFields, beside_schedule, fill_part, render, render_folder
from catalog.receipt import RunReport
from catalog.schedule import slots_within
from catalog.windows import explicit_bounds
from deployments.custom_refusals import refuse_custom
from deployments.ledger_view import moment_of
from deployments.lifecycle import require_status
from deployments.listing import list_one
from deployments.quick_run import Span, run_here
from deployments.workspace import Workspace
from flows.report import secret_block
from tasks.connect import open_source
from tasks.source.counting import count_rows

#: Stands in names for the first digits of a run's id, which nobody knows before the run.
_RUN = "x" * 8
#: A finer schedule than was thought of would hold the machine for days.
_MOST_SLOTS = 1000


@dataclass(frozen=True, slots=True)
class Planned:
    """One run of a backfill before it is made: its window, its first file, with x for the run's id, and its rows."""

    span: Span
    folder: str
    file: str
    rows: int

    def to_json(self) -> dict[str, Any]:
        """The run as `exports backfill --dry-run --json` prints it."""
        window = {
            "since": self.span.since.astimezone(UTC).isoformat(),
            "until": self.span.until.astimezone(UTC).isoformat(),
        }
        return {"window": window, "folder": self.folder, "files": [self.file], "rows": self.rows}


def spans_of(workspace: Workspace, export_id: str, since: str, until: str, *, slots: bool) -> list[Span]:
    """What a person asked for: one span, or with `slots` one for each window of the schedule that lies whole in it.

    Raises ExportError STATUS_REFUSED for a custom export, DEFINITION_INVALID when the export cannot deliver it or it is
    more than 1,000 slots, SCHEDULE_INVALID for slots where there is no schedule.
    """
    export = _definition(workspace, export_id)
    refuse_custom(export, "backfill")
    low, high = moment_of(export, since), moment_of(export, until)
    now = datetime.now(UTC)
    if not slots:
        explicit_bounds(export, low, high, now)
        return [Span(low, high)]
    if not low < high <= now:
        # Of slots only the last need be settled; those of a span without an end would never be counted to it.
        explicit_bounds(export, low, high, now)
    spans = _slots(export, low, high)
    for span in spans:
        explicit_bounds(export, span.since, span.until, now)
    return spans


def _slots(export: Export, low: datetime, high: datetime) -> list[Span]:
    """The windows of the export's schedule that lie whole between the two moments, at least one."""
    if export.schedule is None or export.schedule.cron is None:
        raise ExportError(
            Code.SCHEDULE_INVALID,
            f"export {export.id} has no schedule whose windows could be delivered",
            "leave --slots out: then the span is one window",
            export=export.id,
        )
    cron, between = export.schedule.cron, f"between {low.isoformat()} and {high.isoformat()}"
    windows = slots_within(cron, export.timezone, low, high)
    spans = [Span(begin, end, slot=end) for begin, end in islice(windows, _MOST_SLOTS + 1)]
    if len(spans) > _MOST_SLOTS:
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"more than {_MOST_SLOTS:,} windows of the schedule `{cron}` lie {between}, and each would be a run",
            "deliver a shorter span at a time, or leave --slots out: then the span is one window",
            export=export.id,
        )
    if not spans:
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"no window of the schedule `{cron}` lies whole {between}",
            "begin and end at moments at which the export runs, or leave --slots out",
            export=export.id,
        )
    return spans


def dry_run(workspace: Workspace, export_id: str, spans: list[Span]) -> list[Planned]:
    """What the backfill would deliver; nothing is changed. Raises ExportError when the source cannot be asked."""
    export = _definition(workspace, export_id)
    require_status(workspace, export_id, "backfill", {"draft", "scheduled", "in_progress"})
    now = datetime.now(UTC)
    bounds = [found for span in spans if (found := explicit_bounds(export, span.since, span.until, now)) is not None]
    with open_source(export.database, workspace.catalog.database_of(export), secret_block) as source:
        counts = count_rows(source, export, bounds)
    return [_planned(export, span, rows, now) for span, rows in zip(spans, counts, strict=True)]


def deliver_spans(workspace: Workspace, export_id: str, spans: list[Span]) -> Iterator[RunReport]:
    """Run each span in this process, one after the other, to its end; one that fails does not stop the others.

    Raises ExportError before the first run begins when the export's status or definition stands against it.
    """
    for span in spans:
        yield run_here(workspace, export_id, span)


def _planned(export: Export, span: Span, rows: int, now: datetime) -> Planned:
    fields = NameFields(span.slot or now, export.timezone, span.since, span.until, export.id, _RUN)
    name = beside_schedule(fill_part(render(export.file.name, fields, key="file.name"), 1), _RUN)
    return Planned(span, render_folder(export.folder, fields), name, rows)


def _definition(workspace: Workspace, export_id: str) -> Export:
    """What its runs will use: a draft is deployed anew, as its YAML is now, before it runs."""
    if list_one(workspace, workspace.known(export_id)).status == "draft":
        return workspace.export(export_id)
    return workspace.frozen(export_id) or workspace.export(export_id)
