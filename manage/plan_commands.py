"""The commands that bring Prefect to the catalog, from a terminal or from CI."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from manage import output
from manage.command import Json, Since, opened

if TYPE_CHECKING:
    from deployments.plan import Difference


def add_plan_commands(app: typer.Typer) -> None:
    """Let the `exports` command know `plan` and `apply`."""
    for command in (plan, apply):
        app.command()(command)


def plan(
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 4 when something would change.")] = False,
    json: Json = False,
) -> None:
    """Show how the catalog and Prefect differ; nothing is changed."""
    from deployments.carry_out import differences

    with opened(json) as workspace:
        found = [difference for difference in differences(workspace) if difference.change != "same"]
    _show(found, json)
    if exit_code and found:
        raise typer.Exit(4)


def apply(
    activate: Annotated[bool, typer.Option("--activate", help="Switch new exports on.")] = False,
    since: Since = None,
    json: Json = False,
) -> None:
    """Bring Prefect to the catalog: new exports are deployed paused, edited ones updated, gone ones removed."""
    from deployments.carry_out import carry_out

    with opened(json) as workspace:
        done = carry_out(workspace, activate_new=activate, since=since, on_step=output.say_quietly)
    _show(done, json)


def _show(found: Sequence[Difference], json_wanted: bool) -> None:
    if json_wanted:
        output.data([difference.to_json() for difference in found])
        return
    from deployments.plan_text import sentence

    for difference in found:
        output.text(f"{difference.export}: {sentence(difference)}")
    output.say(f"{len(found)} differences" if found else "the catalog and Prefect are the same")
