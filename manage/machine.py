"""The commands about this machine: run everything here, the demo, and the schemas for editors."""

from __future__ import annotations

from typing import Annotated

import typer

from manage import output
from manage.command import Json


def add_machine_commands(app: typer.Typer) -> None:
    """Let the `exports` command know `start`, `demo` and `schema`."""
    for command in (start, demo, schema):
        app.command()(command)


def start(
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the Prefect server and UI.")] = 4200,
    json: Json = False,
) -> None:
    """Run everything on this machine: the Prefect server and UI, a worker, and every active export."""
    from manage.server import end_like_ctrl_c, run_here_until_stopped

    end_like_ctrl_c()
    with output.failing(json):
        run_here_until_stopped(port, json)


def demo(
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Open the finished demo's Prefect UI again.")] = False,
    json: Json = False,
) -> None:
    """Deliver a made-up CRM's exports through a real Prefect server and worker."""
    from manage.demo import run_demo, serve_demo, show_reports
    from manage.server import end_like_ctrl_c

    end_like_ctrl_c()
    with output.failing(json):
        if dashboard:
            serve_demo()
            return
        reports = run_demo()
    if json:
        output.data([report.to_json() for report in reports])
    else:
        show_reports(reports)


def schema(json: Json = False) -> None:
    """Write the JSON Schemas with which editors complete and check the catalog's YAML."""
    from catalog.json_schema import write_schemas
    from catalog.places import catalog_folder

    with output.failing(json):
        folder = catalog_folder() / ".schema"
        write_schemas(folder)
    if json:
        output.data({"folder": str(folder)})
    else:
        output.say(f"schemas written to {folder}")
