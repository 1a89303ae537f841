"""Opening the ledger's database: durable writes, closed connections, one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, InternalError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from catalog.errors import Code, ExportError
from tasks.ledger.schema import bring_up_to_date, version_of
from tasks.ledger.tables import VERSION

#: How long a writer waits for another one, in seconds.
_BUSY_SECONDS = 30

#: How client and server notice, within about 40 s, that the other's host has lost power; and what may wait how long.
_CLIENT = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 40_000,
}
_SERVER = {
    "tcp_keepalives_idle": 10,
    "tcp_keepalives_interval": 10,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 40_000,
    "lock_timeout": _BUSY_SECONDS * 1000,
    "idle_in_transaction_session_timeout": 60_000,
}

#: SQLSTATEs of what the ledger's user may not do: insufficient_privilege, invalid_schema_name.
_NOT_ALLOWED = {"42501", "3F000"}


def open_engine(url: str) -> Engine:
    """An engine that keeps no connection open between uses.

    Raises ExportError LEDGER_UNREACHABLE when the URL is none of a SQLite file or a PostgreSQL database.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        backend = parsed.get_backend_name()
        if backend not in ("sqlite", "postgresql") or parsed.database in (None, "", ":memory:"):
            raise ArgumentError("neither a SQLite file nor a PostgreSQL database")
        if backend == "sqlite":
            engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
            event.listen(engine, "connect", _sqlite_durable)
            event.listen(engine, "begin", _sqlite_begin)
            return engine
        options = " ".join(f"-c {name}={value}" for name, value in _SERVER.items())
        return create_engine(parsed, poolclass=NullPool, connect_args={**_CLIENT, "options": options})
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        # Not chained: a port that is none is quoted, and may be a piece of the password.
        raise ExportError(
            Code.LEDGER_UNREACHABLE,
            f"EXPORTS_LEDGER is not the URL of a SQLite file or PostgreSQL database ({type(error).__name__})",
            "write it as sqlite:////folder/ledger.sqlite or postgresql+psycopg://user@host/database",
        ) from None


def _sqlite_durable(connection: Any, _record: Any) -> None:
    # WAL has a corruption bug before SQLite 3.51.3; the rollback journal with FULL survives a power cut.
    connection.isolation_level = None
    for pragma in ("journal_mode=DELETE", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Connection) -> None:
    # Taking the write lock at the start keeps "read, then decide, then write" one step for all processes.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def exists(engine: Engine) -> bool:
    """Whether there is a ledger to read; looking must not make one. An older version is upgraded in place first.

    Raises ExportError LEDGER_UNREACHABLE, or LEDGER_VERSION when a newer program wrote the ledger.
    """
    path = sqlite_file(engine)
    with reachable(engine):
        if path is not None and not path.exists():
            return False
    with reading(engine) as connection:
        version = version_of(connection)
    if version is not None and version < VERSION:
        with writing(engine, lock="schema"):
            pass
    return version is not None


def sqlite_file(engine: Engine) -> Path | None:
    """The ledger's file, or None when it is no SQLite database."""
    return Path(str(engine.url.database)) if engine.dialect.name == "sqlite" else None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads. Raises ExportError LEDGER_UNREACHABLE."""
    with reachable(engine), engine.connect().execution_options(reading=True) as connection:
        yield connection


@contextmanager
def writing(engine: Engine, *, lock: str) -> Iterator[Connection]:
    """One transaction; on PostgreSQL, those with the same `lock` follow each other. Makes the tables when missing.

    Raises ExportError LEDGER_UNREACHABLE, or LEDGER_VERSION when a newer program wrote the ledger.
    """
    path = sqlite_file(engine)
    with reachable(engine):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with engine.begin() as connection:
            _one_at_a_time(connection, f"exports {lock}")
            _ensure_schema(connection)
            yield connection


def _one_at_a_time(connection: Connection, key: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": key})


def _ensure_schema(connection: Connection) -> None:
    if version_of(connection) == VERSION:
        return
    # Two exports that begin together must not both make or upgrade the tables.
    _one_at_a_time(connection, "exports schema")
    bring_up_to_date(connection)


@contextmanager
def reachable(engine: Engine) -> Iterator[None]:
    """Work on the ledger itself. Raises ExportError LEDGER_UNREACHABLE for what its server or disk has against it."""
    try:
        yield
    except (DBAPIError, OSError) as error:
        if isinstance(error, DBAPIError) and not _is_from_outside(error):
            raise
        # Without its query, which may hold a password too.
        where = engine.url.set(query={}).render_as_string(hide_password=True)
        told = error.strerror if isinstance(error, OSError) else str(getattr(error, "orig", error))
        reason = next(iter((told or "").splitlines()), type(error).__name__)
        raise ExportError(
            Code.LEDGER_UNREACHABLE,
            f"the ledger {where} cannot be used: {reason}",
            "see that its server runs and lets this user make tables, or that its folder is writable and not full",
        ) from error


def _is_from_outside(error: DBAPIError) -> bool:
    """Whether the error comes from server, disk or rights; any other is a mistake of ours and must be seen as one."""
    # sqlite3 raises DatabaseError itself for a file that is no database or is damaged.
    if isinstance(error, OperationalError | InternalError) or type(error) is DatabaseError:
        return True
    return getattr(error.orig, "sqlstate", None) in _NOT_ALLOWED
