"""Secrets written out in the catalog, where only references may stand."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

KeyPath = tuple[str | int, ...]

_REFERENCE = re.compile(r"\{\{.*?\}\}")
_SECRET_KEY = re.compile(
    r"(pass(word|wd|phrase)?|pwd|secret|token|credentials?|authorization|connection_string|(?<!host_)(?<!public_)key)$",
    re.IGNORECASE,
)
# As SQLAlchemy reads a URL, a password may hold `/`; digits before a `/` are a port.
_URL_PASSWORD = re.compile(r"://[^:/@\s]*:(?!\d+/)[^@\s]+@")
_URL_PARAMETER = re.compile(r"(?<=[?&;=])(?P<name>[^=&;?\s]*)=(?=[^&;\s])")
# Apprise URLs that name a server; in those of a service, host and path are tokens.
_NAMES_A_SERVER = re.compile(r"(mailtos?|jsons?|xmls?|forms?)://|mailto:(?!//)", re.IGNORECASE)


def literal_secrets(content: Mapping[str, Any]) -> Iterator[KeyPath]:
    """The key path of each secret that stands in a connection's YAML as it is."""
    for key in ("url", "options", "private_key", "passphrase"):
        yield from _in((key,), content.get(key))


def literal_secrets_of_report(content: Mapping[str, Any]) -> Iterator[KeyPath]:
    """The key path of each Apprise URL in a definition's YAML that holds a secret as it is."""
    report = content.get("report")
    addresses = report.get("to") if isinstance(report, dict) else None
    for index, url in enumerate(addresses if isinstance(addresses, list) else [addresses]):
        where = ("report", "to", index) if isinstance(addresses, list) else ("report", "to")
        # In these URLs a port may be followed by the parameters at once.
        if isinstance(url, str) and (_is_token(url) or _is_secret("to", url.replace("?", "/?", 1))):
            yield where


def _is_token(url: str) -> bool:
    return "://" in url and not _REFERENCE.search(url) and not _NAMES_A_SERVER.match(url)


def _in(where: KeyPath, value: Any) -> Iterator[KeyPath]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _in((*where, key), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _in((*where, index), inner)
    elif _is_secret(_key_of(where), value):
        yield where


def _key_of(where: KeyPath) -> str:
    """What the value is: in a list, what the list is; of a login as `auth: [user, password]`, the second part."""
    if where[-2:-1] == ("auth",) and where[-1] in (1, "1"):
        return "password"
    return next((part for part in reversed(where) if isinstance(part, str)), "")


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
