"""The columns of a window's file beside those of the file before it: a change is told, or stops the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.layout import Layout, changes
from catalog.windows import Window
from tasks.ledger import LastFile, Ledger
from tasks.rows.columns import Column
from tasks.write.json_lines import JSON_TYPES


@dataclass(slots=True)
class Compared:
    """Looks at the columns of a file before its first byte is written.

    `last` is the file that they are compared with, None where there is none. `layout` is None until they are seen;
    `changed` says in words what differs.
    """

    export: Export
    last: LastFile | None
    layout: Layout | None = None
    changed: str | None = None

    def __call__(self, columns: Sequence[Column]) -> None:
        """See the columns; none at all say nothing. Raises ExportError SCHEMA_CHANGED where a change must stop it."""
        if not columns:
            return
        self.layout = layout_of(columns)
        if self.last is None:
            return
        found = changes(self.last.layout, self.layout)
        if not found:
            return
        last = f"{self.last.name} of {self.last.logical_time:%Y-%m-%d %H:%M} UTC"
        self.changed = f"other columns than in {last}: {found}"
        if self.export.on_schema_change == "fail" and not self.last.accepted:
            raise ExportError(
                Code.SCHEMA_CHANGED,
                f"{self.export.id} has {self.changed}",
                f"`exports ledger {self.export.id} --accept`, then a relaunch, delivers the file with these columns; "
                "or name the columns that are wanted in the definition and activate it",
                export=self.export.id,
            )


def last_file_of(ledger: Ledger, export: Export, window: Window) -> LastFile | None:
    """The file that the window's is compared with; None for a one shot, and for the first of a definition."""
    return None if export.type == "one_shot" else ledger.last_file(window, export.hash)


def layout_of(columns: Sequence[Column]) -> Layout:
    """The columns with their types as parquet has them; what it keeps as text is told apart where other files do."""
    return Layout(tuple((column.name, _type_of(column)) for column in columns))


def _type_of(column: Column) -> str | None:
    # What nothing has declared was guessed from the first values, and other values have other types.
    if not column.type_text or column.arrow is None:
        return None
    if not pa.types.is_string(column.arrow):
        return str(column.arrow)
    if column.type_text.lower() in JSON_TYPES:
        return "json"
    return "number" if column.kind == "number" else "string"
