"""Writing definitions: a new one, a copy of another, and what a person has edited."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from catalog import rewrite
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.load import Catalog, read_export, refuse_no_id
from catalog.problem import Problem, refuse_errors
from deployments.apply import own_deployment
from deployments.checking import check
from deployments.compile import definition_yaml
from deployments.custom_refusals import refuse_custom
from deployments.ledger_view import end
from deployments.lifecycle import require_status
from deployments.standard import standard_text
from deployments.workspace import Workspace
from flows.custom_code import customisations


@dataclass(frozen=True, slots=True)
class Written:
    """A definition's file as it stands now; `differences` are those of a copy from its original, but for the name."""

    export: Export
    path: Path
    differences: tuple[str, ...] = ()


def copy_export(workspace: Workspace, export_id: str, new_id: str, name: str | None = None) -> Written:
    """A new draft with everything of the export but its watermark; its name is `name`, or says that it is a copy.

    Of an `incremental_custom` export it is its standard equivalent. Comments and order of the YAML are kept.
    Raises ExportError STATUS_REFUSED while a run is at work and for a custom export, and DEFINITION_INVALID or
    DEFINITION_DUPLICATE for an id or name that cannot be.
    """
    original = workspace.known(export_id)
    refuse_custom(original, "copy")
    require_status(workspace, export_id, "copy", {"draft", "scheduled", "finished"})
    refuse_no_id(new_id)
    if own_deployment(workspace.client, new_id, workspace.project.tag) is not None:
        raise ExportError(
            Code.DEFINITION_DUPLICATE,
            f"there is an export {new_id} in Prefect already, though not in the catalog",
            "take another id, or let `exports apply` remove that one",
        )
    differences: tuple[str, ...] = ()
    # One whose YAML is gone, or does not load any more, is copied as its deployment has it.
    loads, path = export_id in workspace.catalog.exports, workspace.catalog.path_of(export_id)
    written = path.read_text(encoding="utf-8") if loads else definition_yaml(original)
    if original.standard_equivalent is not None:
        written, differences = standard_text(workspace.catalog, written, original), tuple(customisations(original))
    chosen = name if name is not None else _free_name(original.name, workspace.catalog.exports.values())
    copied = workspace.catalog.path_of(new_id)
    rewrite.create(copied, rewrite.with_text(written, "name", chosen))
    try:
        export = _valid(workspace.catalog, new_id, copied)
        # Prefect and the catalog know of no such export: what the ledger has of the id is of one that is no more.
        end(workspace.ledger, new_id)
        return Written(export, copied, differences)
    except ExportError:
        copied.unlink()
        raise


def require_draft(workspace: Workspace, export_id: str, action: str) -> None:
    """Raises ExportError EXPORT_UNKNOWN, or STATUS_REFUSED when the export is no draft."""
    workspace.catalog.require(export_id)
    # What was never deployed is a draft, even when its YAML does not load: editing is what mends it.
    if workspace.deployment(export_id) is not None:
        require_status(workspace, export_id, action, {"draft"})


def require_editable(workspace: Workspace, export_id: str) -> None:
    """Raises ExportError EXPORT_UNKNOWN, or STATUS_REFUSED when the export is no draft, or a custom one."""
    if export_id in workspace.catalog.exports:
        refuse_custom(workspace.catalog.exports[export_id], "edit")
    require_draft(workspace, export_id, "edit")


def problems_of(catalog: Catalog, export_id: str, edited: Path) -> list[Problem]:
    """What `check` has against the export, were `edited` its file."""
    found = read_export(edited, catalog.folder)
    if not isinstance(found, Export):
        return found
    others = tuple(problem for problem in catalog.problems if problem.export != export_id)
    exports = {**catalog.exports, export_id: found}
    return check(replace(catalog, exports=exports, problems=others), [export_id], edited=edited)


def save(workspace: Workspace, export_id: str, before: str, edited: Path) -> Written:
    """Put the edited text in the place of `before`.

    Raises ExportError for the first error that `check` finds in it, or when the file was changed meanwhile.
    """
    refuse_errors(problems_of(workspace.catalog, export_id, edited))
    path = workspace.catalog.path_of(export_id)
    rewrite.replace(path, before, edited.read_text(encoding="utf-8"))
    return Written(_valid(workspace.catalog, export_id, path), path)


def _valid(catalog: Catalog, export_id: str, path: Path) -> Export:
    found = read_export(path, catalog.folder)
    if not isinstance(found, Export):
        raise found[0].as_error()
    names = {export.name.casefold() for export in catalog.exports.values() if export.id != export_id}
    if found.name.casefold() in names:
        raise ExportError(
            Code.DEFINITION_DUPLICATE,
            f"there is another export named {found.name!r}",
            "give each export a name of its own",
            export=export_id,
            key="name",
        )
    return found


def _free_name(original: str, others: Iterable[Export]) -> str:
    taken = {export.name.casefold() for export in others}
    candidates = (f"{original} (copy{f' {number}' if number > 1 else ''})" for number in count(1))
    return next(name for name in candidates if name.casefold() not in taken)


def create_export(catalog: Catalog, export_id: str, content: Mapping[str, Any]) -> Written:
    """Write a new draft from the keys and values of a definition; what is at its default is left out.

    Raises ExportError for the first error that `check` finds in it, DEFINITION_DUPLICATE when the id is taken.
    """
    refuse_no_id(export_id)
    path = catalog.path_of(export_id)
    rewrite.refuse_taken(path)
    export = composed(catalog, export_id, content)
    rewrite.create(path, definition_yaml(export))
    return Written(export, path)


def composed(catalog: Catalog, export_id: str, content: Mapping[str, Any]) -> Export:
    """The definition with these keys and values, checked. Raises ExportError for the first error that is found."""
    refuse_no_id(export_id)
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{export_id}.yaml"
        path.write_text(yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True), encoding="utf-8")
        # Without lines: they are those of a file that nobody sees.
        refuse_errors(replace(found, file=None, line=None) for found in problems_of(catalog, export_id, path))
        return _valid(catalog, export_id, path)
