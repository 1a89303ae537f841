"""Fixtures that many test files share."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

# Before Prefect is imported: its log lines stay off the console, as for `exports run` in a pipe.
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"

from azure_server import azurite
from browser import ui
from custom_modules import custom_modules, module
from debian_ftp_servers import debian_ftp_servers
from ftp_server import authority, ftp_servers
from gated_source import gated
from in_memory import memory
from ledgers import ledger, ledger_url
from mariadb_server import mariadb
from openpgp import partner, stranger
from partitioned import spool, threads
from postgres_server import postgres
from prefect_server import prefect, prefect_home, prefect_url, prefect_worker
from publishers import drop, folder_publisher, opener, place, publisher, spool_file
from receivers import mailbox, webhook
from s3_meddler import meddler
from s3_server import bucket, seaweedfs
from sftp_server import openssh, sftp_server, ssh_keys
from small_disk import small_disk
from tcp_proxy import proxies
from webdav_server import webdav_servers
from workshop import workshop

__all__ = [
    "authority",
    "azurite",
    "bucket",
    "custom_modules",
    "debian_ftp_servers",
    "drop",
    "folder_publisher",
    "ftp_servers",
    "gated",
    "ledger",
    "ledger_url",
    "mailbox",
    "mariadb",
    "meddler",
    "module",
    "opener",
    "openssh",
    "partner",
    "place",
    "postgres",
    "prefect",
    "prefect_home",
    "prefect_url",
    "prefect_worker",
    "proxies",
    "publisher",
    "seaweedfs",
    "sftp_server",
    "small_disk",
    "spool",
    "spool_file",
    "ssh_keys",
    "stranger",
    "threads",
    "ui",
    "webdav_servers",
    "webhook",
    "workshop",
]

#: The files that take the longest. They begin first: one that is left over keeps a single process busy in the end.
LONGEST = (
    "test_dead_machines.py",
    "test_every_action.py",
    "test_s3_runs.py",
    "test_network_faults.py",
    "test_gitops.py",
    "test_custom.py",
    "test_soak.py",
    "test_ui_walk.py",
    "test_start.py",
    "test_late.py",
    "test_no_secret_appears.py",
    "test_ways_in.py",
    "test_out_of_order.py",
    "test_standard_equivalent.py",
    "test_deliver.py",
    "test_clock_changes.py",
    "test_lookback.py",
    "test_notifications.py",
)


def pytest_configure() -> None:
    """Let temporary files be in memory, and ctrl-c end what tests start."""
    # No test outlives its machine, and a disk takes 8 ms for a commit of a ledger that memory does in 0.1.
    if "TMPDIR" not in os.environ and (fast := memory()) is not None:
        os.environ["TMPDIR"] = tempfile.tempdir = str(fast)
    # What a script starts in the background ignores ctrl-c, and so would each server and worker.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files of tests, and leave the tests of each as they are."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.fixture(autouse=True)
def _spool_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test saw of a ledger must not be held against another's."""
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool_of_test"))
