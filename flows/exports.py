"""The entrypoints: `flows.exports.<id>` is the Prefect flow of the export with that id.

A worker loads a deployment by its module path; no YAML is read for it, since the frozen definition
comes with the run's parameters.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from prefect import Flow

from catalog.model import ID_PATTERN
from flows.run import run

_VALID = re.compile(ID_PATTERN)


@cache
def export_flow(export_id: str) -> Flow[..., Any]:
    """The Prefect flow of one export: the common story under the export's own name."""
    return run.with_options(name=export_id)


def __getattr__(name: str) -> Flow[..., Any]:
    if _VALID.fullmatch(name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return export_flow(name)
