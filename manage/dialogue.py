"""The questions of `exports create` on a terminal: each shows what there is to choose from, and has a default."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import typer
from pydantic import ValidationError

from catalog.connections import Database
from catalog.definition import INCREMENTAL_TYPES, STANDARD_TYPES, Export
from catalog.errors import Code, ExportError
from catalog.explain import in_words
from catalog.load import Catalog
from catalog.schedule import check_cron, check_timezone, occurrences
from catalog.windows import Bounds
from deployments.authoring import composed
from deployments.compile import definition_yaml
from flows.report import secret_block
from manage import output
from tasks.connect import Source, open_source
from tasks.source.explore import cursor_choices, table_names
from tasks.source.read import Shown, preview, source_columns, verify

_SAMPLE = 3
_MOST_NAMES = 60
_FORMATS = ("csv", "jsonl", "parquet", "xlsx")


def ask(catalog: Catalog, export_id: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The keys and values of a definition: those given, and answers for what they leave open.

    Raises typer.Abort when the person does not want what came of it, ExportError when the database cannot be asked.
    """
    content = dict(given)
    if "name" not in content:
        content["name"] = typer.prompt("Name", default=export_id.replace("_", " ").capitalize(), err=True)
    if "database" not in content:
        content["database"] = _choose("Database", sorted(catalog.databases))
    database = catalog.databases.get(content["database"])
    if database is None:
        raise ExportError(
            Code.DEFINITION_INVALID, f"there is no databases/{content['database']}.yaml", "write it first"
        )
    if "type" not in content:
        content["type"] = _choose("Type", STANDARD_TYPES, "periodic_full")
    if content["type"] != "custom":
        with open_source(content["database"], database, secret_block) as source:
            _ask_rows(source, database, export_id, content)
    _ask_file(catalog, export_id, content)
    _ask_schedule(content)
    _confirm(composed(catalog, export_id, content))
    return content


def _ask_rows(source: Source, database: Database, export_id: str, content: dict[str, Any]) -> None:
    if "table" not in content and "query" not in content:
        content["table"] = _choose("Table", table_names(source))
    export = _plain(export_id, content)
    shown = preview(source, export, Bounds(), _SAMPLE)
    columns = source_columns(source, export)
    _show_columns(shown)
    if "query" not in content and "columns" not in content:
        answer = typer.prompt("Columns, in order, with commas (column:other_name renames)", default="all", err=True)
        if answer != "all":
            pairs = [part.strip().partition(":") for part in answer.split(",")]
            content["columns"] = [{column: other} if other else column for column, _, other in pairs]
    if "query" not in content and "where" not in content:
        _until_right(lambda: _ask_filter(database, export_id, content))
    if content["type"] in INCREMENTAL_TYPES and "cursor" not in content:
        choices = cursor_choices(source, export, columns)
        if not choices:
            raise ExportError(
                Code.CURSOR_TYPE, "no column of this table says when a row was changed", "take another type of export"
            )
        reasons = {_in_words(choice.cursor): choice.reason for choice in choices}
        chosen = _choose("What is new is known by", list(reasons), next(iter(reasons)), reasons)
        content["cursor"] = next(choice.cursor for choice in choices if _in_words(choice.cursor) == chosen)


def _ask_filter(database: Database, export_id: str, content: dict[str, Any]) -> None:
    answer = typer.prompt("Only rows where (SQL)", default="all rows", err=True)
    if answer != "all rows":
        # On a connection of its own: a mistake in SQL ends a transaction.
        with open_source(content["database"], database, secret_block) as source:
            verify(source, _plain(export_id, {**content, "where": answer}))
        content["where"] = answer


def _ask_file(catalog: Catalog, export_id: str, content: dict[str, Any]) -> None:
    file = content.setdefault("file", {})
    if "format" not in file:
        file["format"] = _choose("Format", _FORMATS, "csv")
    if "name" not in file:
        date = "{date:%Y%m%dT%H%M%S}" if content["type"] in INCREMENTAL_TYPES else "{date:%Y%m%d}"
        default = f"{export_id}_{date}.{file['format']}"
        file["name"] = typer.prompt("File name", default=default, err=True)
    if "target" not in content:
        none = "the local downloads"
        names = [*sorted(catalog.targets), *([none] if content["type"] == "one_shot" else [])]
        target = _choose("Target", names)
        if target != none:
            content["target"] = target


def _ask_schedule(content: dict[str, Any]) -> None:
    if "schedule" in content or content["type"] == "one_shot":
        return
    schedule: dict[str, Any] = {}
    _until_right(lambda: _ask_cron(schedule))
    if schedule:
        content["schedule"] = schedule


def _ask_cron(schedule: dict[str, Any]) -> None:
    cron = typer.prompt("When, as five cron fields, or never", default="0 2 * * *", err=True)
    if cron == "never":
        return
    timezone = typer.prompt("In the time zone", default="UTC", err=True)
    check_cron(cron)
    check_timezone(timezone)
    times = islice(occurrences(cron, ZoneInfo(timezone), datetime.now(UTC)), 3)
    output.say(f"  next: {', '.join(f'{time:%Y-%m-%d %H:%M}' for time in times)}")
    schedule.update(cron=cron, timezone=timezone)


def _confirm(export: Export) -> None:
    output.say(f"\n{definition_yaml(export)}")
    typer.confirm("Write it?", default=True, abort=True, err=True)


def _choose(
    question: str, options: Sequence[str], default: str | None = None, reasons: Mapping[str, str] | None = None
) -> str:
    """One of the options, by name or number; `reasons` say what some are good for."""
    for number, option in enumerate(options[:_MOST_NAMES], 1):
        output.say(f"  {number}. {option}" + (f": {reasons[option]}" if reasons else ""))
    if len(options) > _MOST_NAMES:
        output.say(f"  ... and {len(options) - _MOST_NAMES} more")
    while True:
        answer = str(typer.prompt(question, default=default or (options[0] if len(options) == 1 else None), err=True))
        if answer in options:
            return answer
        if answer.isdigit() and 0 < int(answer) <= len(options):
            return options[int(answer) - 1]
        output.say(f"  {answer} is none of them")


def _until_right(question: Callable[[], None]) -> None:
    while True:
        try:
            question()
            return
        except (ExportError, ValueError) as error:
            output.say(f"  {error}")


def _show_columns(shown: Shown) -> None:
    samples = zip(*shown.rows, strict=True) if shown.rows else [()] * len(shown.columns)
    for (name, kind), cells in zip(shown.columns, samples, strict=True):
        values = ", ".join("NULL" if cell is None else _shortened(cell) for cell in cells)
        output.say(f"  {name:<24} {kind:<28} {values}")


def _shortened(cell: str) -> str:
    return cell if len(cell) <= 24 else f"{cell[:21]}..."


def _in_words(cursor: Mapping[str, Any]) -> str:
    return " ".join(str(cursor[key]) for key in ("mode", "column") if key in cursor)


def _plain(export_id: str, content: Mapping[str, Any]) -> Export:
    """The rows alone, as an export that needs nothing else. Raises ExportError for an option that cannot be."""
    rows = {key: content[key] for key in ("database", "table", "query", "columns", "where") if key in content}
    try:
        return Export.model_validate(
            {"id": export_id, "name": export_id, "type": "one_shot", "file": {"name": "rows.csv"}, **rows}
        )
    except ValidationError as error:
        raise ExportError(Code.DEFINITION_INVALID, in_words(error), "give it otherwise, or leave it out") from None
