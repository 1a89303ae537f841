"""Parquet, through pyarrow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.rows.columns import Column

#: Rows in one row group; the writer holds no more than this and a batch in memory.
_ROW_GROUP = 100_000
#: A dictionary pays where each text comes this often in the first row group; elsewhere it takes time and room.
_REPEATED = 10


class ParquetWriter:
    """One parquet file with real types, compressed by zstd. Its bytes do not depend on how rows come in batches."""

    def __init__(self, columns: Sequence[Column], sink: BinaryIO) -> None:
        self._schema = pa.schema([(column.name, column.arrow) for column in columns])
        self._sink = sink
        self._writer: pq.ParquetWriter | None = None
        self._held: list[pa.RecordBatch] = []
        self._rows = 0

    def write(self, batch: pa.RecordBatch) -> int:
        """Add rows; they are written when a row group is full."""
        offered = int(batch.num_rows)
        while self._rows + batch.num_rows >= _ROW_GROUP:
            missing = _ROW_GROUP - self._rows
            self._hold(batch.slice(0, missing))
            self._flush()
            batch = batch.slice(missing)
        self._hold(batch)
        return offered

    def close(self) -> None:
        """Write what is held and the footer."""
        if self._rows or self._writer is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _hold(self, batch: pa.RecordBatch) -> None:
        if batch.num_rows:
            self._held.append(batch)
            self._rows += batch.num_rows

    def _flush(self) -> None:
        # Where pages end follows the chunks that come in.
        table = pa.Table.from_batches(self._held, self._schema).combine_chunks()
        self._held, self._rows = [], 0
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._sink,
                self._schema,
                compression="zstd",
                use_dictionary=_repetitive(table),
                write_statistics=_worth_statistics(self._schema),
            )
        if table.num_rows:
            self._writer.write_table(table, row_group_size=_ROW_GROUP)


def _worth_statistics(schema: pa.Schema) -> list[str] | bool:
    """The columns whose least and greatest value spare a reader row groups: not texts, which seldom come in order."""
    return [field.name for field in schema if not pa.types.is_string(field.type)] or False


def _repetitive(table: pa.Table) -> list[str] | bool:
    """The columns of few distinct texts, or False."""
    texts = [field.name for field in table.schema if pa.types.is_string(field.type)]
    return [name for name in texts if pc.count_distinct(table[name]).as_py() * _REPEATED <= table.num_rows] or False
