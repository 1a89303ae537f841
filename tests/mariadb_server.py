"""A real MariaDB server from Debian's package, where it is installed, on a free loopback port."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pymysql
import pytest
from prefect_server import free_port

SERVER = Path("/usr/sbin/mariadbd")
_START_SECONDS = 30


@dataclass(frozen=True)
class MariaDB:
    """A running server, whose user `test` may do everything and knows the password `secret`."""

    port: int

    def url(self, database: str) -> str:
        return f"mariadb+pymysql://test:secret@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str | None = None) -> pymysql.Connection:
        return pymysql.connect(
            host="127.0.0.1", port=self.port, user="test", password="secret", database=database, autocommit=True
        )

    def fresh_database(self, *statements: str) -> str:
        """A new database in which the statements were run; returns its name."""
        name = f"db_{uuid.uuid4().hex[:12]}"
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            cursor.execute(f"USE {name}")
            for statement in statements:
                cursor.execute(statement)
        return name


@contextmanager
def running() -> Iterator[MariaDB]:
    """A server of one's own."""
    folder = Path(tempfile.mkdtemp(prefix="maria"))
    data, init = folder / "data", folder / "init.sql"
    init.write_text("CREATE USER test@'%' IDENTIFIED BY 'secret';\nGRANT ALL ON *.* TO test@'%';\n")
    common = ["--no-defaults", f"--datadir={data}"]
    become = ["--user=mysql"] if os.getuid() == 0 else []
    if become:
        for path in (folder, init):
            shutil.chown(path, "mysql")
    install = ["mariadb-install-db", *common, *become, "--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run(install, check=True, capture_output=True)
    server = MariaDB(free_port())
    settings = ["--default-time-zone=+00:00", "--innodb-flush-log-at-trx-commit=0"]
    network = ["--bind-address=127.0.0.1", f"--port={server.port}", f"--socket={folder / 's'}", f"--init-file={init}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SERVER, *common, *become, *network, *settings], stdout=log, stderr=log)
    try:
        _await_answer(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await_answer(server: MariaDB, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            return server.connect().close()
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(log.read_text()) from None
            time.sleep(0.05)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """The one server that tests share; they are skipped where Debian's package is not installed."""
    if not SERVER.exists():
        if os.environ.get("CI"):
            pytest.fail("MariaDB's server is needed here: .ci/run installs it")
        pytest.skip("apt-get install mariadb-server")
    with running() as server:
        yield server
