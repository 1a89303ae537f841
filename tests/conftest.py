"""Fixtures that many test files share."""

import os
from pathlib import Path

import pytest

# Before Prefect is imported: its log lines stay off the console, as for `exports run` in a pipe.
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"

from gated_source import gated
from ledgers import ledger, ledger_url
from mariadb_server import mariadb
from partitioned import spool, threads
from postgres_server import postgres
from prefect_server import prefect, prefect_home, prefect_url, prefect_worker
from publishers import drop, opener, publisher, spool_file
from sftp_server import openssh, sftp_server, ssh_keys
from small_disk import small_disk
from tcp_proxy import proxies
from workshop import workshop

__all__ = [
    "drop",
    "gated",
    "ledger",
    "ledger_url",
    "mariadb",
    "opener",
    "openssh",
    "postgres",
    "prefect",
    "prefect_home",
    "prefect_url",
    "prefect_worker",
    "proxies",
    "publisher",
    "sftp_server",
    "small_disk",
    "spool",
    "spool_file",
    "ssh_keys",
    "threads",
    "workshop",
]


@pytest.fixture(autouse=True)
def _spool_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test saw of a ledger must not be held against another's."""
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool_of_test"))
