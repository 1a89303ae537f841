"""How a form answers in Prefect: the outcome in one line as the run's final state, and all of it as an artifact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from catalog.errors import ExportError, state_message
from deployments.workspace import Workspace, open_workspace
from flows.markdown import table
from flows.report import frames, internal


@dataclass(frozen=True, slots=True)
class Answer:
    """What an action came to: `line` in one line, which begins with the error's code unless `is_well`, `full` as
    Markdown."""

    line: str
    full: str
    is_well: bool = True


def answered(key: str, action: Callable[[Workspace], Answer]) -> State[Any]:
    """The final state of a run that does the action, after its answer was written under the artifact's key."""
    try:
        with open_workspace() as workspace:
            answer = action(workspace)
    except ExportError as error:
        answer = refused(error)
    except Exception as found:
        get_run_logger().error("".join(frames(found)))
        answer = refused(internal(found))
    try:
        create_markdown_artifact(answer.full, key=key, description=answer.line)
    except Exception as error:
        # What was done stays done, and the state says it.
        get_run_logger().warning("the answer could not be written in full (%s)", type(error).__name__)
    # Returned, not raised, so that the message begins with the code.
    return (Completed if answer.is_well else Failed)(message=answer.line)


def refused(error: ExportError) -> Answer:
    """The answer to an action that was not done."""
    facts = [("code", str(error.code)), ("what", error.message), ("try", error.hint), ("export", error.export)]
    facts += [("file", error.file), ("line", str(error.line) if error.line else None), ("key", error.key)]
    rows = [(name, value) for name, value in facts if value]
    return Answer(state_message(error), f"# Not done\n\n{table(('', ''), rows)}", is_well=False)
