"""`prefect.yaml`: what all deployments have in common, kept there by hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import yaml
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
from prefect.utilities.templating import apply_values

from catalog.errors import Code, ExportError
from catalog.places import ROOT


@dataclass(frozen=True, slots=True)
class Project:
    """The common part of every deployment: project name, how a worker gets the code, and the work pool."""

    name: str
    pull_steps: list[dict[str, Any]]
    work_pool: str
    work_pool_type: str
    work_queue: str
    job_variables: dict[str, Any]

    @property
    def tag(self) -> str:
        """The tag every deployment of this project carries; nothing without it is ever touched."""
        return f"project:{self.name}"

    @property
    def heartbeat_seconds(self) -> int:
        """How often a run on a worker tells Prefect that it is alive."""
        configured = self.job_variables.get("env", {}).get("PREFECT_FLOWS_HEARTBEAT_FREQUENCY")
        return int(configured) if configured else int(PREFECT_FLOWS_HEARTBEAT_FREQUENCY.default())


def load_project() -> Project:
    """Read `prefect.yaml`; `{{ root }}` in it becomes the repository's folder.

    Raises ExportError DEFINITION_INVALID when a key that a deployment needs is missing.
    """
    path = ROOT / "prefect.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        pool = content["definitions"]["work_pool"]
        steps: Any = apply_values(content["pull"], {"root": str(ROOT)}, remove_notset=False)
        return Project(
            name=content["name"],
            pull_steps=steps,
            work_pool=pool["name"],
            work_pool_type=pool["type"],
            work_queue=pool.get("work_queue_name", "default"),
            job_variables=pool.get("job_variables") or {},
        )
    except OSError as error:
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"{path.name} cannot be read: {error.strerror}",
            f"put {path.name} back beside the packages",
            file=path.name,
        ) from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"{path.name} does not hold what every deployment needs: {error}",
            "it needs `name`, `pull` and `definitions.work_pool` with `name` and `type`",
            file=path.name,
        ) from error
