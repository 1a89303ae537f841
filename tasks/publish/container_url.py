"""What targets of object stores have in common: a URL that names a container and a folder in it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.publish.target_yaml import invalid

_CONTAINER = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{2,254}")


@dataclass(frozen=True, slots=True)
class ContainerUrl:
    """`scheme://container/root`; the root has no slash at either end, and is "" for the container itself."""

    container: str
    root: str

    def key(self, folder: str, name: str = "") -> str:
        """The whole name of an object in the container."""
        return "/".join(part for part in (self.root, folder, name) if part)


def read_url(name: str, url: str, example: str) -> ContainerUrl:
    """Where target `name` is; `example` shows how such a URL is written.

    Raises ExportError DEFINITION_INVALID, which never quotes the URL: it may hold a secret.
    """
    container, _, path = url.partition("://")[2].partition("/")
    if not _CONTAINER.fullmatch(container) or set(path) & set("?#"):
        raise invalid(name, "url", "its URL names no container, or more than a container and a folder", example)
    return ContainerUrl(container, "/".join(part for part in path.split("/") if part))
