"""xlsx, through XlsxWriter: one sheet with typed cells. What Excel cannot hold exactly is the csv's text."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import pyarrow as pa
from xlsxwriter import Workbook
from xlsxwriter.exceptions import FileCreateError

from catalog.errors import Code, ExportError
from catalog.file import XLSX_ROWS
from tasks.rows.columns import Column
from tasks.write.excel_cells import Cell, Day, FineMoment, Moment, cells_of

#: Excel's own limit on a cell's text, in UTF-16 units.
_MOST_TEXT = 32_767
_TRUNCATED = -2
_ESCAPED = re.compile("[\x00-\x08\x0b-\x1f\ufffe\uffff]|_x[0-9a-fA-F]{4}_")
# Any fixed time: equal rows give equal bytes.
_CREATED = datetime(1980, 1, 1)
_WIDTHS = {"date": 12, "timestamp": 24}


class XlsxWriter:
    """One sheet with a bold, frozen header. Rows go through a folder in `scratch`, so memory does not grow."""

    def __init__(
        self, columns: Sequence[Column], sink: BinaryIO, rows_before: int, scratch: Path | None = None
    ) -> None:
        self._columns, self._sink, self._rows_before = columns, sink, rows_before
        self._folder = TemporaryDirectory(prefix="xlsx-", dir=scratch)
        self._path = Path(self._folder.name) / "book.xlsx"
        self._book = Workbook(str(self._path), {"constant_memory": True, "tmpdir": self._folder.name})
        self._book.use_zip64()
        self._book.set_properties({"created": _CREATED})
        self._sheet = self._book.add_worksheet()
        shown = [kind.shown for kind in (Day, Moment, FineMoment)]
        self._formats = {form: self._book.add_format({"num_format": form}) for form in shown}
        self._rows = 0
        self._broken = False
        bold = self._book.add_format({"bold": True})
        self._sheet.freeze_panes(1, 0)
        for index, column in enumerate(columns):
            self._sheet.set_column(index, index, _width(column))
            self._sheet.write_string(0, index, column.name, bold)

    def write(self, batch: pa.RecordBatch) -> int:
        """Add rows of typed cells. Raises ExportError VALUE_UNENCODABLE with row number and column."""
        self._broken = True
        if self._rows + batch.num_rows > XLSX_ROWS:
            raise ExportError(
                Code.VALUE_UNENCODABLE,
                f"row {self._rows_before + XLSX_ROWS + 1}: "
                f"a sheet of an xlsx file ends after {XLSX_ROWS + 1:,} rows, the header among them",
                "split the file with `max_rows`, or export to csv",
            )
        columns = [cells_of(array, column) for array, column in zip(batch.columns, self._columns, strict=True)]
        for cells in zip(*columns, strict=True):
            self._rows += 1
            for index, cell in enumerate(cells):
                if cell is not None:
                    self._put(index, cell)
        self._broken = False
        return int(batch.num_rows)

    def close(self) -> None:
        """Copy the finished file into the sink. Raises OSError when there is no room."""
        try:
            self._book.close()
            if not self._broken:
                with self._path.open("rb") as file:
                    shutil.copyfileobj(file, self._sink)
        except FileCreateError as error:
            raise error.args[0] from None
        finally:
            self._folder.cleanup()

    def _put(self, index: int, cell: Cell) -> None:
        row = self._rows
        if isinstance(cell, str):
            self._put_text(index, cell)
        elif isinstance(cell, bool):
            self._sheet.write_boolean(row, index, cell)
        elif isinstance(cell, Moment):
            self._sheet.write_number(row, index, cell, self._formats[cell.shown])
        else:
            self._sheet.write_number(row, index, cell)

    def _put_text(self, index: int, text: str) -> None:
        written = self._sheet.write_string(self._rows, index, text)
        if written == _TRUNCATED:
            raise self._unencodable(index, f"the text is longer than the {_MOST_TEXT:,} characters of a cell in xlsx")
        if text.startswith("<r>") and text.endswith("</r>"):
            # XlsxWriter takes such a text for finished XML. Fragments are texts to it, but it escapes them twice.
            if _ESCAPED.search(text):
                raise self._unencodable(index, "the text cannot be written: control characters between <r> and </r>")
            self._sheet.write_rich_string(self._rows, index, "<", "r>", text[3:])

    def _unencodable(self, index: int, what: str) -> ExportError:
        return ExportError(
            Code.VALUE_UNENCODABLE,
            f"row {self._rows_before + self._rows}, column {self._columns[index].name!r}: {what}",
            "change the value in a `query`, or export to csv",
        )


def _width(column: Column) -> float | None:
    return next((width for name, width in _WIDTHS.items() if str(column.arrow).startswith(name)), None)
