"""Who keeps a source's upper bound back: an open transaction, or a prepared one, told in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, text

from catalog.definition import Export
from catalog.errors import Code, ExportError

#: A shorter hold is how databases work, and no news.
_WORTH_TELLING = timedelta(minutes=1)

_OF_XID = text("""
SELECT pid, datname, usename, application_name, state, xact_start AS since, NULL AS gid
FROM pg_stat_activity WHERE backend_xid = CAST(:xid AS xid)
UNION ALL
SELECT NULL, database, owner, NULL, NULL, prepared, gid
FROM pg_prepared_xacts WHERE transaction = CAST(:xid AS xid)
""")
# Our own exports only read, a range of a table too, whose connection has the name of a snapshot behind theirs. Vacuum's
# workers stamp no rows, parallel ones belong to a leader that is listed itself.
_ACTIVE = text("""
SELECT pid, datname, usename, application_name, state, xact_start AS since, NULL AS gid
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND split_part(application_name, ' ', 1) <> 'manage-exports'
  AND backend_type NOT IN ('autovacuum worker', 'parallel worker', 'walsender')
  AND (xact_start IS NOT NULL OR state = 'disabled')
""")
_PREPARED = text("""
SELECT NULL AS pid, database AS datname, owner AS usename, NULL AS application_name, NULL AS state,
       prepared AS since, gid
FROM pg_prepared_xacts WHERE database = current_database()
""")


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction that is not over: of the backend `pid`, or prepared under `gid`.

    `since` is when it began, for a prepared one when it was prepared; None where the role may not see it.
    """

    pid: int | None
    datname: str | None
    usename: str | None
    application_name: str | None
    state: str | None
    since: datetime | None
    gid: str | None

    def in_words(self) -> str:
        """As `process 4711 (user app, database crm, application web, idle in transaction) since 2026-11-25 ...`."""
        who = [f"user {self.usename}", f"database {self.datname}"]
        if self.application_name:
            who.append(f"application {self.application_name}")
        if self.state:
            who.append(self.state)
        name = f"prepared transaction {self.gid!r}" if self.gid is not None else f"process {self.pid}"
        since = f"{self.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if self.since else "an unknown time"
        return f"{name} ({', '.join(who)}) since {since}"


def holder_of(connection: Connection, xid: int) -> Holder | None:
    """The transaction with that id (64 bits, of the newest epoch) when it is still open, in any of the databases."""
    row = connection.execute(_OF_XID, {"xid": str(xid % 2**32)}).first()
    return Holder(*row) if row else None


def open_transactions(connection: Connection) -> tuple[list[Holder], list[Holder]]:
    """The open and the prepared transactions of this database, other than those of exports."""
    # In this order: one that is prepared between the two questions is in both answers, never in none.
    active = [Holder(*row) for row in connection.execute(_ACTIVE)]
    return active, [Holder(*row) for row in connection.execute(_PREPARED)]


def oldest(holders: Iterable[Holder]) -> Holder | None:
    """The one that began first, None when there is none."""
    known = [(holder.since, index, holder) for index, holder in enumerate(holders) if holder.since is not None]
    return min(known)[2] if known else None


def held_by(export: Export, holder: Holder | None, now: datetime, at_least_since: datetime | None) -> str | None:
    """The holder in words, None when it holds back for less than a minute by the database's clock `now`.

    `at_least_since` counts where the role may not see when it began. Raises ExportError FRONTIER_HELD or
    FRONTIER_PREPARED when it has held for longer than `cursor.max_hold`.
    """
    if holder is None:
        return None
    holder = replace(holder, since=holder.since or at_least_since)
    assert export.cursor is not None, "only incremental exports have a bound"
    if holder.since is not None and now - holder.since > export.cursor.max_hold:
        raise held_too_long(export, holder)
    return None if holder.since is None or now - holder.since < _WORTH_TELLING else holder.in_words()


def held_too_long(export: Export, holder: Holder) -> ExportError:
    """FRONTIER_HELD or FRONTIER_PREPARED, with what ends that transaction."""
    if holder.gid is not None:
        gid = holder.gid.replace("'", "''")
        code = Code.FRONTIER_PREPARED
        hint = f"in database {holder.datname}: COMMIT PREPARED '{gid}', or ROLLBACK PREPARED '{gid}'"
    else:
        code = Code.FRONTIER_HELD
        hint = f"end it (SELECT pg_terminate_backend({holder.pid})), or allow more with `cursor.max_hold`"
    message = f"no new rows are settled, because of {holder.in_words()}: longer than `cursor.max_hold` allows"
    return ExportError(code, message, hint, export=export.id, key="cursor.max_hold")
