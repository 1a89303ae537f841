"""Durations as people write them in YAML: `90s`, `15m`, `1h`, `2d`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_PATTERN = re.compile(r"([0-9]{1,10})([dhms])")
# 100 years: beyond, a moment minus a duration may leave the calendar.
_MOST_SECONDS = 36500 * 86400


def parse_duration(value: Any) -> timedelta:
    """`"15m"` -> 15 minutes. Raises ValueError for other than a number and one of s, m, h, d, and over 100 years."""
    if isinstance(value, timedelta):
        return value
    match = _PATTERN.fullmatch(str(value).strip())
    if match is None:
        raise ValueError(f"{value!r} is no duration; write a number and a unit, as in 90s, 15m, 1h or 2d")
    seconds = int(match[1]) * _SECONDS[match[2]]
    if seconds > _MOST_SECONDS:
        raise ValueError(f"{value!r} is longer than 100 years")
    return timedelta(seconds=seconds)


def duration_text(value: timedelta) -> str:
    """15 minutes -> `"15m"`: the shortest text that `parse_duration` reads back."""
    seconds = int(value.total_seconds())
    for unit, size in _SECONDS.items():
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^\d+[dhms]$", "examples": ["1m", "15m", "1h"]}),
]
