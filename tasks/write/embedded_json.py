"""Texts of json columns as JSON within a line, where they are JSON at all."""

from __future__ import annotations

import json
import secrets
from typing import Any, Never

import pyarrow as pa
import pyarrow.compute as pc


def on_one_line(cells: pa.Array) -> pa.Array:
    """JSON without line ends: it has them between its tokens only, where a space means the same."""
    return pc.replace_substring_regex(cells, "[\r\n]", " ")


def are_json(cells: pa.Array) -> pa.Array:
    """Per cell whether it is JSON as RFC 8259 has it; NULL is not."""
    if _all_are(cells.drop_null().to_pylist()):
        return cells.is_valid()
    # SQLite lets a column that is called JSON hold anything.
    return pa.array([cell is not None and _parsed(cell) is not _NOTHING for cell in cells.to_pylist()], pa.bool_())


def _all_are(cells: list[str]) -> bool:
    # One parse for all: behind each cell stands a mark that none can know. Where every mark is found in its place, no
    # cell has begun what another ends; the line end before a mark ends numbers, and no JSON text holds one.
    mark = secrets.token_hex()
    found = _parsed("[" + "".join(f'{cell}\n,"{mark}",' for cell in cells) + "0]")
    return isinstance(found, list) and found[1::2] == [mark] * len(cells) and len(found) == 2 * len(cells) + 1


def _parsed(text: str) -> Any:
    try:
        # Numbers stay texts: Python reads no integer of more than 4300 digits, and NaN is none of JSON's.
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NOTHING


_NOTHING = object()


def _refuse(constant: str) -> Never:
    raise ValueError(constant)
