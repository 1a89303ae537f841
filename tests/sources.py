"""Reading an export's rows as a test wants them: from a URL, as lists of cells."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from catalog.connections import Database
from catalog.definition import Export
from catalog.windows import Bounds, instant
from tasks.connect import Source, open_source
from tasks.rows.batches import Form, Rows
from tasks.source.read import begin_reading, open_rows

NO_SECRETS = str


def an_export(**keys: Any) -> Export:
    """An export of the table `t`, incremental when there is a cursor, but for the keys given."""
    subject = {} if "query" in keys else {"table": "t"}
    kind = "incremental" if "cursor" in keys else "periodic_full"
    fixed = {"id": "t", "name": "T", "type": kind, "database": "crm", "target": "drop", "file": {"name": "t.csv"}}
    return Export.model_validate({**fixed, **subject, **keys})


def between(low: datetime | None, high: datetime) -> Bounds:
    """The bounds of one window."""
    return Bounds(instant(low) if low else None, instant(high), low, high)


@contextmanager
def opened(url: str, timezone: str = "UTC") -> Iterator[Source]:
    """The database, as a run opens it."""
    with open_source("crm", Database(url=url, timezone=timezone), NO_SECRETS) as source:
        yield source


def rows_of(url: str, export: Export, bounds: Bounds | None = None, form: Form = "text", timezone: str = "UTC") -> Any:
    """All rows as lists of cells."""
    with opened(url, timezone) as source:
        rows = open_rows(source, export, begin_reading(source, export, bounds or Bounds()), form)
        return [list(row.values()) for batch in rows.batches for row in batch.to_pylist()]


def headed(source: Source, export: Export, form: Form = "text") -> Rows:
    """The result that is about to be read."""
    return open_rows(source, export, begin_reading(source, export, Bounds()), form)


def sqlite_file(folder: Path, script: str) -> str:
    """A SQLite database filled by the script; returns its URL."""
    path = folder / "source.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)
    return f"sqlite:///{path}"
