"""How the catalog and Prefect differ, as data."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import SCHEDULE_TYPES
from pydantic import ValidationError

from catalog.definition import Export
from catalog.errors import Code, ExportError
from deployments.changed import Changed, changed_keys
from deployments.compile import SCHEDULE_SLUG, DeploymentSpec, own_schedules

Change = Literal["new", "edited", "gone", "orphan", "same"]
Kind = Literal["export", "companion", "automation"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One deployment's difference: `details` names what differs, `active` whether it is scheduled now.

    `changes` are the values of what differs in the definition, the schedule and the parameters. `by_hand` tells that
    somebody changed these, the description, the tags or the parameter form in Prefect: the version is the catalog's.
    `renamed_from` is the export, gone from the catalog, that a new one seems to be.
    For what stands beside the exports, `export` is its own name, which no export can have.
    """

    export: str
    change: Change
    details: tuple[str, ...]
    active: bool
    kind: Kind = "export"
    changes: tuple[Changed, ...] = ()
    by_hand: bool = False
    renamed_from: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The difference as `exports plan --json` prints it."""
        return {
            "export": self.export,
            "change": self.change,
            "details": list(self.details),
            "active": self.active,
            "kind": self.kind,
            "changes": [changed.to_json() for changed in self.changes],
            "by_hand": self.by_hand,
            "renamed_from": self.renamed_from,
        }


def compare(
    specs: Mapping[str, DeploymentSpec], deployments: Iterable[DeploymentResponse], active: Iterable[str]
) -> list[Difference]:
    """The differences, unchanged exports included, sorted by export. All `deployments` carry the project's tag."""
    switched_on = set(active)
    by_name = {deployment.name: deployment for deployment in deployments}
    found = [_compare_one(name, spec, by_name.get(name), name in switched_on) for name, spec in specs.items()]
    for name, deployment in by_name.items():
        if name not in specs:
            ours = deployment.entrypoint == f"flows.exports.{name}"
            found.append(Difference(name, "gone" if ours else "orphan", (), name in switched_on))
    return sorted(found, key=lambda difference: difference.export)


def _compare_one(name: str, spec: DeploymentSpec, deployment: DeploymentResponse | None, active: bool) -> Difference:
    if deployment is None:
        return Difference(name, "new", (), active)
    details = changed_fields(spec, deployment)
    if not details:
        return Difference(name, "same", (), active)
    changes = _changes(spec, deployment)
    same_version = spec.version is not None and deployment.version == spec.version
    by_hand = same_version and (bool(changes) or _changed_in_prefect(spec, deployment, details))
    return Difference(name, "edited", tuple(details), active, changes=changes, by_hand=by_hand)


def _changed_in_prefect(spec: DeploymentSpec, deployment: DeploymentResponse, details: Collection[str]) -> bool:
    """Whether something else differs that is made of the definition alone, so that the catalog cannot have moved it."""
    if not {"description", "parameter form"}.isdisjoint(details):
        return True
    # A data type may be its table's, which no definition says.
    return any(not tag.startswith("data-type:") for tag in {*spec.tags} ^ {*deployment.tags})


def _changes(spec: DeploymentSpec, deployment: DeploymentResponse) -> tuple[Changed, ...]:
    definitions = changed_keys(frozen_definition(deployment), spec.parameters.get("definition", {}))
    found = [changed for changed in definitions if not changed.key.startswith("schedule")]
    found += _schedule_changes(spec, deployment)
    standing, wanted = (
        {key: value for key, value in parameters.items() if key != "definition"}
        for parameters in (deployment.parameters or {}, spec.parameters)
    )
    return (*found, *changed_keys(standing, wanted))


