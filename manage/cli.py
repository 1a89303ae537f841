"""The `exports` command: parse, call one function, show what it returned."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manage import output
from manage.authoring_commands import add_authoring_commands
from manage.command import Detach, ExportArgument, Json, Since, opened, quiet_logs
from manage.finding_commands import add_finding_commands
from manage.machine import add_machine_commands
from manage.plan_commands import add_plan_commands
from manage.windows_commands import add_window_commands

if TYPE_CHECKING:
    from deployments.workspace import Workspace

app = typer.Typer(
    name="exports",
    help="Database tables as files: define exports in YAML, run and schedule them on Prefect.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunOption = Annotated[str | None, typer.Option("--run", help="A run's id or its first digits; default: the newest.")]


@app.callback()
def _before_every_command(context: typer.Context) -> None:
    if context.invoked_subcommand not in ("start", "demo"):
        quiet_logs()


@app.command()
def check(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Exports to check; default: all.")] = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Try the targets too, step by step, with a tiny hidden file.")
    ] = False,
    json: Json = False,
) -> None:
    """Find what is wrong with the definitions before anything runs."""
    from catalog.load import load_catalog
    from deployments.trying import check_and_try

    with output.failing(json):
        catalog = load_catalog()
        problems, tried = check_and_try(catalog, ids, connect=connect)
    if json:
        output.data([problem.to_json() for problem in problems])
    else:
        for problem in problems:
            output.problem(problem)
        output.targets_well(tried)
        output.say(f"{len(ids or catalog.exports)} exports checked, {len(problems)} problems found")
    if any(problem.severity == "error" for problem in problems):
        raise typer.Exit(1)


@app.command()
def activate(export_id: ExportArgument, since: Since = None, json: Json = False) -> None:
    """Check an export, freeze its definition and switch its schedule on; a one shot starts."""
    from deployments.lifecycle import activate as activate_export

    with opened(json) as workspace:
        run_id = activate_export(workspace, export_id, since)
        entry = _entry(workspace, export_id)
    if json:
        output.data({**entry, "run_id": str(run_id) if run_id else None})
    else:
        output.say(f"{export_id} is {entry['status']}; next run {entry['next_run'] or 'when a worker takes it'}")


@app.command()
def unschedule(
    export_id: ExportArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Switch the schedule off and remove every run that has not started; the watermark stays."""
    from deployments.lifecycle import lost_by_unscheduling
    from deployments.lifecycle import unschedule as unschedule_export

    with opened(json) as workspace:
        lost = lost_by_unscheduling(workspace, export_id)
        if lost:
            becomes = f"{export_id} becomes a standard incremental export for good"
            output.confirm(f"{becomes}, and loses: {'; '.join(lost)}", yes)
        removed = unschedule_export(workspace, export_id, convert=bool(lost))
        entry = _entry(workspace, export_id)
    if json:
        output.data({**entry, "removed_runs": removed, "lost": lost})
    else:
        output.say(f"{export_id} is {entry['status']} again; {removed} waiting runs removed")


@app.command()
def run(
    export_id: ExportArgument,
    detach: Detach = False,
    json: Json = False,
) -> None:
    """Run an export now, in this process, to its end, and report it."""
    with opened(json) as workspace:
        from deployments.quick_run import run_here, start_run

        if detach:
            output.detached([(start_run(workspace, export_id, detach=True), export_id)], json)
            return
        report = run_here(workspace, export_id)
    output.report(report, json)


@app.command()
def runs(
    export_id: ExportArgument,
    limit: Annotated[int, typer.Option(min=1, help="How many runs that have begun.")] = 20,
    json: Json = False,
) -> None:
    """List an export's runs, the newest first: what waits, what runs, what has ended."""
    from deployments.runs import reports_of

    with opened(json) as workspace:
        workspace.require(export_id)
        reports = reports_of(workspace.client, workspace.ledger, export_id, workspace.project.tag, limit)
    if json:
        output.data([report.to_json() for report in reports])
    else:
        output.runs_words(reports)


@app.command()
def report(export_id: ExportArgument, run: RunOption = None, json: Json = False) -> None:
    """Report one run: state, times, files and rows, or the error and whether a relaunch can help."""
    from deployments.runs import find_run, report_of

    with opened(json) as workspace:
        workspace.require(export_id)
        found = find_run(workspace.client, export_id, workspace.project.tag, run)
        drawn = report_of(workspace.client, workspace.ledger, export_id, found)
    if json:
        output.data(drawn.to_json())
    else:
        output.report_words(drawn)


@app.command()
def download(
    export_id: ExportArgument,
    run: RunOption = None,
    to: Annotated[
        Path, typer.Option(metavar="FOLDER", exists=True, file_okay=False, help="Where it goes; default: here.")
    ] = Path(),
    json: Json = False,
) -> None:
    """Fetch the file of a finished one shot from its target."""
    from deployments.download import download as fetch

    with opened(json) as workspace:
        paths = fetch(workspace, export_id, to, run)
    if json:
        output.data({"export": export_id, "files": [str(path) for path in paths]})
    else:
        for path in paths:
            output.text(str(path))


@app.command()
def relaunch(export_id: ExportArgument, run: RunOption = None, json: Json = False) -> None:
    """Start a failed run again: the same run, as Retry in the Prefect UI does; a worker takes it."""
    from deployments.lifecycle import relaunch as relaunch_run

    with opened(json) as workspace:
        workspace.require(export_id)
        run_id = relaunch_run(workspace, export_id, run)
    if json:
        output.data({"run_id": run_id, "export": export_id, "status": "running"})
    else:
        output.say(f"run {run_id} of {export_id} waits for a worker to take it again")


def _entry(workspace: Workspace, export_id: str) -> dict[str, Any]:
    from deployments.listing import list_one

    return list_one(workspace, workspace.known(export_id)).to_json()


add_finding_commands(app)
add_authoring_commands(app)
add_window_commands(app)
add_plan_commands(app)
add_machine_commands(app)
