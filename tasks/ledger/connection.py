"""Opening the ledger's database: durable writes, closed connections, one writer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, insert, inspect, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from catalog.errors import Code, ExportError
from tasks.ledger.tables import METADATA, VERSION, schema_version

#: How long a writer waits for another one, in seconds.
_BUSY_SECONDS = 30


def open_engine(url: str) -> Engine:
    """An engine that keeps no connection open between uses. Raises ExportError LEDGER_UNREACHABLE for a bad URL."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            engine = create_engine(parsed, poolclass=NullPool, connect_args={"timeout": _BUSY_SECONDS})
            event.listen(engine, "connect", _sqlite_durable)
            event.listen(engine, "begin", _sqlite_begin)
            return engine
        return create_engine(parsed, poolclass=NullPool, connect_args={"connect_timeout": 10})
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise ExportError(
            Code.LEDGER_UNREACHABLE,
            f"EXPORTS_LEDGER is no SQLAlchemy URL that can be opened ({type(error).__name__})",
            "write it as sqlite:////folder/ledger.sqlite or postgresql+psycopg://user@host/database",
        ) from error


def _sqlite_durable(connection: Any, _record: Any) -> None:
    # WAL has a corruption bug before SQLite 3.51.3; the rollback journal with FULL survives a power cut.
    connection.isolation_level = None
    for pragma in ("journal_mode=DELETE", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _sqlite_begin(connection: Connection) -> None:
    # Taking the write lock at the start keeps "read, then decide, then write" one step for all processes.
    connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")


def exists(engine: Engine) -> bool:
    """Whether there is a ledger to read; looking must not make one."""
    path = sqlite_file(engine)
    if path is not None and not path.exists():
        return False
    with reading(engine) as connection:
        return inspect(connection).has_table(schema_version.name)


def sqlite_file(engine: Engine) -> Path | None:
    """The ledger's file, or None when it is no SQLite database."""
    is_file = engine.dialect.name == "sqlite" and engine.url.database not in (None, "", ":memory:")
    return Path(str(engine.url.database)) if is_file else None


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A connection that only reads. Raises ExportError LEDGER_UNREACHABLE."""
    with _reachable(engine), engine.connect().execution_options(reading=True) as connection:
        yield connection


@contextmanager
def writing(engine: Engine, *, lock: str) -> Iterator[Connection]:
    """One transaction; on PostgreSQL, those with the same `lock` follow each other. Makes the tables when missing.

    Raises ExportError LEDGER_UNREACHABLE, or LEDGER_VERSION when a newer program wrote the ledger.
    """
    path = sqlite_file(engine)
    with _reachable(engine):
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:key))"), {"key": f"exports {lock}"})
            _ensure_schema(connection)
            yield connection


def _ensure_schema(connection: Connection) -> None:
    if not inspect(connection).has_table(schema_version.name):
        METADATA.create_all(connection)
        connection.execute(insert(schema_version).values(version=VERSION))
        return
    version = connection.execute(select(schema_version.c.version)).scalar_one()
    if version > VERSION:
        raise ExportError(
            Code.LEDGER_VERSION,
            f"the ledger has version {version}, and this program knows {VERSION}",
            "upgrade this program to the version that wrote the ledger",
        )


@contextmanager
def _reachable(engine: Engine) -> Iterator[None]:
    try:
        yield
    except (OperationalError, DBAPIError, OSError) as error:
        if isinstance(error, DBAPIError) and not isinstance(error, OperationalError):
            raise
        where = engine.url.render_as_string(hide_password=True)
        reason = error.strerror if isinstance(error, OSError) else str(getattr(error, "orig", error)).splitlines()[0]
        raise ExportError(
            Code.LEDGER_UNREACHABLE,
            f"the ledger {where} cannot be used: {reason}",
            "see that its server runs, or that its folder is there, writable and not full",
        ) from error
