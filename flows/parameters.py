"""What stands in the parameters of runs and deployments, which anybody may have changed in Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from catalog.definition import Export


def definition_in(parameters: Mapping[str, Any] | None) -> Export | None:
    """The definition that they hold, or None where there is none, or what is none any more."""
    try:
        return Export.model_validate((parameters or {}).get("definition"))
    except ValidationError:
        return None
