"""Deleting an export: its definition and its deployment go, what it did stays on record."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prefect.exceptions import ObjectNotFound

from deployments.companions import keep_companions
from deployments.ledger_view import end
from deployments.lifecycle import require_status
from deployments.workspace import Workspace
from flows.late import EXPECT_BY


@dataclass(frozen=True, slots=True)
class Deleted:
    """What went: the definition's file (None: there was none), and how many windows were given up undelivered."""

    export: str
    file: Path | None
    given_up: int


def refuse_deletion(workspace: Workspace, export_id: str) -> int:
    """How many outstanding windows would be given up. Raises ExportError where `delete_export` would."""
    workspace.require(export_id)
    # What was never deployed is a draft, even when its YAML does not load.
    if workspace.deployment(export_id) is not None:
        require_status(workspace, export_id, "delete", {"draft"})
    return len(workspace.ledger.outstanding(export_id))


def delete_export(workspace: Workspace, export_id: str) -> Deleted:
    """Remove a draft for good; safe to repeat after an interruption. Its runs and its ledger rows stay.

    An export that takes the id later inherits nothing: neither watermark nor names, nor the files delivered.
    Raises ExportError EXPORT_UNKNOWN, STATUS_REFUSED when it is no draft, EXPORT_BUSY when a run is at work.
    """
    refuse_deletion(workspace, export_id)
    given_up = end(workspace.ledger, export_id)
    deployment = workspace.deployment(export_id)
    if deployment is not None:
        with suppress(ObjectNotFound):
            workspace.client.delete_deployment(deployment.id)
        if EXPECT_BY in deployment.tags:
            # Nobody need look at that time of day any more.
            keep_companions(workspace)
    # Last: as long as it stands, a deletion that was interrupted can be asked for again.
    path = workspace.catalog.path_of(export_id)
    stood = path.exists()
    path.unlink(missing_ok=True)
    return Deleted(export_id, path if stood else None, given_up)
