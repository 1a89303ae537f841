"""The entrypoints: `flows.exports.<id>` is the Prefect flow of the export with that id.

A worker loads a deployment by its module path; no YAML is read for it, since the frozen definition
comes with the run's parameters.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from prefect import Flow

from catalog.errors import ExportError
from catalog.model import ID_PATTERN
from flows.custom_code import has_module
from flows.custom_flow import custom_flow
from flows.run import run

_VALID = re.compile(ID_PATTERN)


@cache
def export_flow(export_id: str) -> Flow[..., Any]:
    """The Prefect flow of one export: the common story under the export's own name, or a custom export's own flow.

    With a custom flow that is missing or broken the common one says so, as the run's end.
    """
    try:
        flow = custom_flow(export_id) if has_module(export_id) else run
    except ExportError:
        flow = run
    # Whatever a person wrote: a result that is kept would make Prefect refuse to run a completed run again.
    return flow.with_options(name=export_id, persist_result=False, retries=0, log_prints=False)


def __getattr__(name: str) -> Flow[..., Any]:
    if _VALID.fullmatch(name) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return export_flow(name)
