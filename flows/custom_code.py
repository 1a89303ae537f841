"""Python that belongs to exports, in `flows/custom/`: the flow of a custom export, the function that `transform` names.

It is not frozen with the definition: what runs is what the worker has.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from prefect import Flow

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.places import ROOT
from catalog.suggest import did_you_mean
from tasks.hand_written import CUSTOM, Transform, line_of

_PARAMETERS = ["since", "until", "definition"]


def written_flow(export_id: str) -> Flow[..., Any]:
    """The flow that a custom export's own module holds, under the export's id.

    Raises ExportError DEFINITION_INVALID when the module is missing or cannot be imported, or holds no such flow, or
    one that is asynchronous or a generator.
    """
    found = getattr(_module(export_id), export_id, None)
    if not isinstance(found, Flow):
        raise _invalid(
            export_id, f"{_file(export_id)} holds no Prefect flow named {export_id}", "docs/custom.md shows one"
        )
    if list(inspect.signature(found.fn).parameters) != _PARAMETERS:
        raise _invalid(
            export_id,
            f"the flow {export_id} in {_file(export_id)} has other parameters than every export's",
            "write them as docs/custom.md does: since, until, *, definition",
        )
    if found.isasync or found.isgenerator:
        raise _invalid(
            export_id,
            f"the flow {export_id} in {_file(export_id)} is {'asynchronous' if found.isasync else 'a generator'}",
            "write it with a plain `def`, ending with `return deliver(definition, since, until, extract=...)`",
        )
    return found


def transform_of(export: Export) -> Transform | None:
    """The function that the export's rows pass through, if it names one.

    Raises ExportError DEFINITION_INVALID when its module or the function is missing, or cannot be imported.
    """
    if export.transform is None:
        return None
    name, function = export.transform.split(":")
    module = _module(name)
    found = getattr(module, function, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise _invalid(
            name,
            f"{_file(name)} has no function {function}{did_you_mean(function, known)}",
            "write it, or name another",
            key="transform",
        )
    return cast(Transform, found)


def customisations(export: Export) -> list[str]:
    """What sets the export apart from its standard equivalent, with what its function says of itself."""
    found = list(export.customisations)
    try:
        said = (inspect.getdoc(transform_of(export)) or "").split("\n")[0] if export.transform else ""
    except ExportError as error:
        said = f"which cannot be loaded here ({error.message})"
    return [f"{found[0]}: {said}", *found[1:]] if said else found


def refuse_broken(export: Export) -> None:
    """Raises ExportError DEFINITION_INVALID when the export's own Python is not there, or is none."""
    if export.type == "custom":
        written_flow(export.id)
    transform_of(export)


def refuse_other_hands(export: Export, *, by_hand: bool) -> None:
    """Raises ExportError DEFINITION_INVALID when the flow is not that of the export's type."""
    if export.type == "custom" and not by_hand:
        written_flow(export.id)
        raise _invalid(
            export.id,
            f"the flow {export.id} in {_file(export.id)} does not say who reads its rows",
            "end it with `return deliver(definition, since, until, extract=...)`, as docs/custom.md does",
        )
    if export.type != "custom" and by_hand:
        raise _invalid(
            export.id,
            f"{_file(export.id)} holds the flow of a custom export, and {export.id} is {export.type}",
            "rename that file, or write `type: custom`",
        )


def has_module(name: str) -> bool:
    """Whether there is a module of that name in `flows/custom/`, or a broken one."""
    return importlib.util.find_spec(f"{CUSTOM}.{name}") is not None


def _module(name: str) -> ModuleType:
    whole = f"{CUSTOM}.{name}"
    try:
        return importlib.import_module(whole)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{whole}.".startswith(f"{error.name}."):
            raise _invalid(name, f"there is no {_file(name)}", "write it; docs/custom.md shows how") from None
        raise _invalid(
            name, f"{_file(name)} needs the Python package {error.name}", f"pip install {error.name}"
        ) from None
    except (Exception, SystemExit) as error:
        # Of code that is made while it is imported, no file could be named.
        if isinstance(error, SyntaxError) and error.filename and Path(error.filename).is_file():
            file = _named(Path(error.filename))
            message = f"{file} is no Python: {error.msg}"
            raise _invalid(name, message, f"mend line {error.lineno}", file=file, line=error.lineno) from None
        # Its text may hold anything.
        place = line_of(error) or _file(name)
        raise _invalid(name, f"importing {_file(name)} raised {type(error).__name__} at {place}", "mend it") from None


def _file(module: str) -> str:
    return f"{CUSTOM}.{module}".replace(".", "/") + ".py"


def _named(path: Path) -> str:
    """The file as people name it: from the package of such code, or from the project, where it lies there."""
    for folder in importlib.import_module(CUSTOM).__path__:
        if path.is_relative_to(folder):
            return f"{CUSTOM.replace('.', '/')}/{path.relative_to(folder)}"
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _invalid(
    module: str, message: str, hint: str, *, file: str | None = None, line: int | None = None, key: str | None = None
) -> ExportError:
    return ExportError(Code.DEFINITION_INVALID, message, hint, file=file or _file(module), line=line, key=key)
