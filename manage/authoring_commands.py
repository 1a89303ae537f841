"""The commands about definitions: one is shown, written anew, copied, edited in the person's own editor or deleted."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from os import environ
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from catalog.errors import Code, ExportError
from manage import output
from manage.command import ExportArgument, Json, opened
from manage.create_command import create

if TYPE_CHECKING:
    from deployments.workspace import Workspace


def add_authoring_commands(app: typer.Typer) -> None:
    """Let the `exports` command know `show`, `create`, `copy`, `edit` and `delete`."""
    for command in (show, create, copy, edit, delete):
        app.command()(command)


def show(export_id: ExportArgument, json: Json = False) -> None:
    """Show the definition an export runs with: what is frozen in its deployment, or else its YAML."""
    from flows.custom_code import customisations

    with opened(json) as workspace:
        frozen = workspace.frozen(export_id)
        export = frozen or workspace.export(export_id)
    customised, standard = customisations(export), export.standard_equivalent
    if json:
        source = "deployment" if frozen else "catalog"
        shown = {"id": export.id, "source": source, "version": export.hash, "definition": export.frozen()}
        output.data({**shown, "customisations": customised, "standard_equivalent": standard and standard.frozen()})
    else:
        output.definition_words(export, customised, frozen=frozen is not None)


def copy(
    export_id: ExportArgument,
    new_id: Annotated[str, typer.Argument(metavar="NEW_ID", help="The new draft's id.")],
    name: Annotated[str | None, typer.Option(help="Its name; by default the original's, said to be a copy.")] = None,
    json: Json = False,
) -> None:
    """Copy an export into a new draft: everything but its watermark, its runs and, if it has them, customisations."""
    from deployments.authoring import copy_export

    with opened(json) as workspace:
        written = copy_export(workspace, export_id, new_id, name)
    if json:
        found = {"id": new_id, "name": written.export.name, "file": str(written.path)}
        output.data({**found, "differences": list(written.differences)})
    else:
        if written.differences:
            output.say(f"It is the standard equivalent of {export_id}, without:")
        for difference in written.differences:
            output.say(f"  {difference}")
        output.say(f"{new_id} is a draft named {written.export.name!r}: edit {written.path}")


def edit(export_id: ExportArgument, json: Json = False) -> None:
    """Edit a draft's definition in $VISUAL or $EDITOR; what `check` refuses is not saved, and never lost."""
    from deployments.authoring import require_editable, save

    with opened(json) as workspace:
        require_editable(workspace, export_id)
        before = workspace.catalog.path_of(export_id).read_text(encoding="utf-8")
        edited = Path(tempfile.mkdtemp(prefix="exports-edit-")) / f"{export_id}.yaml"
        edited.write_text(before, encoding="utf-8")
        _open_editor(edited)
        while _has_errors(workspace, export_id, edited) and _wants_to_go_on():
            _open_editor(edited)
        changed = edited.read_text(encoding="utf-8") != before
        try:
            written = save(workspace, export_id, before, edited) if changed else None
        except ExportError as error:
            error.hint = f"{error.hint or 'mend it'}; your text stands in {edited}"
            raise
        edited.unlink()
        edited.parent.rmdir()
    if json:
        output.data({"id": export_id, "changed": changed, "version": written.export.hash if written else None})
    else:
        output.say(f"{export_id} is saved, version {written.export.hash[:12]}" if written else "nothing was changed")


def delete(
    export_id: ExportArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Remove a draft for good: its YAML and its deployment; its runs stay in the Prefect UI, and its ledger rows."""
    from deployments.deletion import delete_export, refuse_deletion

    with opened(json) as workspace:
        outstanding = refuse_deletion(workspace, export_id)
        lost = f", and {outstanding} outstanding windows are given up: their rows will be in no file"
        output.confirm(f"{export_id} is deleted with its watermark{lost if outstanding else ''}", yes)
        deleted = delete_export(workspace, export_id)
    if json:
        output.data(
            {"id": export_id, "file": str(deleted.file) if deleted.file else None, "given_up": deleted.given_up}
        )
    else:
        seen = f"its runs in the Prefect UI, its windows with `exports ledger {export_id}`"
        output.say(f"{export_id} is deleted; see {seen}")


def _open_editor(path: Path) -> None:
    command = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi")
    _run([*command, str(path)], path)


def _run(command: Sequence[str], path: Path) -> None:
    try:
        subprocess.run(command, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        why = f"exit code {error.returncode}" if isinstance(error, subprocess.CalledProcessError) else error.strerror
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"the editor {command[0]} did not do its work: {why}",
            f"set EDITOR to one that is installed; your text stands in {path}",
        ) from None


def _has_errors(workspace: Workspace, export_id: str, edited: Path) -> bool:
    from deployments.authoring import problems_of

    errors = [found for found in problems_of(workspace.catalog, export_id, edited) if found.severity == "error"]
    for problem in errors:
        output.say(f"{problem.code}: line {problem.line}: {problem.message}")
    return bool(errors)


def _wants_to_go_on() -> bool:
    return sys.stdin.isatty() and typer.confirm("Edit it again? Otherwise it is not saved", default=True, err=True)
