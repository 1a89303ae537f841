"""Sizes as people write them in YAML: `100 MB`, `1.5 GB`, or a number of bytes."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_BYTES = {"GB": 10**9, "MB": 10**6, "KB": 10**3, "B": 1}
_PATTERN = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?) ?(B|KB|MB|GB)?")


def parse_size(value: Any) -> int:
    """`"100 MB"` -> 100,000,000. Raises ValueError for other than a size of at least a byte."""
    match = None if isinstance(value, bool) else _PATTERN.fullmatch(str(value).strip())
    size = Decimal(match[1]) * _BYTES[match[2] or "B"] if match else Decimal(0)
    if size < 1 or size != int(size):
        raise ValueError(f"{value!r} is no size; write a number and a unit, as in 500 KB, 100 MB or 2 GB")
    return int(size)


def _as_written(value: int) -> str:
    """100,000,000 -> `"100 MB"`: the shortest text that `parse_size` reads back."""
    unit, size = next((unit, size) for unit, size in _BYTES.items() if value % size == 0)
    return f"{value // size} {unit}"


Size = Annotated[
    int,
    BeforeValidator(parse_size),
    PlainSerializer(_as_written, return_type=str),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^\d+(\.\d+)? ?([KMG]?B)?$"}],
            "examples": ["500 KB", "100 MB", "2 GB"],
        }
    ),
]
