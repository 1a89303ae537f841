"""The ledger's four tables. Moments are ISO 8601 texts in UTC with microseconds, so that they sort as they should."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

METADATA = MetaData()

definition = Table(
    "definition",
    METADATA,
    Column("hash", String(64), primary_key=True),
    Column("export", String(100), nullable=False),
    Column("json", Text, nullable=False),
    Column("registered_at", String(32), nullable=False),
)

window = Table(
    "window",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("export", String(100), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("kind", String(16), nullable=False),
    Column("low", Text),
    Column("high", Text),
    Column("since", String(32)),
    Column("until", String(32)),
    Column("logical_time", String(32), nullable=False),
    Column("definition", ForeignKey("definition.hash"), nullable=False),
    Column("run_id", String(36), nullable=False),
    Column("target", String(100), nullable=False),
    Column("folder", Text, nullable=False),
    Column("file_name", Text, nullable=False),
    Column("allotted_at", String(32), nullable=False),
    UniqueConstraint("run_id"),
    Index("window_of_export", "export", "logical_time"),
)

extraction = Table(
    "extraction",
    METADATA,
    Column("window", ForeignKey("window.id"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("spool_path", Text, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("extracted_at", String(32), nullable=False),
)

delivery = Table(
    "delivery",
    METADATA,
    Column("window", ForeignKey("window.id"), primary_key=True),
    Column("target", String(100), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("state", String(16), nullable=False),
    Column("temp_name", Text),
    Column("path", Text),
    Column("target_identity", Text),
    Column("committed_by", String(36)),
    Column("updated_at", String(32), nullable=False),
    Index("delivery_committed_by", "committed_by"),
    Index("delivery_state", "state"),
)

#: One row: which version of these tables stands in the database.
schema_version = Table("schema_version", METADATA, Column("version", Integer, primary_key=True))
VERSION = 1
