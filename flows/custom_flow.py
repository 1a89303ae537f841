"""A custom export's own flow, so that whatever a person wrote around `deliver`, the run ends as every run does."""

from __future__ import annotations

import inspect
from copy import copy
from functools import update_wrapper
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import State

from catalog.errors import Code, ExportError
from flows.custom_code import written_flow
from flows.report import failed
from flows.run import run
from tasks.hand_written import HandWritten, unawaited


def custom_flow(export_id: str) -> Flow[..., Any]:
    """The flow in the export's own module, with the parameters of every export's flow.

    It fails with DEFINITION_INVALID where the written one does not return what `deliver` gives, and with CUSTOM_FAILED
    where that raises. Raises ExportError DEFINITION_INVALID when there is none that could run.
    """
    written = written_flow(export_id)
    author = HandWritten(f"the flow {export_id}", Code.CUSTOM_FAILED)

    def end_in_a_state(*args: Any, **kwargs: Any) -> State[Any]:
        try:
            with author.at_work():
                state = unawaited(written.fn(*args, **kwargs))
        except ExportError as error:
            return failed(error)
        return state if isinstance(state, State) else failed(_returns_no_state(export_id, state))

    update_wrapper(end_in_a_state, written.fn)
    # Its annotations may be missing, and without them Prefect would pass on the definition as it stands in JSON.
    vars(end_in_a_state).update(__signature__=inspect.signature(run.fn))
    del vars(end_in_a_state)["__wrapped__"]
    flow = copy(written)
    flow.fn = end_in_a_state
    return flow


def _returns_no_state(export_id: str, found: object) -> ExportError:
    return ExportError(
        Code.DEFINITION_INVALID,
        f"the flow {export_id} returned a {type(found).__name__}, and not what `deliver` gives: whether its file was "
        "delivered stands in the ledger",
        "end it with `return deliver(definition, since, until, extract=...)`, as docs/custom.md does",
    )
