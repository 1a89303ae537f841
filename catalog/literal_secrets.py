"""Secrets written out in `databases/`, `targets/` or `keys/`, where only references may stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

KeyPath = tuple[str | int, ...]

_REFERENCE = re.compile(r"\{\{.*?\}\}")
_SECRET_KEY = re.compile(
    r"(pass(word|wd|phrase)?|pwd|secret|token|credentials?|connection_string|(?<!host_)(?<!public_)key)$", re.IGNORECASE
)
# As SQLAlchemy reads a URL, a password may hold `/`; digits before a `/` are a port.
_URL_PASSWORD = re.compile(r"://[^:/@\s]*:(?!\d+/)[^@\s]+@")
_URL_PARAMETER = re.compile(r"(?<=[?&;=])(?P<name>[^=&;?\s]*)=(?=[^&;\s])")


def literal_secrets(content: Mapping[str, Any]) -> Iterator[KeyPath]:
    """The key path of each secret that stands in a connection's YAML as it is."""
    for key in ("url", "options", "private_key", "passphrase"):
        yield from _in((key,), content.get(key))


def _in(where: KeyPath, value: Any) -> Iterator[KeyPath]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _in((*where, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _in((*where, index), inner)
    elif _is_secret(str(where[-1]), value):
        yield where


def _is_secret(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool) or value == "":
        return False
    if _SECRET_KEY.search(key):
        return not _REFERENCE.search(str(value))
    # Unquoted once, so that a parameter inside a parameter (odbc_connect=...PWD%3D...) is seen as well.
    text = unquote(_REFERENCE.sub("", str(value)))
    return _URL_PASSWORD.search(text) is not None or any(
        _SECRET_KEY.search(parameter["name"]) for parameter in _URL_PARAMETER.finditer(text)
    )
