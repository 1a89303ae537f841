"""The manifest: a JSON file that follows an export's last file and says what there is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from catalog.windows import Window

#: Grows when the meaning of a field changes; fields may be added without.
SCHEMA = 1


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """One file of the window: its name, rows, size in bytes and SHA-256 (hex)."""

    name: str
    rows: int
    bytes: int
    sha256: str


def manifest_name(window: Window) -> str:
    """`orders_20261123.csv` -> `orders_20261123.csv.manifest.json`: after the window's first file."""
    return f"{window.first_name}.manifest.json"


def manifest_text(window: Window, files: Sequence[ManifestFile]) -> str:
    """The manifest of one window. The same window and files give the same bytes, so that it can be made again."""
    since, until = window.bounds.since, window.bounds.until
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "export": window.export,
        "run_id": window.run_id,
        "window": {"since": since.isoformat() if since else None, "until": until.isoformat() if until else None},
        "logical_time": window.logical_time.isoformat(),
        "version": window.definition,
        "files": [{"name": file.name, "rows": file.rows, "bytes": file.bytes, "sha256": file.sha256} for file in files],
        "rows": sum(file.rows for file in files),
        "bytes": sum(file.bytes for file in files),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