def _schedule_changes(spec: DeploymentSpec, deployment: DeploymentResponse) -> Iterator[Changed]:
    """Of what Prefect goes by: its schedule, which a person can change there; of a one shot its moment."""
    standing = _plain({slug: entry.schedule for slug, entry in own_schedules(deployment).items()})
    wanted = _plain(spec.schedules)
    if standing != wanted:
        for slug in sorted({*standing, *wanted}):
            place = "schedule" if slug == SCHEDULE_SLUG else slug
            if slug in standing and slug in wanted:
                yield from changed_keys(standing[slug], wanted[slug], f"{place}.")
            else:
                yield Changed(place, standing.get(slug), wanted.get(slug))
        return
    definitions = (frozen_definition(deployment), spec.parameters.get("definition", {}))
    before, after = ({"schedule": found.get("schedule") or {}} for found in definitions)
    yield from changed_keys(before, after)


def changed_fields(spec: DeploymentSpec, deployment: DeploymentResponse) -> list[str]:
    """The names of what differs: keys of the definition first, then `schedule` and what is common to all exports."""
    wanted, standing = spec.parameters.get("definition", {}), frozen_definition(deployment)
    details = [key for key in sorted({*wanted, *standing}) if wanted.get(key) != standing.get(key)]
    others = deployment.parameters or {}
    details += [
        key
        for key in sorted({*spec.parameters, *others} - {"definition"})
        if spec.parameters.get(key) != others.get(key)
    ]
    pairs = {
        "version": (spec.version, deployment.version),
        "tags": (spec.tags, sorted(deployment.tags)),
        "description": (spec.description, deployment.description),
        "entrypoint": (spec.entrypoint, deployment.entrypoint),
        "pull steps": (spec.pull_steps, deployment.pull_steps),
        "work pool": ((spec.work_pool, spec.work_queue), (deployment.work_pool_name, deployment.work_queue_name)),
        "job variables": (spec.job_variables, deployment.job_variables),
        "parameter form": (spec.parameter_schema, deployment.parameter_openapi_schema),
    }
    details += [name for name, (ours, theirs) in pairs.items() if ours != theirs and not details]
    if "schedule" not in details and schedule_differs(spec, deployment):
        details.append("schedule")
    return details


def schedule_differs(spec: DeploymentSpec, deployment: DeploymentResponse) -> bool:
    """Whether the deployment's own schedules are others than the specification's; those added by hand do not count."""
    standing = {slug: entry.schedule for slug, entry in own_schedules(deployment).items()}
    return _plain(standing) != _plain(spec.schedules)


def _plain(schedules: Mapping[str, SCHEDULE_TYPES]) -> dict[str, Any]:
    return {slug: schedule.model_dump(mode="json") for slug, schedule in schedules.items()}


def frozen_definition(deployment: DeploymentResponse) -> dict[str, Any]:
    """The definition the deployment's runs use, as plain JSON; empty when it carries none."""
    definition = (deployment.parameters or {}).get("definition")
    return definition if isinstance(definition, dict) else {}


def frozen_export(deployment: DeploymentResponse) -> Export:
    """The frozen definition, validated again. Raises ExportError DEFINITION_INVALID when it was changed by hand."""
    try:
        return Export.model_validate(frozen_definition(deployment))
    except ValidationError as error:
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"the definition in the deployment {deployment.name} is not valid any more: {error.error_count()} errors",
            "`exports apply` puts the catalog's definition there again",
            export=deployment.name,
        ) from error


def keep_start(export: Export, deployment: DeploymentResponse | None) -> Export:
    """The definition with the start that was chosen when it was activated, unless the YAML names one of its own."""
    standing = frozen_definition(deployment).get("cursor") if deployment else None
    if export.cursor is None or export.cursor.start is not None or not isinstance(standing, dict):
        return export
    if standing.get("start") is None or standing.get("column") != export.cursor.column:
        return export
    try:
        start = datetime.fromisoformat(standing["start"])
    except (TypeError, ValueError):
        # Changed by hand in Prefect; applying puts it right.
        return export
    return export.model_copy(update={"cursor": export.cursor.model_copy(update={"start": start})})
