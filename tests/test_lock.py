"""One run at a time works on an export: in two processes, with a ledger of each kind, and after a kill -9."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from ledgers import a_run
from postgres_server import Postgres

from catalog.errors import Code, ExportError
from tasks.ledger.connection import open_engine
from tasks.ledger.lock import hold

ROOT = Path(__file__).resolve().parent.parent
HOLDER = """
import sys
from tasks.ledger.connection import open_engine
from tasks.ledger.lock import hold
with hold(open_engine(sys.argv[1]), sys.argv[2], sys.argv[3], wait_seconds=0):
    print("held", flush=True)
    sys.stdin.read()
"""


def held(url: str, *arguments: Any, **keys: Any) -> AbstractContextManager[None]:
    return hold(open_engine(url), *arguments, **keys)


@contextmanager
def another_process(url: str, export_id: str, run_id: str) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until its stdin is closed."""
    command = [sys.executable, "-c", HOLDER, url, export_id, run_id]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def test_two_processes_exclude_each_other(ledger_url: str) -> None:
    run_id = a_run()
    with another_process(ledger_url, "orders", run_id) as process:
        with pytest.raises(ExportError) as caught, held(ledger_url, "orders", a_run(), wait_seconds=0):
            pytest.fail("two hold the lock")
        assert caught.value.code is Code.EXPORT_BUSY and caught.value.export == "orders"
        assert run_id in caught.value.message and socket.gethostname() in caught.value.message
        with held(ledger_url, "profiles", a_run(), wait_seconds=0):
            pass
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0
    with held(ledger_url, "orders", a_run(), wait_seconds=10):
        pass


def test_a_killed_holder_frees_the_lock(ledger_url: str) -> None:
    told: list[str] = []
    with another_process(ledger_url, "orders", a_run()) as process:

        def kill(holder: str) -> None:
            told.append(holder)
            process.send_signal(signal.SIGKILL)

        # Waits as a run does; the lock is free only because the holder has died while it waited.
        with held(ledger_url, "orders", a_run(), wait_seconds=30, on_wait=kill):
            assert process.wait() == -signal.SIGKILL
    assert len(told) == 1


def test_the_lock_is_free_again_whatever_happened_under_it(ledger_url: str) -> None:
    with (
        pytest.raises(OSError, match="the work's own"),
        held(ledger_url, "orders", a_run(), wait_seconds=0),
    ):
        raise OSError("the work's own")
    with held(ledger_url, "orders", a_run(), wait_seconds=0):
        pass


def test_two_in_one_process_exclude_each_other(ledger_url: str) -> None:
    first, second = a_run(), a_run()
    with held(ledger_url, "orders", first, wait_seconds=0):
        for _ in range(2):
            with (
                pytest.raises(ExportError, match=first),
                held(ledger_url, "orders", second, wait_seconds=0),
            ):
                pytest.fail("two hold the lock")


def test_the_server_shows_which_run_holds_the_lock(postgres: Postgres) -> None:
    database = postgres.fresh_database()
    run_id = a_run()
    with (
        held(postgres.url(database), "orders", run_id, wait_seconds=0),
        postgres.connect(database) as connection,
    ):
        found = connection.execute(
            "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' "
            "AND application_name LIKE %s",
            [f"exports {run_id}%"],
        ).fetchone()
    assert found == (1,)


def test_a_ledger_that_cannot_be_reached(postgres: Postgres, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for url in (postgres.url("no_such_database"), f"sqlite:///{tmp_path}/file/ledger.sqlite"):
        with pytest.raises(ExportError) as caught, held(url, "orders", a_run(), wait_seconds=0):
            pytest.fail("there is nothing to lock")
        assert caught.value.code is Code.LEDGER_UNREACHABLE
