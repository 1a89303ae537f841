"""What is not done with a custom export: its rows are Python's, and so is every change to them."""

from __future__ import annotations

from typing import Literal

from catalog.definition import Export
from catalog.errors import Code, ExportError

Action = Literal["edit", "copy", "preview", "backfill", "download"]

_INSTEAD: dict[Action, str] = {
    "edit": "edit its Python and its YAML in the repository, then `exports check {id}`",
    "copy": "copy flows/custom/{id}.py and its YAML in the repository, under another id",
    "preview": "run it: `exports run {id}`",
    "backfill": "it has no windows: let its Python read that span, then `exports run {id}`",
    "download": "its file stands where `exports report {id}` says",
}


def refuse_custom(export: Export, action: Action) -> None:
    """Raises ExportError STATUS_REFUSED, with what to do instead, when the export is a custom one."""
    if export.type == "custom":
        raise ExportError(
            Code.STATUS_REFUSED,
            f"export {export.id} is custom: flows/custom/{export.id}.py makes its rows, and there is no {action} of it",
            _INSTEAD[action].format(id=export.id),
            export=export.id,
        )
