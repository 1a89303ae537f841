"""Rows as pandas DataFrames, and DataFrames as rows: how code that a person wrote takes and gives them.

Cells are Python values in columns of dtype object, NULL as None, so that what is left alone is written as if it had
never been in a DataFrame.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import date, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
from sqlalchemy import text

from catalog.model import repeated
from tasks.connect import Source
from tasks.hand_written import Asked, Frames, HandWritten, unawaited
from tasks.rows.columns import Column, Kind, guessed
from tasks.rows.values import text_of
from tasks.source.postgres import prepare_reading, with_moments
from tasks.source.read import result_columns

_ROWS = 10_000
_NESTED = (dict, list, tuple, np.ndarray)
_MOMENTS = (np.datetime64, np.timedelta64)
_FLOATS = (float, np.floating)
#: What a dtype says of a new column, even where it holds nothing.
_DTYPES: list[tuple[Callable[[Any], bool], Kind, pa.DataType]] = [
    (pd.api.types.is_bool_dtype, "boolean", pa.bool_()),
    (pd.api.types.is_integer_dtype, "number", pa.int64()),
    (pd.api.types.is_float_dtype, "number", pa.float64()),
    (lambda dtype: isinstance(dtype, pd.DatetimeTZDtype), "temporal", pa.timestamp("us", tz="UTC")),
    (pd.api.types.is_datetime64_dtype, "temporal", pa.timestamp("us")),
]
_END = object()
_NO_ASYNC = "what is written with `async def` cannot"
#: What databases give; anything else is written as it calls itself.
_OF_DRIVERS = (str, int, float, Decimal, date, time, timedelta, bytes, bytearray, memoryview)
#: Types that need no second look.
_PLAIN = {str, int, bool, bytes}
_PLAIN_IN_JSON = {str, int, bool}


def frames(source: Source, sql: str, rows: int = _ROWS, **values: Any) -> Iterator[pd.DataFrame]:
    """What a SELECT gives, so many rows at a time; `:name` in it stands for the value of that name.

    Only those rows are held in memory. Without any, one DataFrame without rows comes.
    """
    if source.dialect == "postgresql":
        prepare_reading(source.connection, "typed")
    with source.connection.execute(text(sql), values) as result:
        columns = result_columns(source, result)
        found = result.fetchmany(rows)
        yield frame_of(columns, found, source.dialect)
        while found := result.fetchmany(rows):
            yield frame_of(columns, found, source.dialect)


def frame_of(columns: Sequence[Column], rows: Sequence[Sequence[Any]], dialect: str) -> pd.DataFrame:
    """The rows as a DataFrame with the columns' names."""
    if dialect == "postgresql":
        rows = with_moments(rows, columns)
    cells = zip(*rows, strict=True) if rows else ((),) * len(columns)
    named = {column.name: pd.Series(list(values), dtype=object) for column, values in zip(columns, cells, strict=True)}
    return pd.DataFrame(named, columns=[column.name for column in columns], dtype=object)


def guarded(write: Frames, source: Source, author: HandWritten) -> Generator[pd.DataFrame, None, None]:
    """What hand-written code gives of the database; what it raises is an ExportError."""
    asked = Asked(source)
    with author.at_work(asked):
        given = unawaited(write(source))
        if not isinstance(given, Iterable):
            raise author.failed(f"gave a {type(given).__name__}, and no DataFrames", f"let it yield them; {_NO_ASYNC}")
        made = iter(given)
    while True:
        with author.at_work(asked):
            frame = next(made, _END)
        # Not None: that is what code gives which forgets its DataFrame, and no end.
        if frame is _END:
            return
        yield cast(pd.DataFrame, frame)


def rows_of(
    made: Generator[pd.DataFrame, None, None],
    known: Mapping[str, Column],
    author: HandWritten,
    in_order: Callable[[Sequence[str]], Sequence[str]] = tuple,
) -> tuple[tuple[Column, ...], Generator[list[Any], None, None]]:
    """The columns, and the rows of each DataFrame, as they are made.

    The first DataFrame says the columns: those of `known` keep their types, those of others follow from their values.
    `in_order` puts their names into the file's order. Raises ExportError for what is no DataFrame of these columns.
    """
    with ExitStack() as failing:
        # Closed here, not when it is collected: its cursor must not outlive the connection.
        failing.callback(made.close)
        first = next(made, _END)
        if first is _END:
            return (), _nothing()
        first = cast(pd.DataFrame, first)
        wanted = _names(first, author)
        # Only rows say what new columns hold.
        while not len(first) and (following := next(made, _END)) is not _END:
            first = cast(pd.DataFrame, following)
            _refuse_other_names(first, wanted, author)
        order = list(in_order(wanted))
        columns = tuple(_column(name, first[name], known.get(name), author) for name in order)
        failing.pop_all()
    return columns, _rows(first, made, wanted, columns, author)


