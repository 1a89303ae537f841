"""What a PostgreSQL source is at this moment: which server, which table, and which files hold its rows."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from sqlalchemy import text

from catalog.definition import Export
from catalog.errors import Code, ExportError
from tasks.connect import Source
from tasks.rows.columns import table_columns
from tasks.source.query import require_column

# Partitions and inheriting tables hold rows of their own: all of them count, and their files change one by one.
_ASK = text("""
WITH RECURSIVE tree AS (
    SELECT to_regclass(:name)::oid AS oid
    UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
), piece AS (
    SELECT oid, relkind, pg_relation_filenode(oid) AS file FROM tree JOIN pg_class USING (oid)
)
SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system,
       (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
       (SELECT oid::bigint FROM pg_database WHERE datname = current_database()) AS database,
       to_regclass(:name)::oid::bigint AS "table",
       (SELECT CASE WHEN count(*) = 1 THEN min(file::bigint)
                    ELSE hashtextextended(string_agg(oid::text || ':' || file::text, ',' ORDER BY oid), 0) END
        FROM piece WHERE file IS NOT NULL) AS file,
       (SELECT relkind::text FROM piece WHERE oid = to_regclass(:name)) AS kind,
       (SELECT string_agg(DISTINCT relkind::text, '') FROM piece) AS kinds,
       (SELECT format_type(coalesce(nullif(base.typbasetype, 0), base.oid), NULL)
        FROM pg_attribute JOIN pg_type base ON base.oid = atttypid
        WHERE attrelid = to_regclass(:name) AND attname = :column AND NOT attisdropped) AS column_type
""")

#: `pg_class.relkind` of what has no transaction ids of its own, and of what keeps rows that it does not own.
KINDS = {"v": "view", "m": "materialized view", "f": "foreign table", "c": "composite type", "S": "sequence"}


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells one source from another. `table` is None for a query; `file` is None for what has no file.

    `system` identifies the cluster, `timeline` its history, `database` and `table` are oids; `file` is the table's
    file node, or a digest of its partitions'. VACUUM FULL gives a table another `file`, and it is the same source.
    """

    system: str
    timeline: int
    database: int
    table: int | None
    file: int | None

    def to_text(self) -> str:
        """JSON, as windows keep it."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Relation:
    """The source's identity and what kind of thing it is: `kind` is its relkind, `kinds` also those of its partitions.

    `column_type` is the base type of the cursor column, None without one.
    """

    identity: Identity
    kind: str | None
    kinds: str
    column_type: str | None


def relation_of(source: Source, export: Export) -> Relation:
    """Ask PostgreSQL what the export's table, or the database of its query, is.

    Raises ExportError COLUMN_MISSING when there is no such table.
    """
    column = export.cursor.column if export.cursor else None
    name = None if export.table is None else qualified(export.table)
    found: dict[str, Any] = dict(source.connection.execute(_ASK, {"name": name, "column": column}).mappings().one())
    if export.table is not None and found["table"] is None:
        # It knows the nearest name.
        table_columns(source.connection, export.table)
    kind, kinds, column_type = found.pop("kind"), found.pop("kinds"), found.pop("column_type")
    return Relation(Identity(**found), kind, kinds or "", column_type)


def qualified(table: str) -> str:
    """`table` or `schema.table`, quoted as PostgreSQL and SQLite want it."""
    # SQLAlchemy's own quoting doubles each `%`, for texts that go through a driver's placeholders.
    quoted = ['"' + part.replace('"', '""') + '"' for part in table.rpartition(".") if part not in ("", ".")]
    return ".".join(quoted)


def refuse_without_xids(source: Source, export: Export) -> Relation:
    """What the table is, once it is certain that mode `xid` can read it.

    Raises ExportError XID_UNSUPPORTED for other databases, views and foreign tables, COLUMN_MISSING or CURSOR_TYPE
    when `cursor.column` is not there or is no xid8.
    """
    if source.dialect != "postgresql":
        raise _unsupported(f"{source.name} is no PostgreSQL ({source.dialect})", "use `cursor.mode: lag`", export)
    relation = relation_of(source, export)
    other = relation.kind if relation.kind not in ("r", "p") else "f" if "f" in relation.kinds else None
    if other is not None:
        what = "has a foreign partition" if relation.kind in ("r", "p") else f"is a {KINDS.get(other, 'relation')}"
        raise _unsupported(
            f"{export.table} {what}, whose rows have no transaction ids of this server",
            "name the table itself, or use `cursor.mode: guarded` or `lag` with a time column",
            export,
        )
    assert export.cursor is not None and export.table is not None, "mode xid reads a table"
    if (name := export.cursor.column) is not None and relation.column_type != "xid8":
        require_column(
            name, [column.name for column in table_columns(source.connection, export.table)], "cursor.column"
        )
        raise ExportError(
            Code.CURSOR_TYPE,
            f"the cursor column {name!r} holds {relation.column_type}, and mode `xid` needs xid8",
            "leave `cursor.column` out, or ALTER TABLE ... ADD COLUMN changed xid8 DEFAULT pg_current_xact_id(), "
            "stamped by a trigger on UPDATE, with an index",
            export=export.id,
            key="cursor.column",
        )
    return relation


def _unsupported(reason: str, hint: str, export: Export) -> ExportError:
    message = f"mode `xid` reads the transaction ids of a PostgreSQL table: {reason}"
    return ExportError(Code.XID_UNSUPPORTED, message, hint, export=export.id, key="cursor.mode")
