"""What stands beside the exports' deployments: flows that serve all of them, each with a deployment of its own.

They are made and kept in step by `apply`, and carry the project's tag and `companion`, by which everything that
looks for exports passes them over.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from inspect import cleandoc
from typing import Any

from prefect import Flow
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import ObjectNotFound
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object

from deployments.apply import deploy, ensure_work_pool, own_deployment
from deployments.automations import automation_differences, keep_automations, standing_automations
from deployments.compile import DeploymentSpec
from deployments.plan import Difference, compare
from deployments.prefect_api import COMPANION, companion_deployments
from deployments.project import Project
from deployments.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Companion:
    """A flow to deploy, as `module.function`, and its schedules by slug; see DeploymentSpec for the slugs.

    The flow's own name, docstring and signature become the deployment's name, description and parameter form.
    """

    entrypoint: str
    schedules: Mapping[str, CronSchedule] = field(default_factory=dict)


#: Named by where they are, as a worker loads them: what they do may itself bring companions into step.
COMPANIONS: tuple[Companion, ...] = (Companion("flows.watch.watch"),)


def companion_spec(companion: Companion, project: Project) -> DeploymentSpec:
    """The deployment of one companion. Its name has the project's in it: two projects may share a Prefect server."""
    flow: Flow[..., Any] = import_object(companion.entrypoint)
    return DeploymentSpec(
        name=f"{project.name}-{flow.name}",
        entrypoint=companion.entrypoint,
        version=None,
        description=cleandoc(flow.fn.__doc__ or ""),
        tags=sorted([project.tag, COMPANION]),
        parameters={},
        parameter_schema=parameter_schema(flow).model_dump(mode="json"),
        pull_steps=project.pull_steps,
        work_pool=project.work_pool,
        work_queue=project.work_queue,
        job_variables=project.job_variables,
        schedules=companion.schedules,
    )


def companion_differences(workspace: Workspace) -> list[Difference]:
    """How the companions, then the automations, and Prefect differ, those that are the same left out."""
    client, project = workspace.client, workspace.project
    standing = companion_deployments(client, project.tag)
    watch = next((found.id for found in standing if found.name == _watch(project)), None)
    automations = automation_differences(project, watch, standing_automations(client, project))
    return [*_compare(_specs(project), standing), *automations]


def keep_companions(workspace: Workspace) -> list[Difference]:
    """Make, change and remove companions and automations until they are right; returns what had to be done.

    Raises ExportError DEFINITION_DUPLICATE where a name is somebody else's.
    """
    client, tag, specs = workspace.client, workspace.project.tag, _specs(workspace.project)
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


def _specs(project: Project) -> dict[str, DeploymentSpec]:
    specs: Iterable[DeploymentSpec] = (companion_spec(companion, project) for companion in COMPANIONS)
    return {spec.name: spec for spec in specs}


def _compare(specs: Mapping[str, DeploymentSpec], standing: Sequence[DeploymentResponse]) -> list[Difference]:
    return [
        replace(entry, kind="companion", change="gone" if entry.change == "orphan" else entry.change)
        for entry in compare(specs, standing, ())
        if entry.change != "same"
    ]
