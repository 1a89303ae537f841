"""Reading one YAML file or one value, and finding the line of a key in a file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import DuplicateKeyError, SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, StringMark, YAMLError
from ruamel.yaml.resolver import VersionedResolver

from catalog.errors import Code, ExportError

KeyPath = Sequence[str | int]

_SHOWN_CHARACTERS = 80


class _PlainConstructor(SafeConstructor):
    """Dates stay the text that was written: a name may look like one, and a zone must not get lost."""


_PlainConstructor.add_constructor("tag:yaml.org,2002:timestamp", SafeConstructor.construct_yaml_str)


class _OneResolver(VersionedResolver):
    """Finds the rules of the document's YAML version once, not for every scalar: a quarter of a catalog's time."""

    @cached_property
    def versioned_resolver(self) -> Any:
        """The rules for plain scalars by their first character."""
        return super().versioned_resolver


class _PlainYaml(YAML):
    def official_plug_ins(self) -> list[str]:
        """None: they are looked for on the disk, for each document."""
        return []


def shown(path: Path) -> str:
    """The file as messages name it: its folder and its name."""
    return f"{path.parent.name}/{path.name}"


def read_mapping(path: Path, *, quote_text: bool = True) -> dict[str, Any]:
    """The keys and values of one YAML 1.2 file: `no` and dates are texts, and the key `null` is the text "null".

    Raises ExportError YAML_SYNTAX with line, column and (when `quote_text`: a file of connections may hold a
    secret there) the offending text, or DEFINITION_INVALID when it cannot be read or holds no keys and values.
    """
    text = _text_of(path)
    try:
        content = _parsed(text)
    except MarkedYAMLError as error:
        raise _syntax(path, text, error, quote_text) from None
    except ReusedAnchorWarning as warning:
        line = int(re.findall(r"line (\d+)", str(warning))[-1])
        raise _broken(path, "an anchor's name stands twice", "give each anchor a name of its own", line) from None
    except RecursionError:
        raise _broken(path, "it is nested too deeply", "write it as `key: value` lines") from None
    except YAMLError as error:
        # A character that YAML forbids: its text has no line, and names no more than the character.
        raise _broken(path, " ".join(str(error).split()[:4]).rstrip(":"), "save it as plain text") from None
    if not isinstance(content, dict):
        what = "is empty" if content is None else f"holds a {type(content).__name__}, not keys and values"
        raise ExportError(
            Code.DEFINITION_INVALID, f"{shown(path)} {what}", "write it as `key: value` lines", file=shown(path), line=1
        )
    plain: dict[str, Any] = _plain(path, content, (), {})
    return plain


def read_value(text: str) -> Any:
    """What a text is where it stands as a value in one of these files. Raises ValueError for what is no YAML."""
    try:
        return _parsed(text)
    except (YAMLError, ReusedAnchorWarning, RecursionError):
        raise ValueError("it is no YAML") from None


def _parsed(text: str) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error", ReusedAnchorWarning)
        try:
            return _parser(pure=False).load(text)
        except YAMLError:
            # The C parser is fast, but refuses what is YAML, as `{at: 2026-12-01T10:00}`: the other one decides.
            return _parser(pure=True).load(text)


def _parser(*, pure: bool) -> YAML:
    yaml = _PlainYaml(typ="safe", pure=pure)
    yaml.Constructor, yaml.Resolver = _PlainConstructor, _OneResolver
    return yaml


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise ExportError(
            Code.YAML_SYNTAX, f"{shown(path)} is no UTF-8 text", "save it as UTF-8", file=shown(path)
        ) from None
    except OSError as error:
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"{shown(path)} cannot be read: {error.strerror}",
            "make it a file that you may read",
            file=shown(path),
        ) from error


def _plain(path: Path, node: Any, where: tuple[str | int, ...], known: dict[int, Any]) -> Any:
    """`node` with `null` keys as text. `known` holds what was met before: aliases share it, and may form a loop."""
    if not isinstance(node, (dict, list)):
        return node
    if id(node) in known:
        if known[id(node)] is None:
            raise _broken(path, "an alias refers to the part it stands in", "write that part out", line_of(path, where))
        return known[id(node)]
    known[id(node)] = None
    plain: Any
    if isinstance(node, list):
        plain = [_plain(path, value, (*where, index), known) for index, value in enumerate(node)]
    else:
        plain = {}
        for written, value in node.items():
            key = "null" if written is None else written
            if key == "__prefect_kind":
                raise ExportError(
                    Code.DEFINITION_INVALID,
                    "the key '__prefect_kind' is one that Prefect takes for itself",
                    "use another name",
                    file=shown(path),
                    line=line_of(path, (*where, key)),
                    key=".".join(str(part) for part in (*where, key)),
                )
            plain[key] = _plain(path, value, (*where, key), known)
    known[id(node)] = plain
    return plain


def _broken(path: Path, why: str, hint: str, line: int | None = None) -> ExportError:
    return ExportError(Code.YAML_SYNTAX, f"{shown(path)} is no usable YAML: {why}", hint, file=shown(path), line=line)


def _syntax(path: Path, text: str, error: MarkedYAMLError, quote_text: bool) -> ExportError:
    mark = error.problem_mark or error.context_mark
    if error.context_mark and mark and mark.index >= len(text.rstrip()):
        # What is wrong at the end of the file was begun earlier, as a quote that is never closed.
        mark = error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    written = _line_at(text, mark)
    if isinstance(error, DuplicateKeyError):
        key = str(error.problem).split('"')[1]
        why = f"a key stands twice in {shown(path)}: `{key}`"
        return ExportError(Code.DEFINITION_INVALID, why, "keep one of the two", file=shown(path), line=line, key=key)
    if "{{" in written:
        hint = 'put a reference in quotes, as "{{ $NAME }}"'
    elif "\t" in written[: len(written) - len(written.lstrip())]:
        hint = "indent with spaces, not tabs"
    else:
        hint = "quote texts that hold `: `, ` #`, braces or brackets"
    # A URL may hold a secret wherever it stands.
    quote_text = quote_text and "://" not in written
    problem = str(error.problem).strip() if quote_text else "it breaks off"
    offending = f": `{_shortened(written, column)}`" if quote_text else ""
    why = f"{shown(path)} is no YAML: {problem} at line {line}, column {column}{offending}"
    return ExportError(Code.YAML_SYNTAX, why, hint, file=shown(path), line=line)


def _line_at(text: str, mark: StringMark | None) -> str:
    lines = text.splitlines()
    return lines[mark.line] if mark and mark.line < len(lines) else ""


def _shortened(written: str, column: int) -> str:
    begin = max(0, column - _SHOWN_CHARACTERS // 2) if len(written) > _SHOWN_CHARACTERS else 0
    return written[begin : begin + _SHOWN_CHARACTERS].strip()


def line_of(path: Path, key_path: KeyPath) -> int | None:
    """The line (1-based) of the deepest part of `key_path` that stands in the file."""
    node: Any = YAML(typ="rt", pure=True).load(_text_of(path))
    line: int | None = None
    for part in key_path:
        places = getattr(getattr(node, "lc", None), "data", None) or {}
        found = None if part == "null" and part not in places else part
        # What came in through a merge key (`<<`) has no line of its own.
        if found not in places:
            break
        line = places[found][0] + 1
        node = node[found]
    return line
