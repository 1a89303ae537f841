"""The way to the Prefect API, and what its silence means."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import httpx
from prefect._internal.schemas import validators
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, DeploymentFilterTags
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

from catalog.errors import Code, ExportError
from catalog.model import ID_PATTERN

# For every schedule that Prefect makes or reads, it walks the machine's time zones anew: 3 s for a thousand exports.
validators.get_timezones = cache(validators.get_timezones)  # type: ignore[attr-defined]

#: What one call of a filter route returns at most.
PAGE = 200
#: Marks the deployments that stand beside those of the exports.
COMPANION = "companion"

_NO_SERVER = "start one with `exports start`, or set PREFECT_API_URL to a server that runs"


@contextmanager
def prefect_api() -> Iterator[SyncPrefectClient]:
    """A client for `PREFECT_API_URL`, or for Prefect's embedded server when there is none.

    Raises ExportError PREFECT_UNREACHABLE when the API does not answer, or refuses.
    """
    try:
        with get_client(sync_client=True) as client:
            yield client
    except httpx.TransportError as error:
        raise _unreachable(f"the Prefect API does not answer ({type(error).__name__})") from error
    except PrefectHTTPStatusError as error:
        status = error.response.status_code
        hint = "try again when the server is well; `apply` goes on where it stopped" if status >= 500 else _NO_SERVER
        raise _unreachable(f"the Prefect API refused a request: {status}", hint) from error


def _unreachable(message: str, hint: str = _NO_SERVER) -> ExportError:
    return ExportError(Code.PREFECT_UNREACHABLE, message, hint)


def tagged_deployments(
    client: SyncPrefectClient, *tags: str, names: Collection[str] | None = None
) -> list[DeploymentResponse]:
    """Every export's deployment that carries all of `tags`, or those of them with these names."""
    return [found for found in _with_tags(client, tags, names) if COMPANION not in found.tags]


def companion_deployments(client: SyncPrefectClient, tag: str) -> list[DeploymentResponse]:
    """Every deployment that carries `tag` and is no export's."""
    return _with_tags(client, (tag, COMPANION))


def _with_tags(
    client: SyncPrefectClient, tags: tuple[str, ...], names: Collection[str] | None = None
) -> list[DeploymentResponse]:
    named = None if names is None else DeploymentFilterName(any_=sorted(names))
    wanted = DeploymentFilter(tags=DeploymentFilterTags(all_=list(tags)), name=named)
    found: list[DeploymentResponse] = []
    while True:
        page = client.read_deployments(deployment_filter=wanted, limit=PAGE, offset=len(found))
        found.extend(page)
        if len(page) < PAGE:
            return found


def find_deployment(client: SyncPrefectClient, export_id: str, tag: str) -> DeploymentResponse | None:
    """The deployment of one export, or None. One of that name without our tag is somebody else's."""
    if re.fullmatch(ID_PATTERN, export_id) is None:
        # Nothing of that name was ever deployed; with a slash in it, the client could not even ask.
        return None
    try:
        deployment: DeploymentResponse = client.read_deployment_by_name(f"{export_id}/{export_id}")
    except ObjectNotFound:
        return None
    return deployment if tag in deployment.tags else None


def post(client: SyncPrefectClient, path: str, body: dict[str, Any]) -> Any:
    """A POST to a route that the client has no method for; returns the JSON answer."""
    response = client._client.post(path, json=body)
    response.raise_for_status()
    return response.json()
