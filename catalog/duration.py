"""Durations as people write them in YAML: `90s`, `15m`, `1h`, `2d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
_PATTERN = re.compile(r"([0-9]{1,9})([dhms])")
# Beyond this, a moment minus a duration leaves the calendar.
_LONGEST = timedelta(days=36500)


def parse_duration(value: Any) -> timedelta:
    """`"15m"` -> 15 minutes. Raises ValueError when the text is not a number and one of s, m, h, d, or is over 100 years."""
    if isinstance(value, timedelta):
        return value
    match = _PATTERN.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration; write a number and a unit, as in 90s, 15m, 1h or 2d")
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if duration > _LONGEST:
        raise ValueError(f"{value!r} is longer than 100 years")
    return duration


def duration_text(value: timedelta) -> str:
    """15 minutes -> `"15m"`: the shortest text that `parse_duration` reads back."""
    seconds = int(value.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+[dhms]$", "examples": ["1m", "15m", "1h"]}),
]
