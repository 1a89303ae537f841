"""One value, one text: the canonical form of `docs/values.md`, for what drivers give as Python objects.

It is PostgreSQL's own text (under the session settings of `tasks.connect`), but for booleans, so that a value
looks the same whichever path and database it came from.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any


def text_of(value: Any) -> str:
    """The canonical text of one value that is not NULL."""
    form = _FORMS.get(type(value))
    return form(value) if form else str(value)


def _boolean(value: bool) -> str:
    return "true" if value else "false"


def _float(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    text = repr(value).removesuffix(".0")
    # PostgreSQL changes to exponents at 1e15, Python at 1e16.
    if 1e15 <= abs(value) < 1e16:
        sign, digits = "-" if value < 0 else "", text.lstrip("-").replace(".", "")
        text = _trimmed(f"{sign}{digits[0]}.{digits[1:]}") + "e+15"
    return text


def _timestamp(value: datetime) -> str:
    if value.tzinfo is None:
        return _trimmed(value.isoformat(sep=" ", timespec="microseconds"))
    text = value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    return f"{_trimmed(text)}+00"


def _time(value: time) -> str:
    if value.tzinfo is None:
        return _trimmed(value.isoformat(timespec="microseconds"))
    offset = value.isoformat()[-6:].removesuffix(":00")
    return _trimmed(value.replace(tzinfo=None).isoformat(timespec="microseconds")) + offset


def _interval(value: timedelta) -> str:
    sign = "-" if value < timedelta() else ""
    whole, microseconds = divmod(abs(value) // timedelta(microseconds=1), 1_000_000)
    days, seconds = divmod(whole, 86_400)
    fraction = _trimmed(f"{seconds % 60}.{microseconds:06d}")
    parts = {"H": str(seconds // 3600), "M": str(seconds // 60 % 60), "S": fraction}
    clock = "".join(f"{sign}{count}{unit}" for unit, count in parts.items() if count != "0")
    date_part = f"{sign}{days}D" if days else ""
    return f"P{date_part}T{clock}" if clock else f"P{date_part}" if date_part else "PT0S"


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_FORMS: dict[type, Callable[[Any], str]] = {
    str: str,
    bool: _boolean,
    int: str,
    float: _float,
    Decimal: lambda value: format(value, "f") if value.is_finite() else _float(float(value)),
    datetime: _timestamp,
    date: date.isoformat,
    time: _time,
    timedelta: _interval,
    bytes: lambda value: "\\x" + value.hex(),
    bytearray: lambda value: "\\x" + value.hex(),
    memoryview: lambda value: "\\x" + value.hex(),
    dict: _json,
    list: _json,
}
