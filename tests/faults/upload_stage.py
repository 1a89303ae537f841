"""Runs whose files are large enough to be cut: an incremental export of a SQLite table, over one protocol."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from azure.storage.blob import LinearRetry
from azure_server import TIMEOUTS as AZURE_TIMEOUTS
from botocore.retries.standard import ExponentialBackoff
from ftp_server import opened as open_ftp
from s3_server import TIMEOUTS as S3_TIMEOUTS
from sftp_server import opened as open_sftp
from story_process import Run
from watched_target import Watched
from workshop import Workshop

from deployments.ledger_view import resolve_window
from tasks import deliver
from tasks.publish import Publisher, abfs, abfs_container, s3
from tasks.publish.abfs import AbfsPublisher
from tasks.publish.abfs_container import read_container
from tasks.publish.local import LocalPublisher
from tasks.publish.s3 import S3Publisher
from tasks.publish.s3_bucket import read_bucket

#: The smallest and the largest file, in bytes. S3 takes no smaller part than 5 MiB: for two of them a file is large.
SIZES = {"file": (200_000, 2_000_000), "s3": (200_000, 12_000_000)}
SIZES |= dict.fromkeys(("sftp", "ftps", "abfs"), SIZES["file"])
_S3_PART, _ABFS_BLOCK = 5 * 1024 * 1024, 256 * 1024
_FIRST = datetime(2026, 3, 1, tzinfo=UTC)
_ROW = 4096
_TABLE = "CREATE TABLE orders (id INTEGER PRIMARY KEY, payload TEXT, updated_at DATETIME)"
_STATES = "SELECT DISTINCT state FROM delivery JOIN window ON window.id = delivery.window WHERE file_name = ?"

#: By protocol: a publisher that does not wait long for a server that is silent.
_OPENERS: dict[str, Callable[[str, dict[str, Any]], Publisher]] = {
    "file": lambda url, options: LocalPublisher(Path(url)),
    "sftp": open_sftp,
    "ftps": open_ftp,
    "s3": lambda url, options: S3Publisher(read_bucket("drop", url, options), S3_TIMEOUTS),
    "abfs": lambda url, options: AbfsPublisher(read_container("drop", url, options, AZURE_TIMEOUTS)),
}


class UploadStage:
    """A source, a ledger and a spool; every hour has rows of its own, and a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._workshop = Workshop(folder)
        self._source, self.spool = folder / "crm.sqlite", folder / "spool"
        self._ledger_file = folder / "state" / "ledger.sqlite"
        self._workshop.sqlite(script=_TABLE)
        # Only what is named when it is allotted: the publisher itself is opened below.
        export_id = self._workshop.incremental(
            columns=["id", "payload"],
            cursor={"lookback": "0s"},
            file={"name": "orders_{date:%Y%m%dT%H%M%S}.csv", "empty": "skip"},
            retries=1,
        )
        os.environ |= {
            "EXPORTS_CATALOG": str(self._workshop.catalog_folder),
            "EXPORTS_LEDGER": self._workshop.ledger.url,
            "EXPORTS_SPOOL": str(self.spool),
        }
        self._export = self._workshop.load(export_id)
        self._workshop.ledger.register(self._export)

    def deliver_to(self, protocol: str, target: Watched) -> None:
        """From now on, runs in this process and its children drop their files there."""
        s3._PART, abfs._BLOCK = _S3_PART, _ABFS_BLOCK
        # Libraries try again as they do, but for their pauses.
        ExponentialBackoff.delay_amount = lambda *_: 0.0
        abfs_container.ExponentialRetry = lambda retry_total, **_: LinearRetry(0, retry_total, random_jitter_range=0)
        deliver.publisher_of = lambda *_, **__: _OPENERS[protocol](target.url, target.options)

    def rows(self, hour: int, size: int) -> tuple[str, bytes]:
        """Fill the table with what that hour brings; the name of its file and about so many bytes, row for row."""
        chance = random.Random(f"{hour} {size}")
        payloads = [chance.randbytes(_ROW // 2).hex() for _ in range(size // _ROW + 1)]
        moment = (_FIRST + timedelta(hours=hour, minutes=-1)).strftime("%Y-%m-%d %H:%M:%S")
        with closing(sqlite3.connect(self._source)) as connection, connection:
            connection.execute("DELETE FROM orders")
            rows = [(number, payload, moment) for number, payload in enumerate(payloads, start=1)]
            connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
        lines = [f"{number},{payload}\n" for number, payload in enumerate(payloads, start=1)]
        return f"orders_{_FIRST + timedelta(hours=hour):%Y%m%dT%H%M%S}.csv", "".join(["id,payload\n", *lines]).encode()

    def run(self, hour: int, run_id: str | None = None, minutes: int = 0) -> Run:
        """A run at that time, new or relaunched."""
        at = _FIRST + timedelta(hours=hour, minutes=minutes)
        return Run(self._export, self._workshop.ledger, run_id or str(uuid.uuid4()), at)

    def resolve(self, name: str, decision: Any) -> None:
        """What a person says of the window of that file."""
        ledger = self._workshop.ledger
        (window,) = [found for found in ledger.windows(self._export.id) if found.file_name == name]
        resolve_window(ledger, self._export.id, window.id, decision)

    def states(self, name: str) -> list[str]:
        """What the ledger says of that file."""
        # Not through the ledger's own code: the proof must not lean on what it proves.
        with closing(sqlite3.connect(self._ledger_file, timeout=30)) as connection:
            return [state for (state,) in connection.execute(_STATES, [name])]

    def spooled(self) -> list[str]:
        """What stands in the spool."""
        return [path.name for path in self.spool.rglob("*") if path.is_file() and path.parent.name != ".marks"]

    def lose_spool(self) -> None:
        """Another host has none."""
        shutil.rmtree(self.spool, ignore_errors=True)
