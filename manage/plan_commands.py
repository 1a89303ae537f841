"""The commands that bring Prefect to the catalog, from a terminal or from CI."""

from __future__ import annotations

import json as json_text
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from manage import output
from manage.command import Json, Since, opened

if TYPE_CHECKING:
    from deployments.plan import Difference

#: Longer values are not for one line.
_LONGEST = 60
_DETAILS = {"ledger": "its definition is not in this ledger"}


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
    for difference in found:
        output.text(f"{difference.export}: {_sentence(difference)}")
    output.say(f"{len(found)} differences" if found else "the catalog and Prefect are the same")


def _sentence(difference: Difference) -> str:
    is_live = difference.active and difference.kind == "export"
    scheduled = ", though it is scheduled" if is_live else ""
    if difference.change == "new":
        return "new" if difference.kind == "export" else f"new {difference.kind}"
    if difference.kind != "export" and difference.change == "gone":
        return f"{difference.kind} that nothing needs any more, so it is removed"
    if difference.change == "gone":
        return f"gone from the catalog, so its deployment is removed{scheduled}"
    if difference.change == "orphan":
        return f"no export, but with this project's tag, so it is removed{scheduled}"
    words = [f"{found.key} {_value(found.before)} -> {_value(found.after)}" for found in difference.changes]
    named = {found.key.partition(".")[0] for found in difference.changes}
    words += [_DETAILS.get(detail, detail) for detail in difference.details if detail not in named]
    origin = "changed by hand in Prefect, and put back" if difference.by_hand else "edited"
    live = "; is scheduled: takes effect at once" if is_live else ""
    return f"{origin}: {', '.join(words)}{live}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    shown = f"'{value}'" if isinstance(value, str) else json_text.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
