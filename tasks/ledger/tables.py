"""The ledger's tables. Moments are ISO 8601 texts in UTC with microseconds, so that they sort as they should."""

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

#: Where an export's numbering of windows was begun anew, and from which bound (NULL: the beginning).
generation = Table(
    "generation",
    METADATA,
    Column("export", String(100), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("low", Text),
    Column("since", String(32)),
    Column("opened_at", String(32), nullable=False),
    # Since version 4: `restart` by a person's word, or `deleted`: what came before belonged to a deleted export.
    Column("kind", String(16), nullable=False, server_default="restart"),
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
    # Since version 2. What the source was, and who kept the upper bound back:
    Column("source", Text),
    Column("held_by", Text),
    # What its extraction found: rows without cursor, late ones it delivered, later ones it could only count.
    Column("null_cursors", BigInteger),
    Column("late", BigInteger),
    Column("missed", BigInteger),
    # How many rows its own span held when it was last looked at, and the logical time when it audited older ones.
    Column("counted", BigInteger),
    Column("audited_at", String(32)),
    # From here to `high`, the key of every delivered row is in `delivered_key`; NULL again once they are forgotten.
    Column("keyed_from", Text),
    # How those keys were made: by which columns, of rows that which filter let through.
    Column("keyed_by", Text),
    # Since version 6. How many rows have a cursor in the future, and the latest of these:
    Column("future", BigInteger),
    Column("latest", Text),
    # Its file's columns with their types, as JSON; in words, how they differ from the file's before:
    Column("columns", Text),
    Column("columns_changed", Text),
    # When a person said that later files may have other columns than this one.
    Column("columns_accepted_at", String(32)),
    UniqueConstraint("run_id"),
    Index("window_of_export", "export", "logical_time"),
)

#: Rows that were delivered within the lookback, as keyed hashes.
delivered_key = Table(
    "delivered_key",
    METADATA,
    Column("window", ForeignKey("window.id"), primary_key=True),
    Column("hash", String(32), primary_key=True),
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
    # Since version 2: `data`, or what goes with it: `checksum`, `manifest` or `done`.
    Column("kind", String(16), nullable=False, server_default="data"),
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
    # Since version 2: when the temp name was recorded, which is how old the witness is.
    Column("publishing_at", String(32)),
    # Since version 3: when the file was removed for its age, or found to be gone or another's by then.
    Column("cleared_at", String(32)),
    Index("delivery_committed_by", "committed_by"),
    Index("delivery_state", "state"),
)

#: Who held an export's lock, in order: `fence` is the number of the turn, `window` what stood in its way.
attempt = Table(
    "attempt",
    METADATA,
    Column("export", String(100), primary_key=True),
    Column("fence", Integer, primary_key=True, autoincrement=False),
    Column("run_id", String(36), nullable=False),
    Column("host", Text, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("began_at", String(32), nullable=False),
    Column("ended_at", String(32)),
    Column("error_code", String(32)),
    Column("window", String(32)),
    Column("took_over", Integer),
    Index("attempt_run", "run_id"),
)

#: What people have been told of, so that nobody is told twice. Since version 5.
told = Table(
    "told",
    METADATA,
    Column("what", String(200), primary_key=True),
    Column("told_at", String(32), nullable=False),
)

#: One row: which version of these tables stands in the database, and the ledger's own id, which a copy keeps.
schema_version = Table(
    "schema_version",
    METADATA,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("ledger_id", String(32)),
)
VERSION = 6
