"""Which publisher serves a target's URL: the one place that knows the protocols."""

from __future__ import annotations

from collections.abc import Callable

from fsspec.core import split_protocol

from catalog.connections import Target
from catalog.errors import Code, ExportError
from catalog.places import base_folder, state_folder
from tasks.credentials import Lookup, resolve
from tasks.ledger import DOWNLOADS
from tasks.publish.contract import Publisher
from tasks.publish.local import LocalPublisher

_PUBLISHERS: dict[str, Callable[[str], Publisher]] = {
    "file": lambda path: LocalPublisher(base_folder() / path),
    "local": lambda path: LocalPublisher(base_folder() / path),
}


def open_publisher(name: str, target: Target, lookup: Lookup) -> Publisher:
    """The publisher of a target, with its secrets resolved.

    Raises ExportError TARGET_UNSUPPORTED for a protocol nobody serves, SECRET_MISSING for a secret that is nowhere.
    """
    protocol, path = split_protocol(resolve(target.url, lookup))
    make = _PUBLISHERS.get(protocol or "file")
    if make is None:
        raise ExportError(
            Code.TARGET_UNSUPPORTED,
            f"target {name} asks for the protocol {protocol}, which is not served",
            f"use a local folder, or one of: {', '.join(sorted(_PUBLISHERS))}",
        )
    return make(path)


def open_downloads() -> Publisher:
    """The local folder for one shots without a target; it is ours, so it is made when missing."""
    folder = state_folder() / DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    return LocalPublisher(folder)
