"""Changing a definition's file by its text: comments, order and everything else stay as a person wrote them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, ScalarNode

from catalog.errors import Code, ExportError
from catalog.yaml_file import shown


def with_text(written: str, key: str, value: str, *, quoted: bool = True) -> str:
    """The YAML with another text at a top-level key, which must be there, and everything else as it was."""
    root = YAML(typ="rt", pure=True).compose(written)
    assert isinstance(root, MappingNode), "a definition is keys and values"
    node = next(node for name, node in root.value if name.value == key)
    text = json.dumps(value, ensure_ascii=False) if quoted else value
    begin = node.start_mark.index
    # A block of lines (`>-`) has the line end behind it for its own.
    end = begin + len(written[begin : node.end_mark.index].rstrip())
    return written[:begin] + text + written[end:]


def without(written: str, keys: Collection[str]) -> str:
    """The YAML without these top-level keys and their values; the other lines stay as they are.

    YAML that is not written as `key: value` lines stays as it is.
    """
    root = YAML(typ="rt", pure=True).compose(written)
    assert isinstance(root, MappingNode), "a definition is keys and values"
    for name, node in [] if root.flow_style else reversed(root.value):
        if name.value in keys:
            begin = written.rfind("\n", 0, name.start_mark.index) + 1
            # What belongs to a block is only known to have ended where the next key begins.
            end = written.find("\n", len(written[: _end(node)].rstrip()))
            written = written[:begin] + (written[end + 1 :] if end >= 0 else "")
    return written


def _end(node: Any) -> int:
    if isinstance(node, ScalarNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)


def refuse_taken(path: Path) -> None:
    """Raises ExportError DEFINITION_DUPLICATE when there is a file of that name already."""
    if path.exists():
        raise _taken(path)


def create(path: Path, text: str) -> None:
    """Write a new file. Raises ExportError DEFINITION_DUPLICATE when there is one of that name already."""
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise _taken(path) from None


def _taken(path: Path) -> ExportError:
    return ExportError(
        Code.DEFINITION_DUPLICATE, f"there is {shown(path)} already", "take another id", file=shown(path)
    )


def replace(path: Path, before: str, after: str) -> None:
    """Put `after` in the place of `before` in one step.

    Raises ExportError DEFINITION_DUPLICATE when the file is not `before` any more: somebody else has changed it.
    """
    if path.read_text(encoding="utf-8") != before:
        raise ExportError(
            Code.DEFINITION_DUPLICATE,
            f"{shown(path)} was changed by somebody else meanwhile",
            "edit it again, from what stands there now",
            file=shown(path),
        )
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    unfinished.write_text(after, encoding="utf-8")
    unfinished.chmod(path.stat().st_mode)
    unfinished.replace(path)
