"""What a target's file in `targets/` can have wrong: a mistake in it, and the options that its protocol takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from catalog.errors import Code, ExportError
from catalog.places import base_folder


def invalid(name: str, key: str, what: str, hint: str) -> ExportError:
    """A mistake at one key of target `name`."""
    return ExportError(Code.DEFINITION_INVALID, f"target {name}: {what}", hint, file=f"targets/{name}.yaml", key=key)


def refuse_options(name: str, protocol: str, options: Mapping[str, Any], known: Mapping[str, type]) -> None:
    """Raises ExportError DEFINITION_INVALID for an option that the protocol does not know, or of another type.

    `known` are its options with their types, text or boolean.
    """
    for key, value in options.items():
        if key not in known:
            raise invalid(name, f"options.{key}", f"{protocol} knows no option {key}", f"use {', '.join(known)}")
        if known[key] is str and (not isinstance(value, str) or not value):
            raise invalid(name, f"options.{key}", f"the option {key} is no text", "write a text, or a reference")
        if known[key] is bool and not isinstance(value, bool):
            raise invalid(name, f"options.{key}", f"the option {key} is neither true nor false", "write true or false")


def local_path(name: str, option: str, written: str) -> Path:
    """The file of this machine that an option names; relative paths start at the folder that holds the catalog.

    Raises ExportError DEFINITION_INVALID for the home of a user whom this machine does not have.
    """
    try:
        return base_folder() / Path(written).expanduser()
    except RuntimeError:
        what = f"{option} is in the home of somebody whom this machine does not know: {written}"
        raise invalid(name, f"options.{option}", what, "write the whole path") from None
