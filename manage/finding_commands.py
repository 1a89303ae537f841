"""The commands that look: which exports there are, and what the next run of one would do."""

from __future__ import annotations

from typing import Annotated

import typer

from manage import output
from manage.command import ExportArgument, Json, opened


def add_finding_commands(app: typer.Typer) -> None:
    """Let the `exports` command know `list` and `preview`."""
    app.command("list")(list_command)
    app.command()(preview)


def preview(
    export_id: ExportArgument,
    rows: Annotated[int, typer.Option(min=0, max=1000, help="How many rows to show.")] = 10,
    json: Json = False,
) -> None:
    """Show the SQL, the window, the file name and the first rows of a run that would start now."""
    from catalog.load import load_catalog
    from deployments.checking import preview as preview_export
    from tasks.ledger import Ledger

    with output.failing(json):
        catalog = load_catalog()
        shown = preview_export(catalog, Ledger.default(), catalog.export(export_id), rows)
    if json:
        output.data(shown.to_json())
    else:
        output.preview_words(shown)


def list_command(
    search: Annotated[str | None, typer.Option(help="Text in the name or id.")] = None,
    database: Annotated[str | None, typer.Option(help="Only this database.")] = None,
    data_type: Annotated[str | None, typer.Option(help="Only this data type.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only this export type.")] = None,
    status: Annotated[str | None, typer.Option(help="draft, scheduled, in_progress or finished.")] = None,
    sort: Annotated[
        str, typer.Option(help="name; next: what runs soonest; last: what ended last; status: what is in progress.")
    ] = "name",
    json: Json = False,
) -> None:
    """List the exports with their status, next and last run."""
    from catalog.definition import EXPORT_TYPES
    from deployments.listing import SORTS, STATUSES, Filters, list_exports

    if status is not None and status not in STATUSES:
        raise typer.BadParameter(f"{status} is none of {', '.join(STATUSES)}", param_hint="--status")
    if type_ is not None and type_ not in EXPORT_TYPES:
        raise typer.BadParameter(f"{type_} is none of {', '.join(EXPORT_TYPES)}", param_hint="--type")
    if sort not in SORTS:
        raise typer.BadParameter(f"{sort} is none of {', '.join(SORTS)}", param_hint="--sort")
    with opened(json) as workspace:
        filters = Filters(search=search, database=database, data_type=data_type, type=type_, status=status)
        listing = list_exports(workspace, filters, sort)
        problems = [problem for problem in workspace.catalog.problems if problem.severity == "error"]
    if json:
        output.data([entry.to_json() for entry in listing.entries])
    else:
        output.list_words(listing.entries)
        output.counts_words(listing.counts)
    for remark in listing.remarks:
        output.say(remark)
    for problem in problems:
        output.say(f"Warning: left out: {problem.code}: {problem.file}: {problem.message}")
