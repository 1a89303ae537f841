"""What stands beside the exports' deployments: flows that serve all of them, each with a deployment of its own.

They are made and kept in step by `apply`, and carry the project's tag and `companion`, by which everything that
looks for exports passes them over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from inspect import cleandoc
from typing import Any

from prefect import Flow
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object

from catalog.definition import Export
from catalog.errors import ExportError
from deployments.apply import deploy, ensure_work_pool, own_deployment
from deployments.automations import automation_differences, keep_automations, standing_automations
from deployments.compile import SCHEDULE_SLUG, DeploymentSpec
from deployments.plan import Difference, compare, frozen_export
from deployments.prefect_api import COMPANION, companion_deployments, tagged_deployments
from deployments.project import Project
from deployments.workspace import Workspace
from flows.late import EXPECT_BY

#: Marks the companions that a person starts, so that one click on a tag shows them all.
ACTION = "export-actions"


@dataclass(frozen=True, slots=True)
class Companion:
    """A flow to deploy, as `module.function`, and its schedules by slug; see DeploymentSpec for the slugs.

    The flow's own name, docstring and signature become the deployment's name, description and parameter form.
    The schedules follow from the definitions that expect a file by a time of day. `tags` are added to those that every
    companion has.
    """

    entrypoint: str
    schedules: Callable[[Iterable[Export]], dict[str, CronSchedule]] = lambda expecting: {}
    tags: tuple[str, ...] = ()


def _at_each_deadline(expecting: Iterable[Export]) -> dict[str, CronSchedule]:
    """One schedule for each time of day and zone by which some file is expected."""
    found = {(export.expect_by, export.timezone.key) for export in expecting if export.expect_by is not None}
    return {
        f"{SCHEDULE_SLUG}-{clock}-{zone}": CronSchedule(cron=f"{int(clock[3:])} {int(clock[:2])} * * *", timezone=zone)
        for clock, zone in sorted(found)
    }


#: Named by where they are, as a worker loads them: what they do may itself bring companions into step.
COMPANIONS: tuple[Companion, ...] = (
    Companion("flows.watch.watch", _at_each_deadline),
    Companion("deployments.forms.check", tags=(ACTION,)),
    Companion("deployments.forms.copy", tags=(ACTION,)),
    Companion("deployments.forms.unschedule", tags=(ACTION,)),
    Companion("deployments.forms.download", tags=(ACTION,)),
    Companion("deployments.forms.apply", tags=(ACTION,)),
)


def companion_spec(companion: Companion, project: Project, expecting: Iterable[Export]) -> DeploymentSpec:
    """The deployment of one companion; `expecting` are the definitions with `expect_by`.

    Its name has the project's in it: two projects may share a Prefect server.
    """
    flow: Flow[..., Any] = import_object(companion.entrypoint)
    return DeploymentSpec(
        name=f"{project.name}-{flow.name}",
        entrypoint=companion.entrypoint,
        version=None,
        # What the parameters mean stands in the form, each at its own.
        description=cleandoc(flow.fn.__doc__ or "").partition("\n\nArgs:\n")[0],
        tags=sorted([project.tag, COMPANION, *companion.tags]),
        parameters={},
        parameter_schema=parameter_schema(flow).model_dump(mode="json"),
        pull_steps=project.pull_steps,
        work_pool=project.work_pool,
        work_queue=project.work_queue,
        job_variables=project.job_variables,
        schedules=companion.schedules(expecting),
    )


def companion_differences(workspace: Workspace, exports: Iterable[Export]) -> list[Difference]:
    """How the companions, then the automations, and Prefect differ, those that are the same left out.

    `exports` are all that will be deployed.
    """
    client, project = workspace.client, workspace.project
    standing = companion_deployments(client, project.tag)
    watch = next((found.id for found in standing if found.name == _watch(project)), None)
    automations = automation_differences(project, watch, standing_automations(client, project))
    return [*_compare(_specs(project, exports), standing), *automations]


def keep_companions(workspace: Workspace, exports: Iterable[Export] | None = None) -> list[Difference]:
    """Make, change and remove companions and automations until they are right; returns what had to be done.

    `exports` are all that are deployed; left out, Prefect is asked for those that matter here.
    Raises ExportError DEFINITION_DUPLICATE where a name is somebody else's.
    """
    client, tag = workspace.client, workspace.project.tag
    specs = _specs(workspace.project, _expecting(client, tag) if exports is None else exports)
    found = _compare(specs, companion_deployments(client, tag))
    if found:
        ensure_work_pool(client, workspace.project)
    for difference in found:
        standing = own_deployment(client, difference.export, tag)
        if difference.export in specs:
            deploy(client, specs[difference.export], standing, live=True)
        elif standing is not None:
            with suppress(ObjectNotFound):
                client.delete_deployment(standing.id)
    watch = own_deployment(client, _watch(workspace.project), tag)
    assert watch is not None, "it has just been made"
    return [*found, *keep_automations(client, workspace.project, watch.id)]


def _watch(project: Project) -> str:
    return f"{project.name}-watch"


def _expecting(client: SyncPrefectClient, tag: str) -> list[Export]:
    found: list[Export] = []
    for deployment in tagged_deployments(client, tag, EXPECT_BY):
        # Changed by hand: nothing can be expected of it.
        with suppress(ExportError):
            found.append(frozen_export(deployment))
    return found


def _specs(project: Project, exports: Iterable[Export]) -> dict[str, DeploymentSpec]:
    expecting = [export for export in exports if export.expect_by is not None]
    specs = (companion_spec(companion, project, expecting) for companion in COMPANIONS)
    return {spec.name: spec for spec in specs}


def _compare(specs: Mapping[str, DeploymentSpec], standing: Sequence[DeploymentResponse]) -> list[Difference]:
    return [
        replace(entry, kind="companion", change="gone" if entry.change == "orphan" else entry.change)
        for entry in compare(specs, standing, ())
        if entry.change != "same"
    ]
