"""Which writer makes a file of the definition: the one place that knows formats and compressions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

from catalog.file import File
from tasks.rows.columns import Column
from tasks.write.columnar import ParquetWriter
from tasks.write.compress_gzip import GzipStream
from tasks.write.compress_zip import ZipStream
from tasks.write.compress_zstd import ZstdStream
from tasks.write.contract import Stream, Writer
from tasks.write.delimited import CsvWriter
from tasks.write.json_lines import JsonLinesWriter

#: In which form each format takes its rows.
FORMS: dict[str, Literal["text", "typed"]] = {"csv": "text", "jsonl": "text", "parquet": "typed", "xlsx": "typed"}


def open_writer(
    file: File,
    columns: Sequence[Column],
    sink: BinaryIO,
    rows_before: int,
    member: str,
    *,
    goes_on: bool = False,
    scratch: Path | None = None,
) -> Writer:
    """A writer for the file's format and compression.

    `rows_before` rows of the result are in earlier parts (for messages); `member` is what a zip calls what it holds.
    With `goes_on` (csv and jsonl) the file begins elsewhere. `scratch` is the folder in which xlsx keeps its rows until
    the end, in clear; the machine's temporary one by default. Raises OSError when the sink or that folder fails.
    """
    if file.format == "parquet":
        return ParquetWriter(columns, sink)
    if file.format == "xlsx":
        from tasks.write.spreadsheet import XlsxWriter

        return XlsxWriter(columns, sink, rows_before, scratch)
    stream = open_stream(file, sink, member)
    if file.format == "jsonl":
        return JsonLinesWriter(columns, stream or sink, stream, file.max_bytes)
    return CsvWriter(file.csv, columns, stream or sink, rows_before, stream, goes_on=goes_on, max_bytes=file.max_bytes)


def open_stream(file: File, sink: BinaryIO, member: str) -> Stream | None:
    """What compresses into the sink, in a zip as `member`, if anything does. Raises OSError when the sink fails."""
    if file.compression == "gzip":
        return GzipStream(sink)
    if file.compression == "zip":
        return ZipStream(sink, member)
    if file.compression == "zstd":
        return ZstdStream(sink)
    return None
