"""The customisations of an `incremental_custom` export, between reading its rows and writing them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pandas as pd

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.suggest import did_you_mean
from tasks.frames import frame_of, rows_of
from tasks.hand_written import HandWritten, Transform, unawaited
from tasks.rows.columns import Column


@dataclass(slots=True)
class Reshape:
    """Sends all rows through `transform`, batch by batch, and puts the columns into their order.

    `rows_read` are taken so far: a transform may leave some out.
    """

    export: Export
    transform: Transform | None
    rows_read: int = 0

    @property
    def author(self) -> HandWritten:
        """Who answers for what becomes of the rows."""
        return HandWritten(self.export.transform or "column_order", Code.TRANSFORM_FAILED)

    def __call__(
        self, columns: Sequence[Column], chunks: Generator[list[Any], None, None], dialect: str
    ) -> tuple[tuple[Column, ...], Generator[list[Any], None, None]]:
        """The columns and rows that are written. Without rows it is asked once for the columns, with an empty batch.

        Raises ExportError TRANSFORM_FAILED, and COLUMN_MISSING for a column of the order that is not there.
        """
        known = {column.name: column for column in columns}
        return rows_of(self._batches(columns, chunks, dialect), known, self.author, self._in_order)

    def _batches(
        self, columns: Sequence[Column], chunks: Generator[list[Any], None, None], dialect: str
    ) -> Generator[pd.DataFrame, None, None]:
        with closing(chunks):
            for rows in chunks:
                self.rows_read += len(rows)
                yield self._transformed(frame_of(columns, rows, dialect))
        if not self.rows_read:
            yield self._transformed(frame_of(columns, [], dialect))

    def _transformed(self, batch: pd.DataFrame) -> pd.DataFrame:
        with self.author.at_work():
            return batch if self.transform is None else unawaited(self.transform(batch))

    def _in_order(self, names: Iterable[str]) -> Sequence[str]:
        known, wanted = list(names), self.export.column_order or ()
        if missing := next((name for name in wanted if name not in known), None):
            raise ExportError(
                Code.COLUMN_MISSING,
                f"there is no column {missing!r} to put into its place{did_you_mean(missing, known)}",
                f"the file's columns are {', '.join(known)}",
                export=self.export.id,
                key="column_order",
            )
        return [*wanted, *(name for name in known if name not in wanted)]
