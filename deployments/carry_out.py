"""`plan` and `apply`: the catalog against Prefect, all exports at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound

from catalog.definition import Export
from catalog.problem import refuse_errors
from deployments.apply import ensure_work_pool, own_deployment
from deployments.checking import check
from deployments.companions import companion_differences, keep_companions
from deployments.flow_runs import waiting_runs
from deployments.lifecycle import beginning_at, register_and_deploy, remove_waiting, switch_on
from deployments.plan import Difference, compare, keep_start
from deployments.prefect_api import tagged_deployments
from deployments.renamed import refusal, renamed
from deployments.status import is_active
from deployments.workspace import Workspace


def differences(workspace: Workspace) -> list[Difference]:
    """How the catalog and Prefect differ, unchanged exports included, companions last. Looking changes nothing.

    Raises ExportError for a definition that does not load: an unreadable file must not look like one that is gone.
    """
    found, exports, _ = _compare(workspace)
    return [*found, *companion_differences(workspace, exports.values())]


def carry_out(
    workspace: Workspace,
    *,
    activate_new: bool = False,
    since: str | None = None,
    on_step: Callable[[str], None] = lambda line: None,
) -> list[Difference]:
    """Carry every difference out and return those that were; safe to repeat, and to go on with after an interruption.

    New exports are deployed paused, or switched on with `activate_new`. Edited ones stay as active as they are.
    Raises ExportError, before anything is written, for an invalid definition or, without `since`, a changed source or
    a renamed incremental export.
    """
    found, exports, standing = _compare(workspace)
    todo = [difference for difference in found if difference.change != "same"]
    written = [difference for difference in todo if difference.export in exports]
    going_live = [entry.export for entry in written if entry.active or (entry.change == "new" and activate_new)]
    refuse_errors(check(workspace.catalog, [entry.export for entry in written]))
    refuse_errors(check(workspace.catalog, going_live, activating=True))
    for entry in written:
        if entry.change == "new":
            own_deployment(workspace.client, entry.export, workspace.project.tag)
        if entry.renamed_from is not None and since is None:
            raise refusal(entry.export, entry.renamed_from)
    begun = {entry.export: _begun(workspace, exports[entry.export], entry, since) for entry in written}
    if written:
        ensure_work_pool(workspace.client, workspace.project)
    for difference in todo:
        if difference.export in begun:
            export = begun[difference.export]
            going = difference.export in going_live
            # A waiting one shot carries its definition and its moment itself, so it is made anew.
            renewed = going and export.type == "one_shot" and remove_waiting(workspace, export.id) > 0
            deployment = register_and_deploy(workspace, export, live=going)
            if renewed or (going and difference.change == "new"):
                switch_on(workspace, deployment, export)
        else:
            with suppress(ObjectNotFound):
                workspace.client.delete_deployment(standing[difference.export].id)
        on_step(f"{difference.export}: {difference.change}")
    beside = keep_companions(workspace, exports.values())
    for difference in beside:
        on_step(f"{difference.export}: {difference.change}")
    return [*todo, *beside]


def _compare(workspace: Workspace) -> tuple[list[Difference], dict[str, Export], dict[str, DeploymentResponse]]:
    refuse_errors(workspace.catalog.problems)
    standing = {entry.name: entry for entry in tagged_deployments(workspace.client, workspace.project.tag)}
    exports = {name: keep_start(export, standing.get(name)) for name, export in workspace.catalog.exports.items()}
    specs = {name: workspace.compile(export) for name, export in exports.items()}
    active = [name for name, deployment in standing.items() if is_active(deployment)]
    registered = workspace.ledger.registered()
    found = [
        replace(entry, change="edited", details=("ledger",))
        if entry.change == "same" and exports[entry.export].hash not in registered
        else entry
        for entry in compare(specs, standing.values(), active)
    ]
    gone = [standing[entry.export] for entry in found if entry.change == "gone"]
    before = renamed([exports[entry.export] for entry in found if entry.change == "new"], gone, workspace.ledger)
    found = [replace(entry, renamed_from=before.get(entry.export)) for entry in found]
    return [_with_waiting(workspace, entry, exports, standing) for entry in found], exports, standing


def _with_waiting(
    workspace: Workspace, entry: Difference, exports: dict[str, Export], standing: dict[str, DeploymentResponse]
) -> Difference:
    """An edited one shot has no schedule: what was activated and waits for its moment is active too."""
    if entry.change != "edited" or exports[entry.export].type != "one_shot" or standing[entry.export].paused:
        return entry
    waiting = waiting_runs(workspace.client, entry.export, workspace.project.tag, 1)
    return replace(entry, active=True) if waiting else entry


def _begun(workspace: Workspace, export: Export, difference: Difference, since: str | None) -> Export:
    # `since` is for changed sources and ids: a new export beside them begins where its definition says.
    known = difference.renamed_from is not None or workspace.ledger.newest(export.id) is not None
    return beginning_at(workspace, export, since if known else None)
