"""One export definition becomes one deployment specification: pure, so the same definition gives the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.utilities.callables import parameter_schema

from catalog.definition import Export
from deployments.project import Project
from deployments.status import version_tag

#: The one schedule of an export; a slug lets it be patched in place instead of made anew. Where a deployment has
#: several of ours, the others' slugs go on with a hyphen.
SCHEDULE_SLUG = "export"

_WORDS = {
    "one_shot": "once",
    "periodic_full": "everything, each time",
    "incremental": "what is new since the previous run",
    "custom": "read by hand-written Python, each time",
    "incremental_custom": "what is new since the previous run, customised",
}


@dataclass(frozen=True, slots=True)
class DeploymentSpec:
    """Everything Prefect is told about one deployment, whose flow has its name. `schedules` may be empty.

    A schedule is known by its slug; a deployment may have others, added by hand.
    """

    name: str
    entrypoint: str
    version: str | None
    description: str
    tags: list[str]
    parameters: dict[str, Any]
    parameter_schema: dict[str, Any]
    pull_steps: list[dict[str, Any]]
    work_pool: str
    work_queue: str
    job_variables: dict[str, Any]
    schedules: Mapping[str, CronSchedule]


def compile_export(export: Export, data_type: str | None, project: Project) -> DeploymentSpec:
    """The deployment of one export; `data_type` is the export's own or its table's."""
    return DeploymentSpec(
        name=export.id,
        entrypoint=f"flows.exports.{export.id}",
        version=export.hash,
        description=describe(export),
        tags=sorted(_tags(export, data_type, project)),
        parameters={"since": None, "until": None, "definition": export.frozen()},
        parameter_schema=_parameter_form(),
        pull_steps=project.pull_steps,
        work_pool=project.work_pool,
        work_queue=project.work_queue,
        job_variables=project.job_variables,
        schedules=_schedules(export),
    )


def own_schedules(deployment: DeploymentResponse) -> dict[str, DeploymentSchedule]:
    """The deployment's schedules that were made here, by slug; those added by hand are not among them."""
    return {
        entry.slug: entry
        for entry in deployment.schedules
        if entry.slug is not None and f"{entry.slug}-".startswith(f"{SCHEDULE_SLUG}-")
    }


def describe(export: Export) -> str:
    """The deployment's description: one sentence, then the definition in the words of its YAML."""
    table = f"table `{export.table}`" if export.table else "a query"
    source = f"the rows of `flows/custom/{export.id}.py`" if export.type == "custom" else table
    targets = ", ".join(f"target `{name}`" for name in export.targets) or "the local downloads"
    when = f", `{export.schedule.cron}` {export.schedule.timezone}" if export.schedule and export.schedule.cron else ""
    sentence = f"**{export.name}**: {source} of `{export.database}`, {_WORDS[export.type]}, to {targets}{when}."
    paragraphs = [sentence, "\n".join(f"- {each}" for each in export.customisations)]
    return "\n\n".join([*filter(None, paragraphs), f"```yaml\n{definition_yaml(export)}```\n"])


def definition_yaml(export: Export) -> str:
    """The frozen definition in the words of the YAML, without the id (that is the file's name)."""
    content = {key: value for key, value in export.frozen().items() if key != "id"}
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100)
    return text


@cache
def _parameter_form() -> dict[str, Any]:
    # Imports all that a run needs, and most commands compile nothing.
    from flows.run import run

    return parameter_schema(run).model_dump(mode="json")


def _tags(export: Export, data_type: str | None, project: Project) -> list[str]:
    tags = ["export", project.tag, f"database:{export.database}", f"type:{export.type}", version_tag(export.hash)]
    if export.expect_by is not None:
        from flows.late import EXPECT_BY

        tags.append(EXPECT_BY)
    return [*tags, f"data-type:{data_type}"] if data_type else tags


def _schedules(export: Export) -> dict[str, CronSchedule]:
    if export.schedule is None or export.schedule.cron is None:
        return {}
    return {SCHEDULE_SLUG: CronSchedule(cron=export.schedule.cron, timezone=export.schedule.timezone)}
