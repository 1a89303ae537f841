"""Which writer makes a file of the definition: the one place that knows the formats."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from typing import BinaryIO, Literal, Protocol, cast

import pyarrow as pa

from catalog.file import File
from tasks.columns import Column
from tasks.write.columnar import ParquetWriter
from tasks.write.delimited import CsvWriter

#: In which form each format takes its rows.
FORMS: dict[str, Literal["text", "typed"]] = {"csv": "text", "parquet": "typed"}


class Writer(Protocol):
    """Writes batches of one result into one file."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Add the batch's rows. Raises ExportError VALUE_UNENCODABLE for a value the format cannot hold."""

    def close(self) -> None:
        """End the file; the sink stays open."""


def open_writer(file: File, columns: Sequence[Column], sink: BinaryIO, rows_before: int) -> Writer:
    """A writer for the file's format; `rows_before` rows of the result are in earlier parts (for messages)."""
    if file.format == "parquet":
        return ParquetWriter(columns, sink)
    if file.compression == "gzip":
        # Neither time nor name in the header: the same rows give the same bytes.
        stream = cast(BinaryIO, gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=sink, mtime=0))
        return CsvWriter(file.csv, columns, stream, rows_before, closes=stream)
    return CsvWriter(file.csv, columns, sink, rows_before)
