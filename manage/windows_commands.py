"""The commands about windows: what the ledger holds, what a person decides there, and delivering a span once more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from manage import output
from manage.command import Detach, ExportArgument, Json, opened

if TYPE_CHECKING:
    from tasks.ledger import Ledger


def add_window_commands(app: typer.Typer) -> None:
    """Let the `exports` command know `ledger` and `backfill`."""
    for command in (ledger, backfill):
        app.command()(command)


def ledger(
    export_id: ExportArgument,
    resolve: Annotated[
        tuple[str, str] | None,
        typer.Option(
            metavar="WINDOW sent|again|abandon",
            help="Decide on a window: it arrived, it is to be sent once more, or it is given up.",
        ),
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="With --resolve: decide only on what goes to this one of its targets.")
    ] = None,
    accept: Annotated[
        bool, typer.Option("--accept", help="Go on, though source, columns or ledger are others.")
    ] = False,
    restart: Annotated[
        str | None, typer.Option(metavar="start|now|MOMENT", help="Begin anew there, whatever was delivered.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Show an export's windows with bounds, files, state and run, the newest first; or decide what cannot be known."""
    from catalog.load import load_catalog
    from deployments.ledger_view import accept_source, ledger_entries
    from tasks.ledger import Ledger

    if sum(asked is not None for asked in (resolve, restart, accept or None)) > 1:
        raise typer.BadParameter("one decision at a time: --resolve, --accept or --restart")
    if target is not None and resolve is None:
        raise typer.BadParameter("--target goes with --resolve", param_hint="--target")
    with output.failing(json):
        known = Ledger.default()
        if not known.windows(export_id, 1):
            load_catalog().require(export_id)
        if resolve is not None:
            _resolve(known, export_id, *resolve, target, yes)
        if accept:
            accept_source(known, export_id)
            output.say(f"{export_id} goes on from its watermark with the next run")
        if restart is not None:
            _restart(known, export_id, restart, yes)
        entries = ledger_entries(known, export_id)
    if json:
        output.data([entry.to_json() for entry in entries])
    elif entries:
        output.ledger_words(entries)
    else:
        output.say(f"{export_id} has no windows yet")


def _resolve(known: Ledger, export_id: str, window_id: str, decision: str, target: str | None, yes: bool) -> None:
    from deployments.ledger_view import resolve_window
    from tasks.ledger.decisions import DECISIONS

    if decision not in DECISIONS:
        raise typer.BadParameter(f"{decision} is none of {', '.join(DECISIONS)}", param_hint="--resolve")
    if decision == "abandon":
        output.confirm("the rows of this window will be in no file", yes)
    window = resolve_window(known, export_id, window_id, decision, target)
    output.say(f"window {window.id[:8]} of {export_id} is {window.state.value}")


def _restart(known: Ledger, export_id: str, since: str, yes: bool) -> None:
    from catalog.load import load_catalog
    from deployments.ledger_view import restart

    output.confirm(f"{export_id} begins anew at {since}: rows may be delivered twice, or left out", yes)
    start = restart(known, load_catalog().export(export_id), since)
    output.say(f"the next window of {export_id} begins at {start.low or 'the beginning of the table'}")
    if waiting := len(known.outstanding(export_id)):
        output.say(f"{waiting} open windows are delivered before it, unless you `--resolve` them")


def backfill(
    export_id: ExportArgument,
    since: Annotated[str, typer.Option(help="Where the span begins, as 2026-11-01T00:00 (in the schedule's zone).")],
    until: Annotated[str, typer.Option(help="Where it ends; a row at exactly this moment is not in it.")],
    slots: Annotated[
        bool, typer.Option("--slots", help="A run and a file for each of the schedule's windows within the span.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show windows, names and rows; deliver nothing.")] = False,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Deliver the rows of a span of time once more, in a file of their own; the watermark stays where it is."""
    with opened(json) as workspace:
        from deployments.backfill import deliver_spans, spans_of
        from deployments.backfill import dry_run as look_ahead
        from deployments.quick_run import start_run

        spans = spans_of(workspace, export_id, since, until, slots=slots)
        if dry_run:
            output.planned(look_ahead(workspace, export_id, spans), json)
        elif detach:
            runs = [(start_run(workspace, export_id, detach=True, span=span), export_id) for span in spans]
            output.detached(runs, json, as_list=slots)
        else:
            output.reports(deliver_spans(workspace, export_id, spans), json, as_list=slots)
