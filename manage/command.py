"""What the commands have in common: their arguments, and the workspace they open."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from manage import output

if TYPE_CHECKING:
    from deployments.workspace import Workspace

ExportArgument = Annotated[str, typer.Argument(metavar="ID", help="The export's id: its file's name without .yaml.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Detach = Annotated[bool, typer.Option("--detach", help="Hand the run to a worker instead.")]

Since = Annotated[
    str | None,
    typer.Option(
        help="After a change of source or cursor, where it begins: start, now, or a moment (2026-11-01T00:00)."
    ),
]


@contextmanager
def opened(json_wanted: bool) -> Iterator[Workspace]:
    """The workspace of one command; an ExportError in it is shown as the contract says."""
    from deployments.workspace import open_workspace
    from manage.server import running_server

    with output.failing(json_wanted), running_server(), open_workspace() as workspace:
        yield workspace


def quiet_logs() -> None:
    """Keep Prefect's log lines off a stderr that nobody watches; Prefect's server still gets them.

    Prefect reads this when it is imported, so it has to be called before that.
    """
    if not sys.stderr.isatty():
        os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
