"""Which bulk path reads a result as Arrow batches: the one place that knows them."""

from __future__ import annotations

from catalog.definition import Export
from tasks.bulk import postgres, sqlite
from tasks.connect import Source
from tasks.rows.batches import Form, Rows
from tasks.source.read import Begun


def open_bulk(source: Source, export: Export, begun: Begun, form: Form) -> Rows | None:
    """The window's rows by the database's own bulk path, or None where there is none for them.

    Batches must be consumed while the source is open; they raise Inexact when the path through Python has to read
    instead. Raises what `open_rows` raises for what is wrong with table, columns, cursor or SQL.
    """
    if source.dialect == "postgresql":
        return postgres.open_batches(source, begun, form)
    if source.dialect == "sqlite":
        return sqlite.open_batches(source, export, begun, form)
    return None
