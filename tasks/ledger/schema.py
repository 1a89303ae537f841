"""The version of the ledger's tables: made when missing, upgraded in place, refused when newer than this program."""

from __future__ import annotations

import uuid

from sqlalchemy import Connection, Table, func, insert, inspect, select, text, update
from sqlalchemy.schema import CreateColumn

from catalog.errors import Code, ExportError
from tasks.ledger.tables import METADATA, VERSION, delivery, extraction, generation, schema_version, window

#: What each version added to tables that stood already; new tables are simply made.
_ADDED: dict[int, dict[Table, tuple[str, ...]]] = {
    2: {
        window: (
            "source",
            "held_by",
            "null_cursors",
            "late",
            "missed",
            "counted",
            "audited_at",
            "keyed_from",
            "keyed_by",
        ),
        extraction: ("kind",),
        delivery: ("publishing_at",),
        schema_version: ("ledger_id",),
    },
    3: {delivery: ("cleared_at",)},
    4: {generation: ("kind",)},
    5: {},
    6: {window: ("future", "latest", "columns", "columns_changed", "columns_accepted_at")},
}


def version_of(connection: Connection) -> int | None:
    """The version of the tables that stand, or None when there are none.

    Raises ExportError LEDGER_VERSION when a newer program made them.
    """
    if not inspect(connection).has_table(schema_version.name):
        return None
    version: int = connection.execute(select(schema_version.c.version)).scalar_one()
    if version > VERSION:
        raise ExportError(
            Code.LEDGER_VERSION,
            f"the ledger has version {version}, and this program knows {VERSION}",
            "upgrade this program to the version that wrote the ledger",
        )
    return version


def bring_up_to_date(connection: Connection) -> None:
    """Make the tables, or add what this version has and an older one had not; within the caller's transaction."""
    standing = version_of(connection)
    if standing == VERSION:
        return
    if standing is None:
        METADATA.create_all(connection)
        connection.execute(insert(schema_version).values(version=VERSION, ledger_id=uuid.uuid4().hex))
        return
    quote, stood = connection.dialect.identifier_preparer.quote, set(inspect(connection).get_table_names())
    for version in range(standing + 1, VERSION + 1):
        for table, names in _ADDED[version].items():
            for name in names if table.name in stood else ():
                written = CreateColumn(table.c[name]).compile(dialect=connection.dialect)
                connection.execute(text(f"ALTER TABLE {quote(table.name)} ADD COLUMN {written}"))
    METADATA.create_all(connection)
    own = func.coalesce(schema_version.c.ledger_id, uuid.uuid4().hex)
    connection.execute(update(schema_version).values(version=VERSION, ledger_id=own))
