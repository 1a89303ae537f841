"""Carrying differences out: what is written to Prefect, and nothing more.

Every function here is safe to repeat. A schedule that has not changed is never sent again, because Prefect
would then make it anew, switched on and under another id.
"""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from catalog.errors import Code, ExportError
from deployments.compile import SCHEDULE_SLUG, DeploymentSpec, own_schedules
from deployments.plan import changed_fields, schedule_differs
from deployments.project import Project
from deployments.status import is_active


def ensure_work_pool(client: SyncPrefectClient, project: Project) -> bool:
    """Make the work pool if there is none; True when it was made. A standing one is left as it is."""
    try:
        client.read_work_pool(project.work_pool)
    except ObjectNotFound:
        # Imported once in a project's life: a worker needs much that no other command does.
        from prefect.workers.process import ProcessWorker

        template = ProcessWorker.get_default_base_job_template()
        try:
            client.create_work_pool(
                WorkPoolCreate(name=project.work_pool, type=project.work_pool_type, base_job_template=template)
            )
        except ObjectAlreadyExists:
            # A worker that starts makes its pool too, and was quicker.
            return False
        return True
    return False


def own_deployment(client: SyncPrefectClient, export_id: str, tag: str) -> DeploymentResponse | None:
    """The export's deployment, or None where its name is free.

    Raises ExportError DEFINITION_DUPLICATE when the name is taken: a new deployment would overwrite it.
    """
    try:
        standing: DeploymentResponse = client.read_deployment_by_name(f"{export_id}/{export_id}")
    except ObjectNotFound:
        return None
    if tag in standing.tags:
        return standing
    raise ExportError(
        Code.DEFINITION_DUPLICATE,
        f"Prefect has a deployment {export_id}/{export_id} without this project's tag: it is somebody else's",
        f"rename the export's file; or, if it is this project's, delete deployment {standing.id} and try again",
        export=export_id,
    )


def deploy(
    client: SyncPrefectClient, spec: DeploymentSpec, standing: DeploymentResponse | None, *, live: bool = False
) -> DeploymentResponse:
    """Bring the deployment to its specification: a new one paused unless `live`, a standing one as active as it was."""
    if standing is None:
        return _create(client, spec, live)
    if not changed_fields(spec, standing):
        return standing
    _update(client, spec, standing)
    deployment: DeploymentResponse = client.read_deployment(standing.id)
    return deployment


def _create(client: SyncPrefectClient, spec: DeploymentSpec, live: bool) -> DeploymentResponse:
    flow_id = client.create_flow_from_name(spec.name)
    schedules = [DeploymentScheduleCreate(schedule=schedule, slug=slug) for slug, schedule in spec.schedules.items()]
    deployment_id = client.create_deployment(
        flow_id=flow_id, name=spec.name, schedules=schedules, paused=not live, **_told(spec)
    )
    deployment: DeploymentResponse = client.read_deployment(deployment_id)
    return deployment


def _update(client: SyncPrefectClient, spec: DeploymentSpec, standing: DeploymentResponse) -> None:
    # The schedule first: the update below removes the runs that were made with the old parameters, and the
    # scheduler makes them again from what then stands.
    if schedule_differs(spec, standing):
        _update_schedules(client, spec, standing)
    client.update_deployment(standing.id, DeploymentUpdate(**_told(spec)))


def _told(spec: DeploymentSpec) -> dict[str, Any]:
    """What Prefect is told of a new deployment and of a changed one alike; schedules are told apart."""
    return {
        "version": spec.version,
        "description": spec.description,
        "tags": spec.tags,
        "entrypoint": spec.entrypoint,
        "parameters": spec.parameters,
        "parameter_openapi_schema": spec.parameter_schema,
        "enforce_parameter_schema": True,
        "pull_steps": spec.pull_steps,
        "work_pool_name": spec.work_pool,
        "work_queue_name": spec.work_queue,
        "job_variables": spec.job_variables,
    }


def _update_schedules(client: SyncPrefectClient, spec: DeploymentSpec, standing: DeploymentResponse) -> None:
    ours = own_schedules(standing)
    for slug in ours.keys() - spec.schedules.keys():
        client.delete_deployment_schedule(standing.id, ours[slug].id)
    for slug, schedule in spec.schedules.items():
        if slug not in ours:
            # A draft may be one by its schedule alone: its deployment need not be paused.
            active = slug != SCHEDULE_SLUG or is_active(standing)
            added = DeploymentScheduleCreate(schedule=schedule, slug=slug, active=active)
            client.create_deployment_schedules(standing.id, [added])
        elif ours[slug].schedule.model_dump() != schedule.model_dump():
            client.update_deployment_schedule(standing.id, ours[slug].id, schedule=schedule)