def _nothing() -> Generator[list[Any], None, None]:
    yield from ()


def _rows(
    first: pd.DataFrame,
    others: Generator[pd.DataFrame, None, None],
    wanted: Sequence[str],
    columns: Sequence[Column],
    author: HandWritten,
) -> Generator[list[Any], None, None]:
    with closing(others):
        for frame in chain([first], others):
            _refuse_other_names(frame, wanted, author)
            if len(frame):
                cells = [_cells(frame[column.name], column, author) for column in columns]
                yield list(zip(*cells, strict=True))


def _refuse_other_names(frame: Any, wanted: Sequence[str], author: HandWritten) -> None:
    if (names := _names(frame, author)) != wanted:
        raise author.failed(
            f"gave the columns {', '.join(names)}, and before {', '.join(wanted)}",
            "let it give the same columns in the same order, whatever the rows",
        )


def _names(frame: Any, author: HandWritten) -> list[str]:
    if not isinstance(frame, pd.DataFrame):
        raise author.failed(
            f"gave a {type(frame).__name__}, not a DataFrame", f"let it return the DataFrame; {_NO_ASYNC}"
        )
    names = list(frame.columns)
    if not names or not all(isinstance(name, str) and name for name in names):
        raise author.failed("gave a column whose name is no text, or none at all", "name its columns")
    if twice := repeated(names):
        raise author.failed(f"gave two columns named {twice!r}", "drop or rename one of them")
    return names


def _column(name: str, cells: pd.Series[Any], known: Column | None, author: HandWritten) -> Column:
    if any(isinstance(value, _NESTED) for value in cells.tolist()):
        return Column(name, "json", "other", pa.string())
    if known is not None:
        return known
    for is_one, kind, arrow in _DTYPES:
        if is_one(cells.dtype):
            return Column(name, "", kind, arrow)
    new = Column(name, "", "other", None)
    return guessed(new, _cells(cells, new, author))


def _cells(cells: pd.Series[Any], column: Column, author: HandWritten) -> list[Any]:
    # In a column of another dtype NaN is pandas' own mark of what is missing.
    floating = bool(column.type_text) and column.arrow is not None and pa.types.is_floating(column.arrow)
    try:
        return [_cell(value, cells.dtype == object and floating) for value in cells.tolist()]
    except Exception as error:
        # A value may be of any class, whose own code says its text.
        raise author.failed(
            f"gave a value in column {column.name!r} that no file can hold exactly ({type(error).__name__})",
            "give texts, numbers, moments to the microsecond, bytes, or lists and dicts of what JSON knows",
        ) from None


def _cell(value: Any, nan_is_a_number: bool) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    if isinstance(value, _FLOATS) and math.isnan(value):
        return math.nan if nan_is_a_number else None
    return None if _is_missing(value) else _plain(value)


def _is_missing(value: Any) -> bool:
    if isinstance(value, _FLOATS):
        return math.isnan(value)
    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, _MOMENTS) and np.isnat(value))


def _plain(value: Any) -> Any:
    """The value as drivers give it, or its text. Raises whatever its own class does, and where that is not the same."""
    if isinstance(value, _NESTED):
        return json.dumps(_in_json(value), ensure_ascii=False, allow_nan=False)
    if isinstance(value, np.datetime64):
        value = pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        value = pd.Timedelta(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, pd.Timestamp | pd.Timedelta):
        if value.nanosecond if isinstance(value, pd.Timestamp) else value.nanoseconds:
            raise ValueError("finer than a microsecond")
        return value.to_pydatetime() if isinstance(value, pd.Timestamp) else value.to_pytimedelta()
    if isinstance(value, set | frozenset):
        raise TypeError("in no order")
    return value if isinstance(value, _OF_DRIVERS) else str(value)


def _in_json(value: Any) -> Any:
    """The value as JSON knows it, with all that it holds."""
    if value is None or type(value) in _PLAIN_IN_JSON:
        return value
    if isinstance(value, np.ndarray):
        # Of moments and spans of time tolist() makes integers.
        return _in_json(list(value) if value.dtype.kind in "mM" else value.tolist())
    if isinstance(value, dict):
        return {key: _in_json(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(each) for each in value]
    if _is_missing(value):
        return None
    plain = _plain(value)
    return plain if isinstance(plain, bool | int | float | str) else text_of(plain)
