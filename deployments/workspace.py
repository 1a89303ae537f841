"""What every action works with: the Prefect API, the ledger, the project and the catalog."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from catalog.definition import Export
from catalog.errors import ExportError
from catalog.load import Catalog, data_type_of, load_catalog
from deployments.compile import DeploymentSpec, compile_export
from deployments.plan import frozen_export
from deployments.prefect_api import find_deployment, prefect_api
from deployments.project import Project, load_project

if TYPE_CHECKING:
    from tasks.ledger import Ledger


@dataclass(frozen=True)
class Workspace:
    """One opened connection to everything an action needs; open it with `open_workspace`."""

    client: SyncPrefectClient
    project: Project

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger, named on first use: looking at Prefect alone needs none, nor the time to import it."""
        from tasks.ledger import Ledger

        return Ledger.default()

    @cached_property
    def catalog(self) -> Catalog:
        """The whole catalog, read once, on first use."""
        return load_catalog()

    def reread(self) -> None:
        """Read the catalog anew on its next use: something was written there."""
        self.__dict__.pop("catalog", None)

    def export(self, export_id: str) -> Export:
        """The definition as the YAML says it now. Raises ExportError when it is missing or invalid."""
        return self.catalog.export(export_id)

    def known(self, export_id: str) -> Export:
        """The definition as the YAML says it now, or the deployed one when the YAML is gone or does not load.

        Raises ExportError when there is neither.
        """
        try:
            return self.export(export_id)
        except ExportError:
            frozen = self.frozen(export_id)
            if frozen is None:
                raise
            return frozen

    def require(self, export_id: str) -> None:
        """Raises ExportError EXPORT_UNKNOWN when neither the catalog nor Prefect knows the export."""
        if self.deployment(export_id) is None:
            self.catalog.require(export_id)

    def deployment(self, export_id: str) -> DeploymentResponse | None:
        """The export's deployment, or None when it has never been deployed."""
        return find_deployment(self.client, export_id, self.project.tag)

    def frozen(self, export_id: str) -> Export | None:
        """The definition that the export's runs use, or None when it has never been deployed."""
        deployment = self.deployment(export_id)
        return frozen_export(deployment) if deployment else None

    def compile(self, export: Export) -> DeploymentSpec:
        """The deployment that the definition asks for."""
        database = self.catalog.databases.get(export.database)
        return compile_export(export, data_type_of(export, database), self.project)


@contextmanager
def open_workspace() -> Iterator[Workspace]:
    """Open the Prefect API; nothing is written by opening."""
    with prefect_api() as client:
        yield Workspace(client, load_project())
