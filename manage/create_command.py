"""`exports create`: everything as options, or asked for on a terminal."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from manage import output
from manage.command import Json


def create(
    export_id: Annotated[str, typer.Argument(metavar="ID", help="The new export's id, which names its file.")],
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    type_: Annotated[
        str | None, typer.Option("--type", help="one_shot, periodic_full, incremental, incremental_custom or custom.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="A file in databases/.")] = None,
    table: Annotated[str | None, typer.Option(help="The table, or schema.table.")] = None,
    query: Annotated[str | None, typer.Option(help="A SELECT instead of a table.")] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="A column, or column:other_name; once for each. Default: all.")
    ] = None,
    where: Annotated[str | None, typer.Option(help="A row filter, as it would stand after WHERE.")] = None,
    cursor: Annotated[str | None, typer.Option(help="The column that says when a row was last changed.")] = None,
    mode: Annotated[str | None, typer.Option(help="lag, guarded or xid.")] = None,
    file_name: Annotated[str | None, typer.Option(help="The file's name, as orders_{date:%Y%m%d}.csv.")] = None,
    format_: Annotated[str | None, typer.Option("--format", help="csv, jsonl, parquet or xlsx.")] = None,
    compression: Annotated[str | None, typer.Option(help="none, gzip, zip or zstd.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="A file in targets/; once for each.")] = None,
    folder: Annotated[str | None, typer.Option(help="A folder below the target.")] = None,
    cron: Annotated[str | None, typer.Option(help="Five cron fields.")] = None,
    at: Annotated[str | None, typer.Option(help="One moment, for a one shot.")] = None,
    timezone: Annotated[str | None, typer.Option(help="The schedule's zone, as Europe/Brussels.")] = None,
    data_type: Annotated[str | None, typer.Option(help="What the rows are.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any other key, as file.manifest=true.")
    ] = None,
    json: Json = False,
) -> None:
    """Write a new draft; on a terminal, whatever is left out is asked for."""
    from catalog.load import load_catalog
    from deployments.authoring import create_export

    given = {
        "name": name,
        "type": type_,
        "database": database,
        "table": table,
        "query": query,
        "data_type": data_type,
        "where": where,
        "folder": folder,
        "file.name": file_name,
        "file.format": format_,
        "file.compression": compression,
        "schedule.cron": cron,
        "schedule.at": at,
        "schedule.timezone": timezone,
        "cursor.column": cursor,
        "cursor.mode": mode,
    }
    content: dict[str, Any] = {}
    for key, value in given.items():
        if value is not None:
            _put(content, key, value)
    if column:
        content["columns"] = [_renamed(entry) for entry in column]
    if target:
        content["target"] = target[0] if len(target) == 1 else target
    for entry in set_ or ():
        _set(content, entry)
    with output.failing(json):
        catalog = load_catalog()
        if sys.stdin.isatty() and sys.stdout.isatty() and not json:
            from manage.dialogue import ask

            content = ask(catalog, export_id, content)
        written = create_export(catalog, export_id, {"name": export_id, **content})
    if json:
        output.data({"id": export_id, "file": str(written.path), "definition": written.export.frozen()})
    else:
        look = "check" if written.export.type == "custom" else "preview"
        output.say(f"{written.path} is written; look with `exports {look} {export_id}`, then activate or run it")


def _set(content: dict[str, Any], entry: str) -> None:
    # As the catalog's own files are read: 12:30 is a text to YAML 1.2, and to 1.1 a number of seconds.
    from catalog.yaml_file import read_value

    key, separator, value = entry.partition("=")
    if not separator:
        raise typer.BadParameter(f"{entry} is no KEY=VALUE", param_hint="--set")
    try:
        _put(content, key, read_value(value))
    except ValueError as error:
        raise typer.BadParameter(f"{entry} cannot be used: {error}", param_hint="--set") from None


def _put(content: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        content = content.setdefault(parent, {})
        if not isinstance(content, dict):
            raise ValueError(f"{parent} is a value already, and has no keys")
    content[last] = value


def _renamed(entry: str) -> str | dict[str, str]:
    column, separator, other = entry.partition(":")
    return {column: other} if separator else column
