"""An export whose YAML got another name: a new id, so that it would begin at the start of its table."""

from __future__ import annotations

from collections.abc import Iterable

from prefect.client.schemas.responses import DeploymentResponse

from catalog.definition import Export
from catalog.errors import Code, ExportError
from flows.parameters import definition_in
from tasks.ledger import Ledger


def renamed(new: Iterable[Export], gone: Iterable[DeploymentResponse], ledger: Ledger) -> dict[str, str]:
    """Those among `new` that seem to have been delivered until now as one that is `gone`, and as which.

    A definition that says itself with which row it begins need not be asked.
    """
    beginning = [export for export in new if export.cursor is not None and export.cursor.start is None]
    if not beginning:
        return {}
    # One that was changed by hand into no definition does not say what it delivered.
    frozen = [old for deployment in gone if (old := definition_in(deployment.parameters)) is not None]
    before = {(old.source_key, old.targets): old.id for old in frozen if ledger.newest(old.id) is not None}
    return {
        export.id: before[export.source_key, export.targets]
        for export in beginning
        if (export.source_key, export.targets) in before and ledger.newest(export.id) is None
    }


def refusal(export_id: str, before: str) -> ExportError:
    """What stands against deploying it without a word on where it begins."""
    return ExportError(
        Code.SOURCE_CHANGED,
        f"{export_id} looks like {before}, whose YAML is gone: under its new id it would begin at the start of its "
        "table and deliver every row again",
        f"call the file {before}.yaml again (`name` is what people see, and free to change), or say where it begins, "
        "with `exports apply --since`: start, now, or a moment as 2026-11-01T00:00",
        export=export_id,
    )
