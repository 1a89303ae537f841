"""Python values into an Arrow array of the column's own type: exactly, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from catalog.errors import Code, ExportError
from tasks.rows.columns import Column
from tasks.rows.values import text_of


def to_array(values: Sequence[Any], column: Column, rows_before: int) -> pa.Array:
    """The values, NULL as None, as one array.

    Raises ExportError VALUE_UNENCODABLE with column, type and row number (counted from 1) for a value the type
    cannot hold exactly.
    """
    assert column.arrow is not None, "the column's type was settled before reading"
    convert = _converter(column.arrow)
    converted = []
    for index, value in enumerate(values):
        try:
            converted.append(None if value is None else convert(value))
        except (ValueError, TypeError, OverflowError, InvalidOperation):
            raise _unencodable(column, rows_before + index + 1) from None
    try:
        return pa.array(converted, column.arrow)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        for index, value in enumerate(converted):
            try:
                pa.array([value], column.arrow)
            except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
                raise _unencodable(column, rows_before + index + 1) from None
        raise


def _converter(kind: pa.DataType) -> Callable[[Any], Any]:
    for matches, convert in _CONVERTERS:
        if matches(kind):
            return convert
    raise AssertionError(f"no column is ever given the type {kind}")


def _boolean(value: Any) -> bool:
    if value in (0, 1) and isinstance(value, int):
        return bool(value)
    raise ValueError


def _integer(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float | Decimal) and value == int(value):
        return int(value)
    raise ValueError


def _float(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError
    converted = float(value)
    # repr() is the shortest text that reads back as the same float: all that was given must be in it.
    if not isinstance(value, float) and Decimal(repr(converted)) != value:
        raise ValueError
    return converted


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError
    # repr() is the shortest text of a float, which is the decimal that was stored.
    found = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
    if not found.is_finite():
        raise ValueError
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else text_of(value)


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    raise ValueError


def _date(value: Any) -> date:
    if isinstance(value, datetime):
        if value.time() != time():
            raise ValueError
        return value.date()
    if isinstance(value, date):
        return value
    if isinstance(value, str):
        return _date(_moment(value)) if len(value) > 10 else date.fromisoformat(value)
    raise ValueError


def _moment(text: str) -> datetime:
    _refuse_finer(text)
    return datetime.fromisoformat(text)


def _refuse_finer(text: str) -> None:
    # fromisoformat() silently cuts what is finer than a microsecond.
    if re.search(r"[.,]\d{6}\d*[1-9]", text):
        raise ValueError


def _naive(value: Any) -> datetime:
    moment = _moment(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime):
        raise ValueError
    # A column without a zone cannot say that one of its values has another offset than the rest.
    if moment.utcoffset():
        raise ValueError
    return moment.replace(tzinfo=None)


def _aware(value: Any) -> datetime:
    moment = _moment(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError
    return moment


def _time(value: Any) -> time:
    if isinstance(value, str):
        _refuse_finer(value)
        return _time(time.fromisoformat(value))
    if isinstance(value, timedelta) and timedelta() <= value < timedelta(days=1):
        # MySQL's TIME is a span of time; within a day it is the time of day that it was meant as.
        return (datetime.min + value).time()
    # Arrow would drop the zone without a word.
    if isinstance(value, time) and value.tzinfo is None:
        return value
    raise ValueError


_CONVERTERS: list[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]]] = [
    (pa.types.is_boolean, _boolean),
    (pa.types.is_integer, _integer),
    (pa.types.is_floating, _float),
    (pa.types.is_decimal, _decimal),
    (pa.types.is_string, _text),
    (pa.types.is_binary, _bytes),
    (pa.types.is_date, _date),
    (lambda kind: pa.types.is_timestamp(kind) and kind.tz is None, _naive),
    (pa.types.is_timestamp, _aware),
    (pa.types.is_time, _time),
]


def _unencodable(column: Column, row: int) -> ExportError:
    return ExportError(
        Code.VALUE_UNENCODABLE,
        f"row {row}, column {column.name!r}: the value cannot be held exactly as {column.arrow}"
        + (f" ({column.type_text} in the database)" if column.type_text else ""),
        "CAST the column in a `query` to a type that holds its values, or export to csv; a `transform` that makes "
        "another type of it gives it another name",
    )
