"""What a person or a script sees: data on stdout, talk on stderr."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from catalog.errors import Code, ExportError
from catalog.problem import Problem
from catalog.receipt import RunReport, settled_words
from catalog.report_text import facts, moment

if TYPE_CHECKING:
    from catalog.definition import Export
    from deployments.backfill import Planned
    from deployments.checking import Preview
    from deployments.ledger_view import LedgerEntry
    from deployments.listing import Listed
    from deployments.status import Status
    from deployments.trying import TriedTarget

_stderr = Console(stderr=True, soft_wrap=True)


def data(value: Any) -> None:
    """Print one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def text(line: str) -> None:
    """Print one line of data on stdout."""
    sys.stdout.write(line + "\n")
    # In a pipe, data and talk would otherwise come in another order than they were said.
    sys.stdout.flush()


def say(line: str) -> None:
    """Talk to the person on stderr."""
    _stderr.print(line, markup=False, highlight=False)


def say_quietly(line: str) -> None:
    """Talk to a person at a terminal; in a pipe, say nothing."""
    if _stderr.is_terminal:
        say(line)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on stdout: drawn for a terminal, tab-separated in a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            # A tab or a line end is what tells cells and rows apart: one within a name or a message becomes a space.
            text("\t".join(re.sub(r"[\t\r\n]+", " ", cell) for cell in row))
        return
    drawn = Table(*head, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        drawn.add_row(*row)
    # What stands in brackets or between colons is data here.
    Console(markup=False, emoji=False, highlight=False).print(drawn)


@contextmanager
def failing(json_wanted: bool) -> Iterator[None]:
    """Turn an ExportError into what the contract says: the error object on stdout, or two lines on stderr."""
    try:
        yield
    except ExportError as error:
        fail(error, json_wanted)


def fail(error: ExportError, json_wanted: bool) -> NoReturn:
    """Show the error and exit: 3 when the status refused it, else 1."""
    if json_wanted:
        data({"error": error_object(error)})
    else:
        place = f" ({error.file}{f', line {error.line}' if error.line else ''})" if error.file else ""
        say(f"Error: {error.code}: {error.message}{place}")
        if error.hint:
            say(f"Try: {error.hint}")
    raise typer.Exit(_exit_code(error))


def _exit_code(error: ExportError) -> int:
    return 3 if error.code is Code.STATUS_REFUSED else 1


def error_object(error: ExportError) -> dict[str, Any]:
    """The `error` object of the contract."""
    return {
        "code": str(error.code),
        "message": error.message,
        "hint": error.hint,
        "export": error.export,
        "file": error.file,
        "line": error.line,
    }


def report_words(report: RunReport) -> None:
    """The report of one run in words."""
    for name, value in facts(report):
        text(f"{name + ':':<10} {value}")


def report(drawn: RunReport, json_wanted: bool) -> None:
    """Show the report of a run that has just ended, and exit 1 when it failed."""
    reports([drawn], json_wanted)


def reports(drawn: Iterable[RunReport], json_wanted: bool, *, as_list: bool = False) -> None:
    """Show the reports of runs as they end, and exit 1 when one failed; as JSON all at the end.

    What stands against the runs that are left is the last of a list, as `{"error": ...}`.
    """
    records: list[dict[str, Any]] = []
    try:
        for each in drawn:
            records.append(_record(each))
            if not json_wanted:
                report_words(each)
    except ExportError as error:
        if not (json_wanted and records):
            raise
        data([*records, {"error": error_object(error)}])
        raise typer.Exit(_exit_code(error)) from None
    if json_wanted:
        data(records if as_list else records[0])
    if any(record["status"] == "failed" for record in records):
        raise typer.Exit(1)


def _record(drawn: RunReport) -> dict[str, Any]:
    record = drawn.to_json()
    if drawn.status == "failed":
        code = Code[drawn.error_code or "INTERNAL"]
        error = ExportError(code, drawn.error_message or "", drawn.error_hint, export=drawn.export)
        record["error"] = error_object(error)
    return record


def planned(runs: Sequence[Planned], json_wanted: bool) -> None:
    """What a backfill would deliver, a line for each run."""
    if json_wanted:
        data([run.to_json() for run in runs])
        return
    rows = [
        [
            moment(run.span.since),
            moment(run.span.until),
            "/".join(filter(None, (run.folder, run.file))),
            f"{run.rows:,}",
        ]
        for run in runs
    ]
    table(["since", "until", "file", "rows"], rows)
    say(f"{len(runs)} runs, {sum(run.rows for run in runs):,} rows; nothing was delivered")


def runs_words(reports: Sequence[RunReport]) -> None:
    """Runs, a line each."""
    rows = [
        [
            report.export,
            report.run_id[:8],
            report.status,
            moment(report.started_at),
            f"{report.duration_seconds:.1f} s" if report.duration_seconds is not None else "-",
            str(report.attempts),
            f"{report.rows:,}",
            settled_words(report.delivered_by[:8]) if report.delivered_by else report.message,
        ]
        for report in reports
    ]
    table(["export", "run", "status", "started", "duration", "attempts", "rows", "report"], rows)


def list_words(entries: Sequence[Listed]) -> None:
    """The exports, a line each."""
    rows = [
        [
            entry.id,
            entry.name,
            entry.type,
            entry.database,
            entry.data_type or "-",
            entry.status.replace("_", " "),
            moment(entry.next_run),
            f"{entry.last_run.status} {moment(entry.last_run.ended_at)}" if entry.last_run else "-",
        ]
        for entry in entries
    ]
    table(["id", "name", "type", "database", "data type", "status", "next run", "last run"], rows)


def counts_words(counts: Mapping[Status, int]) -> None:
    """How many exports there are of each status."""
    found = [f"{count} {status.replace('_', ' ')}" for status, count in counts.items() if count]
    say(f"{sum(counts.values())} exports{': ' if found else ''}{', '.join(found)}")


def ledger_words(entries: Sequence[LedgerEntry]) -> None:
    """The windows of an export, a line each."""
    rows = [
        [
            entry.window.id[:8],
            entry.window.kind,
            entry.window.state.value,
            entry.window.bounds.low or "-",
            entry.window.bounds.high or "-",
            ", ".join(file.name for file, _ in entry.parts) or entry.window.first_name,
            f"{sum(file.rows for file, _ in entry.parts):,}",
            entry.window.run_id[:8],
            entry.error_code or "-",
        ]
        for entry in entries
    ]
    table(["window", "kind", "state", "low", "high", "files", "rows", "run", "error"], rows)


def detached(runs: Sequence[tuple[str, str]], json_wanted: bool, *, as_list: bool = False) -> None:
    """Runs that were handed to a worker, each with its export; a list where there may be any number."""
    if json_wanted:
        handed = [{"run_id": run_id, "export": export_id, "status": "scheduled"} for run_id, export_id in runs]
        data(handed if as_list else handed[0])
        return
    for run_id, export_id in runs:
        say(f"run {run_id} of {export_id} waits for a worker")


def confirm(consequence: str, yes: bool) -> None:
    """Ask before something is destroyed; without a terminal, `--yes` has to be given. Exits with 2 otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        say(f"Error: {consequence}\nTry: say --yes if that is wanted")
        raise typer.Exit(2)
    typer.confirm(f"{consequence}. Go on?", abort=True, err=True)


def definition_words(export: Export, customised: Sequence[str], *, frozen: bool) -> None:
    """A definition as YAML, with what it does not say itself as comments."""
    from deployments.compile import definition_yaml

    where = "frozen in its deployment" if frozen else "from the catalog, never deployed"
    text(f"# {export.id}, version {export.hash[:12]}, {where}\n{definition_yaml(export)}".rstrip())
    if export.type == "custom":
        text(f"# its rows are those of flows/custom/{export.id}.py, which is not frozen: as the worker has it")
    if standard := export.standard_equivalent:
        text(f"# customised, beside its standard equivalent (type: incremental, version {standard.hash[:12]}):")
        for sentence in customised:
            text(f"#   {sentence}")
        text("# the Python is not frozen: a run uses what its worker has")


def preview_words(shown: Preview) -> None:
    """What the next run would do: the beginning of its file stands last, as it will be."""
    text(shown.sql)
    names = ", ".join("/".join(filter(None, (shown.folder, name))) for name in shown.files)
    text(f"\nfile:    {names} to {', '.join(shown.targets) or 'the local downloads'}")
    if shown.until:
        text(f"window:  {moment(shown.since) if shown.since else 'the beginning'} to {moment(shown.until)}")
    text(f"columns: {', '.join(f'{name} ({kind})' if kind else name for name, kind in shown.columns)}")
    rows = f"the first {len(shown.rows)} rows" if shown.rows else "no rows"
    text(f"\n{rows}, as {shown.format}:\n\n{shown.text}".rstrip("\n"))


def problem(found: Problem) -> None:
    """One finding of `check`, on stderr when it comes beside other data."""
    place = ":".join(str(part) for part in (found.file, found.line) if part)
    text(f"{found.severity}: {found.code}: {place + ': ' if place else ''}{found.message}")
    if found.hint:
        text(f"  Try: {found.hint}")


def targets_well(tried: Sequence[TriedTarget]) -> None:
    """The targets on which every step went well, a line each."""
    for each in tried:
        if each.problem is None:
            text(f"target {each.target}: {', '.join(each.steps)}: all well")
