"""Values of one column as what an Excel cell can hold exactly, or else as the csv's text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

from tasks.rows.columns import Column
from tasks.rows.values import text_of

#: Excel keeps 15 digits of what a person enters, and shows no more of any number.
_DIGITS = 15
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")
#: Excel's largest and smallest numbers.
_LARGEST, _SMALLEST = 9.99999999999999e307, 2.2250738585072014e-308
_FIRST_DAY = date(1900, 1, 1)
#: Excel counts a 29 February 1900, which there was not: https://learn.microsoft.com/office/troubleshoot/excel
_ORIGIN, _AFTER_FALSE_DAY = date(1899, 12, 30), date(1900, 3, 1)
_DAY = 86_400_000_000


class Double(float):
    """A number that XlsxWriter writes with every digit; of others it writes 16, and some need 17."""

    def __format__(self, form: str) -> str:
        return repr(float(self))


class Moment(Double):
    """A day of Excel's calendar, with the time as its fraction, and the number format that shows it."""

    shown = "yyyy-mm-dd hh:mm:ss"


class Day(Moment):
    """A day alone."""

    shown = "yyyy-mm-dd"


class FineMoment(Moment):
    """A moment with a fraction of a second, of which Excel shows three digits."""

    shown = "yyyy-mm-dd hh:mm:ss.000"


Cell = str | bool | int | Double | None


def cells_of(array: pa.Array, column: Column) -> Iterable[Cell]:
    """The cells of a typed column, NULL as None."""
    kind = array.type
    if pa.types.is_float32(kind):
        # Its shortest text, not the digits that a wider number would show.
        array = array.cast(pa.string()).cast(pa.float64())
    convert = next((convert for matches, convert in _CONVERTERS if matches(kind)), None)
    if convert is None:
        convert = _number_in_text if column.kind == "number" else text_of
    return [None if value is None else convert(value) for value in array.to_pylist()]


def _integer(value: int) -> Cell:
    return value if _exact(Decimal(value)) else str(value)


def _float(value: float) -> Cell:
    return Double(value) if _held(value) else text_of(value)


def _decimal(value: Decimal) -> Cell:
    number = float(value)
    if not _exact(value) or not _held(number) or (number == 0 and value != 0):
        return text_of(value)
    return Double(number)


def _number_in_text(value: str) -> Cell:
    found = _decimal(Decimal(value)) if _NUMBER.fullmatch(value) else value
    return value if isinstance(found, str) else found


def _exact(value: Decimal) -> bool:
    digits = value.as_tuple().digits
    return len(digits) <= _DIGITS or not any(digits[_DIGITS:])


def _held(value: float) -> bool:
    return value == 0 or _SMALLEST <= abs(value) <= _LARGEST


def _date(value: date) -> Cell:
    return Day(_days(value)) if value >= _FIRST_DAY else text_of(value)


def _moment(value: datetime) -> Cell:
    if value.tzinfo is not None or value.date() < _FIRST_DAY:
        return text_of(value)
    days = _days(value.date())
    time = (value - datetime.combine(value.date(), datetime.min.time())) // timedelta(microseconds=1)
    found = (FineMoment if value.microsecond else Moment)(days + time / _DAY)
    # From the year 2079 on, not every microsecond has a number of its own, but every millisecond has.
    step = 1 if time % 1000 else 1000
    return found if round((found - days) * _DAY / step) * step == time else text_of(value)


def _days(value: date) -> int:
    return (value - _ORIGIN).days - (value < _AFTER_FALSE_DAY)


_CONVERTERS: list[tuple[Callable[[pa.DataType], bool], Callable[[Any], Cell]]] = [
    (pa.types.is_boolean, bool),
    (pa.types.is_integer, _integer),
    (pa.types.is_floating, _float),
    (pa.types.is_decimal, _decimal),
    (pa.types.is_date, _date),
    (pa.types.is_timestamp, _moment),
]
