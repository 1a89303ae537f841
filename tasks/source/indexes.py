"""Whether an index serves an incremental export's windows, so that a run need not read the whole table."""

from __future__ import annotations

import warnings
from typing import Any

from sqlalchemy import Inspector, inspect, text
from sqlalchemy.exc import SAWarning

from catalog.definition import Export
from tasks.connect import Source
from tasks.source.relation import qualified

# Each table that holds rows needs one: partitions may have indexes that their parent lacks. One that is invalid is
# never used, one with a predicate holds some rows, and an expression in the first place has the number 0.
_POSTGRES = text("""
WITH RECURSIVE tree AS (
    SELECT to_regclass(:name)::oid AS oid
    UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
)
SELECT bool_and(relkind NOT IN ('r', 'm') OR EXISTS (
    SELECT FROM pg_index JOIN pg_class index ON index.oid = indexrelid JOIN pg_am ON pg_am.oid = index.relam
    WHERE indrelid = tree.oid AND indisvalid AND indpred IS NULL AND amname IN ('btree', 'brin', 'gist')
      AND indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = tree.oid AND attname = :column)
))
FROM tree JOIN pg_class ON pg_class.oid = tree.oid
""")

#: Where SQLAlchemy's inspector knows what each index can do.
_INSPECTED = {"sqlite", "mysql", "mariadb"}


def lacks_cursor_index(source: Source, export: Export) -> bool:
    """Whether it is certain that no index begins with `cursor.column` and holds every row.

    False where that cannot be known: for queries, views, foreign tables and other databases. False too without a
    cursor column: mode `xid` then reads the whole table, as it says.
    """
    if export.table is None or export.cursor is None or export.cursor.column is None:
        return False
    if source.dialect == "postgresql":
        names = {"name": qualified(export.table), "column": export.cursor.column}
        return source.connection.execute(_POSTGRES, names).scalar() is False
    if source.dialect in _INSPECTED:
        schema, _, name = export.table.rpartition(".")
        return _lacks(inspect(source.connection), name, schema or None, export.cursor.column)
    return False


def _lacks(inspector: Inspector, table: str, schema: str | None, column: str) -> bool:
    if table not in inspector.get_table_names(schema=schema):
        return False
    with warnings.catch_warnings():
        # Of an index on an expression it says that it leaves it out, and that is what is wanted.
        warnings.simplefilter("ignore", SAWarning)
        # SQLite's own indexes for keys and UNIQUE are not among the others.
        keys: list[Any] = [inspector.get_pk_constraint(table, schema=schema)["constrained_columns"]]
        keys += [unique["column_names"] for unique in inspector.get_unique_constraints(table, schema=schema)]
        keys += [index["column_names"] for index in inspector.get_indexes(table, schema=schema) if _holds_all(index)]
    return column not in [key[0] for key in keys if key]


def _holds_all(index: Any) -> bool:
    return index.get("type") not in ("FULLTEXT", "SPATIAL") and "sqlite_where" not in index.get("dialect_options", {})
