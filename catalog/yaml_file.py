"""Reading one YAML file, and finding the line of a key in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from catalog.errors import Code, ExportError

KeyPath = Sequence[str | int]


def shown(path: Path) -> str:
    """The file as messages name it: its folder and its name."""
    return f"{path.parent.name}/{path.name}"


def read_mapping(path: Path) -> dict[str, Any]:
    """The keys and values of one YAML file, as plain Python values (YAML 1.2: `no` is a text).

    Raises ExportError YAML_SYNTAX with line and offending text, or DEFINITION_INVALID when it holds no keys.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ExportError(
            Code.YAML_SYNTAX, f"{shown(path)} is no UTF-8 text", "save it as UTF-8", file=shown(path)
        ) from error
    try:
        content = YAML(typ="safe").load(StringIO(text))
    except MarkedYAMLError as error:
        raise _syntax(path, text, error) from None
    except (YAMLError, ValueError) as error:
        raise ExportError(
            Code.YAML_SYNTAX, f"{shown(path)} is no YAML: {error}", "save it as plain text", file=shown(path)
        ) from None
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}, not keys and values"
        raise ExportError(
            Code.DEFINITION_INVALID, f"{shown(path)} {what}", "write it as `key: value` lines", file=shown(path), line=1
        )
    return content


def _syntax(path: Path, text: str, error: MarkedYAMLError) -> ExportError:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    offending = (text.splitlines() or [""])[min(line, len(text.splitlines())) - 1].strip() if text else ""
    if isinstance(error, DuplicateKeyError):
        return ExportError(
            Code.DEFINITION_INVALID,
            f"a key stands twice in {shown(path)}: `{offending}`",
            "keep one of the two",
            file=shown(path),
            line=line,
        )
    hint = "indent with spaces, not tabs" if "\t" in offending or "\\t" in str(error.problem) else None
    return ExportError(
        Code.YAML_SYNTAX,
        f"{shown(path)} is no YAML: {error.problem} at column {column}: `{offending}`",
        hint or "quote texts that hold `: `, ` #`, braces or brackets",
        file=shown(path),
        line=line,
    )


def line_of(path: Path, key_path: KeyPath) -> int | None:
    """The line (1-based) of the deepest part of `key_path` that stands in the file."""
    node: Any = YAML(typ="rt").load(path.read_text(encoding="utf-8"))
    line: int | None = None
    for part in key_path:
        if isinstance(node, Mapping) and part in node:
            line = node.lc.key(part)[0] + 1  # type: ignore[attr-defined]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node) and hasattr(node, "lc"):
            line = node.lc.item(part)[0] + 1
        else:
            break
        node = node[part]
    return line
