"""A PostgreSQL table cut into ranges of its blocks: together they hold every row once, in the table's own order.

https://www.postgresql.org/docs/current/ddl-system-columns.html (`ctid`); since version 14 a range is read alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from sqlalchemy import Select, literal_column, text

from catalog.definition import Export
from catalog.errors import Code, ExportError
from tasks.connect import Source
from tasks.source.relation import KINDS, qualified

#: `pg_class.relkind` of what has blocks of its own, and of what is made of such.
_WITH_BLOCKS = {"r", "m", "p"}
# Each partition has blocks from 0 on, and a range is read in all of them.
_ASK = text("""
WITH RECURSIVE tree AS (
    SELECT to_regclass(:name)::oid AS oid
    UNION SELECT inhrelid FROM pg_inherits JOIN tree ON inhparent = tree.oid
)
SELECT oid::bigint, relkind::text,
       CASE WHEN relkind IN ('r', 'm') THEN pg_relation_size(oid) / current_setting('block_size')::bigint ELSE 0 END
FROM tree JOIN pg_class USING (oid) ORDER BY oid
""")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an export's rows lie: the oids of its table and of those below it, and the blocks of the largest."""

    tables: tuple[int, ...]
    blocks: int


@dataclass(frozen=True, slots=True)
class BlockRange:
    """The blocks `[first, end)`; None is the table's beginning, and its end, however far that has moved."""

    first: int | None
    end: int | None


def split(blocks: int, count: int) -> tuple[BlockRange, ...]:
    """So many ranges that follow each other without a gap, of one size but for a block."""
    edges = [blocks * number // count for number in range(1, count)]
    return tuple(BlockRange(first, end) for first, end in pairwise([None, *edges, None]))


def within(statement: Select[Any], extent: Extent, blocks: BlockRange) -> Select[Any]:
    """The statement's rows that lie in these blocks of its tables."""
    # Which tables are partitions is no part of a snapshot: one that is attached meanwhile would be in some ranges.
    oids = ", ".join(map(str, extent.tables))
    statement = statement.where(literal_column(f"tableoid IN ({oids})"))
    if blocks.first is not None:
        statement = statement.where(literal_column(f"ctid >= '({blocks.first},0)'::tid"))
    if blocks.end is not None:
        statement = statement.where(literal_column(f"ctid < '({blocks.end},0)'::tid"))
    return statement


def extent_of(source: Source, export: Export) -> Extent:
    """Where the rows of the export's table lie now.

    Raises ExportError PARTITIONS_UNSUPPORTED for other databases, views and foreign tables.
    """
    assert export.table is not None, "partitions are read from a table"
    if source.dialect != "postgresql":
        raise _unsupported(export, f"{source.name} is no PostgreSQL ({source.dialect})")
    found = source.connection.execute(_ASK, {"name": qualified(export.table)}).all()
    if other := [kind for _, kind, _ in found if kind not in _WITH_BLOCKS]:
        raise _unsupported(export, f"{export.table} is, or has for a partition, a {KINDS.get(other[0], 'relation')}")
    return Extent(tuple(oid for oid, _, _ in found), max((blocks for _, _, blocks in found), default=0))


def _unsupported(export: Export, reason: str) -> ExportError:
    return ExportError(
        Code.PARTITIONS_UNSUPPORTED,
        f"`partitions` reads ranges of a PostgreSQL table's blocks: {reason}",
        "leave `file.partitions` out, or name a table",
        export=export.id,
        key="file.partitions",
    )
