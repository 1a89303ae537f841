"""Secrets: references in the template syntax of `prefect.yaml`, resolved when they are needed and kept out of sight."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import Any, TypeVar
from urllib.parse import quote

from catalog.errors import Code, ExportError

#: Gives the value of a Prefect Secret block by its name; tasks never talk to Prefect themselves.
Lookup = Callable[[str], str]
Tree = TypeVar("Tree")

_REFERENCE = re.compile(r"\{\{\s*(?:\$(?P<variable>\w+)|prefect\.blocks\.secret\.(?P<block>[\w-]+))\s*\}\}")
_ANY = re.compile(r"\{\{.*?\}\}", re.DOTALL)


def resolve(value: Tree, lookup: Lookup) -> Tree:
    """The value with every reference in its texts replaced, in lists and mappings too.

    In the user, password and options of a longer URL the value is quoted, so that a password with `@` or `/` stays a
    password; a host or a path stands in it as it is.
    Raises ExportError SECRET_MISSING for a reference to nothing.
    """
    if isinstance(value, str):
        return _resolve_text(value, lookup)  # type: ignore[return-value]
    if isinstance(value, dict):
        return {key: resolve(part, lookup) for key, part in value.items()}  # type: ignore[return-value]
    if isinstance(value, list):
        return [resolve(part, lookup) for part in value]  # type: ignore[return-value]
    return value


def references_in(value: Any, lookup: Lookup) -> frozenset[str]:
    """What every reference in the value's texts stands for: what must not be shown.

    Raises ExportError SECRET_MISSING for a reference to nothing.
    """
    if isinstance(value, str):
        return frozenset(_value(match, lookup) for match in _REFERENCE.finditer(value))
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return frozenset().union(*(references_in(part, lookup) for part in parts))


def _resolve_text(text: str, lookup: Lookup) -> str:
    whole = _REFERENCE.fullmatch(text.strip())
    if whole is not None:
        return _value(whole, lookup)
    # Looked for in what was written: a secret's own value may hold braces, and must not be shown.
    refuse_malformed(text)
    return _REFERENCE.sub(lambda match: _placed(text, match, _value(match, lookup)), text)


def has_reference(text: str) -> bool:
    """Whether a secret is referred to in the text, or anything that looks like it."""
    return "{{" in text


def refuse_malformed(text: str) -> None:
    """Raises ExportError SECRET_MISSING for what stands in double braces and is no reference."""
    if left := _ANY.search(_REFERENCE.sub("", text)):
        raise ExportError(
            Code.SECRET_MISSING,
            f"{left[0]} is no reference to a secret",
            "write {{ $NAME }} for an environment variable, {{ prefect.blocks.secret.NAME }} for a Secret block",
        )


def _placed(text: str, match: re.Match[str], value: str) -> str:
    before, after = text[: match.start()], text[match.end() :]
    in_url = "://" in text
    return quote(value, safe="") if in_url and ("@" in after or "?" in before) else value


def _value(match: re.Match[str], lookup: Lookup) -> str:
    variable = match["variable"]
    if variable is None:
        return lookup(match["block"])
    value = os.environ.get(variable)
    if value is None:
        raise ExportError(
            Code.SECRET_MISSING,
            f"the environment variable {variable} is not set",
            f"set {variable} where the run's worker starts, then relaunch",
        )
    return value
