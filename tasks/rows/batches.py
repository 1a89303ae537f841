"""Rows of Python values as Arrow batches.

In the text form every cell is the canonical text of `tasks.rows.values`; in the typed form columns have real types.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa

from tasks.rows.columns import Column
from tasks.rows.typed import to_array
from tasks.rows.values import text_of

Form = Literal["text", "typed"]


@dataclass(frozen=True, slots=True)
class Rows:
    """A result that is being read: its columns, and its batches in order."""

    columns: tuple[Column, ...]
    batches: Generator[pa.RecordBatch, None, None]


def after(first: list[Any], chunks: Generator[list[Any], None, None]) -> Generator[list[Any], None, None]:
    """The `first` rows, where there are any, and then the others."""
    # Closed here, not when it is collected: its cursor must not outlive the connection.
    with closing(chunks):
        if first:
            yield first
        yield from chunks


def batches_of(
    chunks: Generator[list[Any], None, None], columns: Sequence[Column], form: Form
) -> Generator[pa.RecordBatch, None, None]:
    """Rows of Python values as Arrow batches. Raises ExportError VALUE_UNENCODABLE for one its column cannot hold."""
    schema = schema_of(columns, form)
    before = 0
    with closing(chunks):
        for rows in chunks:
            values = zip(*rows, strict=True)
            if form == "text":
                arrays = [pa.array([_text(value) for value in cells], pa.string()) for cells in values]
            else:
                arrays = [to_array(cells, column, before) for cells, column in zip(values, columns, strict=True)]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)
            before += len(rows)


def schema_of(columns: Sequence[Column], form: Form) -> pa.Schema:
    """The Arrow schema of a result in that form."""
    return pa.schema([(column.name, pa.string() if form == "text" else column.arrow) for column in columns])


def _text(value: Any) -> str | None:
    return value if value is None or type(value) is str else text_of(value)
