"""The first rows of a window as its file shows them: what a person looks at before a run delivers it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from catalog.definition import Export
from catalog.windows import Bounds
from tasks.connect import Source
from tasks.rows.batches import Rows
from tasks.rows.columns import Column
from tasks.rows.values import text_of
from tasks.source.read import Reshaping, first_rows
from tasks.write import FORMS, open_writer
from tasks.write.excel_cells import Moment, cells_of


def beginning(source: Source, export: Export, bounds: Bounds, limit: int, reshape: Reshaping | None = None) -> str:
    """The first `limit` rows: of csv and jsonl the file's own text, decoded, before compression and encryption.

    Of parquet and xlsx, which are no text, a line of columns and one for each row, with tabs between the cells: in
    parquet each column with its type and texts in quotes, in xlsx what stands in the cells.
    Without rows it is what `file.empty` makes of none. Raises ExportError VALUE_UNENCODABLE as a run does.
    """
    rows = first_rows(source, export, bounds, limit, FORMS[export.file.format], reshape)
    if export.file.format in ("csv", "jsonl"):
        return _as_text(export, rows)
    lines = [list(cells) for batch in rows.batches for cells in zip(*_cells(export, rows.columns, batch), strict=True)]
    if not lines and export.file.empty != "header":
        return ""
    head = [
        column.name if export.file.format == "xlsx" else f"{column.name}: {column.arrow}" for column in rows.columns
    ]
    return "".join("\t".join(cells) + "\n" for cells in [head, *lines])


def _as_text(export: Export, rows: Rows) -> str:
    file = export.file.model_copy(update={"compression": "none", "max_bytes": None})
    batches = list(rows.batches)
    if not batches and file.empty != "header":
        return ""
    sink = BytesIO()
    writer = open_writer(file, rows.columns, sink, 0, "")
    for batch in batches:
        writer.write(batch)
    writer.close()
    return sink.getvalue().decode(file.csv.encoding if file.format == "csv" else "utf-8")


def _cells(export: Export, columns: tuple[Column, ...], batch: Any) -> Iterable[list[str]]:
    for array, column in zip(batch.columns, columns, strict=True):
        values = array.to_pylist()
        if export.file.format == "xlsx":
            cells = cells_of(array, column)
            yield [_of_sheet(cell, value) for cell, value in zip(cells, values, strict=True)]
        else:
            yield [_of_parquet(value) for value in values]


def _of_sheet(cell: Any, value: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, Moment):
        return text_of(value)
    return str(cell).upper() if isinstance(cell, bool) else str(cell)


def _of_parquet(value: Any) -> str:
    if value is None:
        return "null"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else text_of(value)
