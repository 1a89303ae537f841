"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.columns import Column

#: Rows in one row group; the writer holds no more than this in memory.
_ROW_GROUP = 100_000


class ParquetWriter:
    """One parquet file with real types, compressed by zstd."""

    def __init__(self, columns: Sequence[Column], sink: BinaryIO) -> None:
        self._schema = pa.schema([(column.name, column.arrow) for column in columns])
        self._writer = pq.ParquetWriter(sink, self._schema, compression="zstd")
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Add rows; they are written when a row group is full."""
        self._held.append(batch)
        self._rows += batch.num_rows
        if self._rows >= _ROW_GROUP:
            self._flush()

    def close(self) -> None:
        """Write what is held and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._held:
            self._writer.write_table(pa.Table.from_batches(self._held, self._schema), row_group_size=_ROW_GROUP)
            self._held, self._rows = [], 0
