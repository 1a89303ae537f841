"""One run at a time works on an export: a lock that dies with its holder.

With a SQLite ledger it is a file lock, which the kernel frees; with PostgreSQL an advisory lock of a session,
which the server frees.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from catalog.errors import Code, ExportError
from tasks.ledger.connection import reachable, sqlite_file

_POLL_SECONDS = 0.5

T = TypeVar("T")


@contextmanager
def hold(
    engine: Engine,
    export_id: str,
    run_id: str,
    *,
    wait_seconds: float = 600,
    on_wait: Callable[[str], None] = lambda holder: None,
) -> Iterator[None]:
    """Hold the export's lock for as long as the block runs.

    Waits up to `wait_seconds` for another holder, after telling `on_wait` once who that is; then raises
    ExportError EXPORT_BUSY. Raises LEDGER_UNREACHABLE when the lock cannot be asked for.
    """
    with ExitStack() as stack:
        with reachable(engine):
            open_lock = _server_lock if sqlite_file(engine) is None else _file_lock
            take, holder = open_lock(engine, export_id, run_id, stack)
        deadline = time.monotonic() + wait_seconds
        told = False
        while not _asked(engine, take):
            known = _asked(engine, holder)
            if not told:
                on_wait(known)
                told = True
            if time.monotonic() >= deadline:
                raise ExportError(
                    Code.EXPORT_BUSY,
                    f"another run of {export_id} is at work: {known}",
                    "relaunch when it has ended; it delivers what is outstanding, this run's window too",
                    export=export_id,
                )
            time.sleep(_POLL_SECONDS)
        yield


def is_held(engine: Engine, export_id: str) -> bool:
    """Whether a run is at work on the export. Raises ExportError LEDGER_UNREACHABLE when nobody can be asked."""
    with reachable(engine):
        if sqlite_file(engine) is None:
            return _is_held_at_server(engine, export_id)
        try:
            with _lock_file(engine, export_id).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
    return False


def _is_held_at_server(engine: Engine, export_id: str) -> bool:
    key = {"key": f"exports run {export_id}"}
    with engine.connect() as connection:
        # A lock of the transaction, which ends with the question.
        return not connection.execute(text("SELECT pg_try_advisory_xact_lock(hashtext(:key), 0)"), key).scalar()


def _lock_file(engine: Engine, export_id: str) -> Path:
    ledger = Path(str(engine.url.database))
    return ledger.with_name(f"{ledger.name}.{export_id}.lock")


def _asked(engine: Engine, question: Callable[[], T]) -> T:
    # Not around the whole of `hold`: an error of the work that is done under the lock is none of the ledger's.
    with reachable(engine):
        return question()


_Taker = tuple[Callable[[], bool], Callable[[], str]]


def _file_lock(engine: Engine, export_id: str, run_id: str, stack: ExitStack) -> _Taker:
    path = _lock_file(engine, export_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # Without a buffer: what a full disk has refused would be written, and refused, once more when the file is closed.
    file = stack.enter_context(path.open("a+b", buffering=0))

    def take() -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        file.truncate(0)
        since = datetime.now(UTC).isoformat(timespec="seconds")
        known = {"run": run_id, "host": socket.gethostname(), "pid": os.getpid(), "since": since}
        file.write(json.dumps(known).encode())
        return True

    def holder() -> str:
        file.seek(0)
        try:
            known = json.load(file)
        except ValueError:
            return "a run that has just begun"
        return f"run {known['run']} on {known['host']}, process {known['pid']}, since {known['since']}"

    return take, holder


def _server_lock(engine: Engine, export_id: str, run_id: str, stack: ExitStack) -> _Taker:
    connection: Connection = stack.enter_context(engine.connect().execution_options(isolation_level="AUTOCOMMIT"))
    name = f"exports {run_id} on {socket.gethostname()}"[:63]
    connection.execute(text("SELECT set_config('application_name', :name, false)"), {"name": name})
    key = {"key": f"exports run {export_id}"}

    def release() -> None:
        # A closed connection frees the lock too, but a moment later than the next one may ask; a lost one already has.
        with suppress(SQLAlchemyError):
            connection.execute(text("SELECT pg_advisory_unlock_all()"))

    stack.callback(release)

    def take() -> bool:
        return bool(connection.execute(text("SELECT pg_try_advisory_lock(hashtext(:key), 0)"), key).scalar())

    def holder() -> str:
        found = connection.execute(
            text(
                "SELECT a.application_name, a.backend_start FROM pg_locks l JOIN pg_stat_activity a USING (pid) "
                "WHERE l.locktype = 'advisory' AND l.granted AND l.objid = 0 "
                "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
                "AND l.classid::bigint = hashtext(:key)::bigint & 4294967295"
            ),
            key,
        ).first()
        return (
            f"{found.application_name.removeprefix('exports ')}, since {found.backend_start:%Y-%m-%d %H:%M:%S}"
            if found
            else "a run"
        )

    return take, holder
