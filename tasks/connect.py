"""Opening a database to read from it, in one read-only transaction of one snapshot."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import URL, Connection, Engine, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from catalog.connections import Database
from catalog.errors import Code, ExportError
from catalog.places import base_folder
from tasks.credentials import Lookup, resolve
from tasks.translate import source_errors

_CONNECT_SECONDS = 10
#: What opens the read-only transaction of one snapshot, where SQLAlchemy has no option for it.
_BEGIN = {
    "sqlite": "BEGIN",
    "mysql": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
    "mariadb": "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
}
# One text form for every value, whatever the server's own settings are.
_POSTGRES_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "client_encoding": "UTF8",
}
# Where ranges of a table are read at the same time: each in the table's own order, by one process of the server; and
# who waits for a lock waits for somebody who waits for the first connection, which waits for this one.
_RANGE_SETTINGS = {
    "enable_indexscan": "off",
    "enable_indexonlyscan": "off",
    "max_parallel_workers_per_gather": "0",
    "synchronize_seqscans": "off",
    "lock_timeout": "10s",
}
#: Dialects and drivers whose package has another name than they have.
_PACKAGES = {
    "MySQLdb": "mysqlclient",
    "duckdb": "duckdb-engine",
    "snowflake": "snowflake-sqlalchemy",
    "bigquery": "sqlalchemy-bigquery",
    "redshift": "sqlalchemy-redshift",
}


@dataclass(frozen=True, slots=True)
class Source:
    """An open database: `connection` is in one read-only transaction; `timezone` is what times without one mean."""

    name: str
    connection: Connection
    timezone: ZoneInfo

    @property
    def dialect(self) -> str:
        """The kind of database, as SQLAlchemy names it: postgresql, sqlite, ..."""
        return self.connection.dialect.name


@contextmanager
def open_source(name: str, database: Database, lookup: Lookup, *, snapshot: str | None = None) -> Iterator[Source]:
    """Connect to a database of the catalog for as long as the block runs.

    With `snapshot`, one that another connection to a PostgreSQL exports, to read a range of what that one sees.
    Raises ExportError SECRET_MISSING, DRIVER_MISSING, SOURCE_UNREACHABLE or SOURCE_AUTH, SOURCE_LOST when the snapshot
    is gone; inside the block, database errors become ExportError too.
    """
    engine = _engine(name, database, lookup, snapshot)
    try:
        with (
            source_errors(name, engine.url),
            engine.connect() as connection,
            source_errors(name, engine.url, connected=True),
            connection.begin(),
        ):
            if begin := _BEGIN.get(connection.dialect.name):
                connection.exec_driver_sql(begin)
            if snapshot is not None:
                _see(connection, name, snapshot)
            yield Source(name, connection, ZoneInfo(database.timezone))
    finally:
        engine.dispose()


def application_name(snapshot: str | None) -> str:
    """By what PostgreSQL shows a connection; those that share a snapshot have a name of their own."""
    return f"manage-exports {snapshot}" if snapshot else "manage-exports"


def _see(connection: Connection, name: str, snapshot: str) -> None:
    try:
        connection.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"), execution_options={"stream_results": False})
    except DBAPIError:
        raise ExportError(
            Code.SOURCE_LOST,
            f"database {name} has not the snapshot that is read: the connection that holds it was lost, or the url "
            "leads to several servers",
            "relaunch: the window stays the same",
        ) from None


def _engine(name: str, database: Database, lookup: Lookup, snapshot: str | None) -> Engine:
    try:
        url = make_url(resolve(database.url, lookup))
        if url.get_backend_name() == "sqlite":
            return create_engine("sqlite://", creator=_sqlite_creator(name, url), poolclass=NullPool)
        if url.get_backend_name() == "postgresql":
            # Whichever driver was named: only psycopg gives the server's own texts.
            url = url.set(drivername="postgresql+psycopg")
        return create_engine(url, poolclass=NullPool, **_options(url, snapshot))
    except NoSuchModuleError as error:
        raise ExportError(
            Code.DRIVER_MISSING,
            f"no SQLAlchemy dialect serves the database {name} ({url.drivername})",
            f"pip install {_PACKAGES.get(url.get_backend_name(), 'its dialect')}, or mend the beginning of the URL",
        ) from error
    except (ArgumentError, ValueError):
        # Not chained: the error may quote a piece of the URL, and with it of a password.
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"the url of database {name} is no SQLAlchemy URL",
            "write it as postgresql://user:{{ $PASSWORD }}@host:5432/database",
            file=f"databases/{name}.yaml",
            key="url",
        ) from None
    except ImportError as error:
        raise ExportError(
            Code.DRIVER_MISSING,
            f"the database {name} needs the Python package {error.name}",
            f"pip install {_PACKAGES.get(str(error.name), error.name)}",
        ) from error


def _options(url: URL, snapshot: str | None) -> dict[str, Any]:
    if url.get_backend_name() != "postgresql":
        return {"execution_options": {"stream_results": True}}
    options = {**url.query}
    wanted = {**_POSTGRES_SETTINGS, **(_RANGE_SETTINGS if snapshot else {})}
    settings = " ".join(f"-c {key}={value}" for key, value in wanted.items())
    keepalive = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3}
    return {
        "connect_args": {
            "connect_timeout": int(str(options.get("connect_timeout", _CONNECT_SECONDS))),
            "options": f"{options.get('options', '')} {settings}".strip(),
            "application_name": application_name(snapshot),
            **keepalive,
        },
        "isolation_level": "REPEATABLE READ",
        "execution_options": {"postgresql_readonly": True, "stream_results": True},
    }


def _sqlite_creator(name: str, url: URL) -> Any:
    path = base_folder() / Path(url.database or "")

    def connect() -> sqlite3.Connection:
        if not path.is_file():
            raise ExportError(
                Code.SOURCE_UNREACHABLE,
                f"database {name}: there is no SQLite file {path}",
                "mend the url; a relative path starts at the folder that holds the catalog",
            )
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=ro", uri=True, timeout=_CONNECT_SECONDS, isolation_level=None
        )
        connection.execute("PRAGMA query_only=ON").close()
        return connection

    return connect
