"""What pydantic found wrong, in the words of the YAML: one finding per mistake, with its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from catalog.errors import Code
from catalog.problem import Problem
from catalog.schedule import check_cron, check_timezone, occurrences
from catalog.suggest import did_you_mean
from catalog.yaml_file import KeyPath, line_of, shown

_HINT = "docs/definition.md has every key with an example"
#: What each kind of pydantic error would have liked to see.
_EXPECTED = {
    "string_type": "text",
    "string_pattern_mismatch": "lower-case letters, digits and _, beginning with a letter",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "tuple_type": "a list",
    "dict_type": "keys and values",
    "model_type": "keys and values",
    "datetime_type": "a moment, as 2026-12-01T10:00",
    "datetime_parsing": "a moment, as 2026-12-01T10:00",
    "datetime_from_date_parsing": "a moment, as 2026-12-01T10:00",
}


def explain(
    path: Path, export: str | None, model: type[BaseModel], content: Mapping[str, Any], error: ValidationError
) -> list[Problem]:
    """The problems of one file that did not validate as `model`."""
    problems: dict[tuple[str | None, str], Problem] = {}
    for detail in error.errors():
        found = _explain_one(path, export, model, content, detail)
        # Each member of a union complains about the same column.
        problems.setdefault((found.key, found.message), found)
    return list(problems.values())


def in_words(error: ValidationError) -> str:
    """The first thing that is wrong, of what stands in no file."""
    detail = error.errors()[0]
    return _message(".".join(str(part) for part in detail["loc"]), detail)


def found_at(path: Path, export: str | None, where: KeyPath, code: Code, message: str, hint: str | None) -> Problem:
    """An error at one key of a file."""
    key = ".".join(str(part) for part in where) or None
    return Problem(export, "error", code, message, hint, shown(path), line_of(path, where) or 1, key)


def _explain_one(
    path: Path, export: str | None, model: type[BaseModel], content: Mapping[str, Any], detail: ErrorDetails
) -> Problem:
    where, kind, context = list(detail["loc"]), detail["type"], detail.get("ctx", {})
    key = ".".join(str(part) for part in where)
    if kind == "extra_forbidden":
        message = f"unknown key {where[-1]!r}{did_you_mean(str(where[-1]), _keys_at(model, where[:-1]))}"
        return found_at(path, export, where, Code.DEFINITION_INVALID, message, _HINT)
    if kind == "missing":
        message = f"the key `{key}` is missing"
        return found_at(path, export, where, Code.DEFINITION_INVALID, message, "add it")
    if kind == "invalid_key":
        message = f"the key {where[-1]!r} is no text"
        return found_at(path, export, where, Code.DEFINITION_INVALID, message, "put it in quotes")
    if where[0:1] == ["columns"] and len(where) > 1:
        message = f"`columns` entry {int(where[1]) + 1} must be a column's name or {{column: other_name}}"
        return found_at(path, export, where[:2], Code.DEFINITION_INVALID, message, "put it in quotes if it is a name")
    if where[0:1] == ["target"] and len(where) > 1:
        message = "`target` must be a target's name, or a list of one or more"
        return found_at(path, export, where[:1], Code.DEFINITION_INVALID, message, _HINT)
    if where[0:1] == ["schedule"]:
        hint = f"{_next_runs(content)}; {_HINT}".removeprefix("; ")
        return found_at(path, export, where, Code.SCHEDULE_INVALID, _message(key, detail), hint)
    code = Code.__members__.get(kind, Code.DEFINITION_INVALID)
    return found_at(path, export, where, code, _message(key, detail), context.get("hint") or _hint(detail))


def _message(key: str, detail: ErrorDetails) -> str:
    kind, context, value = detail["type"], detail.get("ctx", {}), detail["input"]
    if kind == "definition" or kind in Code.__members__:
        return str(context["message"])
    if kind == "value_error":
        return f"`{key}`: {context['error']}"
    if kind in _EXPECTED:
        return f"`{key}` must be {_EXPECTED[kind]}, not {_what(value)}"
    if kind == "literal_error":
        near = did_you_mean(str(value), str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", "))
        return f"`{key}` must be {context['expected']}{near}"
    if kind == "string_too_short":
        return f"`{key}` is empty"
    text = detail["msg"].replace("String should have", "must have").replace("Input should be", "must be")
    return f"`{key}` {text[0].lower()}{text[1:]}"


def _hint(detail: ErrorDetails) -> str:
    if isinstance(detail["input"], str) and detail["input"].startswith("\\"):
        return 'an escape as "\\t" needs double quotes'
    return _HINT


def _what(value: Any) -> str:
    """The kind of a value, never the value: it may be a secret in the wrong place."""
    if value is None:
        return "nothing"
    kinds = {bool: "true or false", int: "a number", float: "a number", str: "this text", list: "a list"}
    return kinds.get(type(value), "keys and values")


def _next_runs(content: Mapping[str, Any]) -> str:
    """When the schedule would next come due, as far as what is written tells; empty when it does not."""
    schedule = content.get("schedule")
    cron = schedule.get("cron") if isinstance(schedule, dict) else None
    try:
        check_cron(str(cron))
    except ValueError:
        return ""
    name = str(schedule.get("timezone") or "UTC") if isinstance(schedule, dict) else "UTC"
    try:
        check_timezone(name)
    except ValueError:
        name = "UTC"
    times = islice(occurrences(str(cron), ZoneInfo(name), datetime.now(UTC)), 3)
    return f"`{cron}` next comes due at {', '.join(f'{time:%Y-%m-%d %H:%M}' for time in times)} ({name})"


def _keys_at(model: type[BaseModel], where: Iterable[str | int]) -> list[str]:
    for part in where:
        field = model.model_fields.get(str(part))
        nested = _models_in(field.annotation) if field else []
        if not nested:
            return []
        model = nested[0]
    return [name for name in model.model_fields if name != "id"]


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in getattr(annotation, "__args__", ()) for found in _models_in(part)]
