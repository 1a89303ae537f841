"""Runs that drop files into a bucket over networks that fail, and die: the upload is the witness of what happened."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.client import BaseClient
from ledgers import a_run, incremental
from one_run import run_once
from plain_run import run_plainly
from publishers import CONTENT, NAME, content, of, uploaded
from refusals import refused_without
from s3_meddler import Meddler
from s3_server import KEY, SECRET, TIMEOUTS, S3Place, SeaweedFs
from tcp_proxy import Direction, Fault, Proxies, TcpProxy
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import State
from tasks.ledger import Ledger
from tasks.publish import Publisher
from tasks.publish.s3 import S3Publisher
from tasks.publish.s3_bucket import read_bucket

refused = refused_without(SECRET, KEY)
#: Two parts and a bit.
LARGE = b"0123456789abcdef" * (1 << 20) + b"the rest"


class Delivery:
    """One export's file on its way to a bucket behind a proxy, with a ledger of its own."""

    def __init__(self, bucket: S3Place, folder: Path, port: int | None = None, data: bytes = CONTENT) -> None:
        self.bucket, self.folder, self.data = bucket, folder, data
        self.port = port or bucket.server.port
        self.ledger_url = f"sqlite:///{folder / 'ledger.sqlite'}"
        self.run_id = a_run()
        folder.mkdir(exist_ok=True)

    def run(self, publisher: Publisher | None = None, before_publish: Callable[[], object] = int) -> None:
        """What a run does with its window, or with what is left of it."""
        export = incremental(file={"name": NAME})
        with closing(publisher or self.bucket.publisher(port=self.port)) as opened:
            run_once(self.ledger_url, export, self.run_id, self.folder, self.data, opened, False, before_publish)

    def fails(self, before_publish: Callable[[], object] = int) -> None:
        """A run that the network ends; nothing unfinished can be seen on the target."""
        error = refused(lambda: self.run(before_publish=before_publish))
        # A server that has seen the end of half an upload may still say that its digest is another one.
        assert error.code in (Code.TARGET_UNREACHABLE, Code.UPLOAD_MISMATCH) and error.code.tried_again
        assert self.bucket.files() in ({}, {NAME: self.data})

    @property
    def state(self) -> State:
        found = Ledger(self.ledger_url).window_of_run(self.run_id)
        assert found is not None
        return found.state

    def is_done(self) -> bool:
        """The file is there, alone and whole, no upload is left open, and the ledger says so."""
        is_alone = self.bucket.files() == {NAME: self.data} and self.bucket.uploads() == []
        return self.state is State.COMMITTED and is_alone


@pytest.fixture
def proxy(seaweedfs: SeaweedFs, proxies: Proxies) -> TcpProxy:
    return proxies(seaweedfs.port)


@pytest.mark.parametrize(
    ("fault", "after"),
    [
        *((fault, after) for fault in ("reset", "half-close") for after in (0, 1, 4096, 9_000_000)),
        ("freeze", 9_000_000),
    ],
)
def test_an_upload_that_is_cut_is_made_anew(
    bucket: S3Place, proxy: TcpProxy, tmp_path: Path, fault: Fault, after: int
) -> None:
    delivery = Delivery(bucket, tmp_path / "world", proxy.port, LARGE)
    proxy.fail(fault, "to server", after)
    began = time.monotonic()
    delivery.fails()
    assert time.monotonic() - began < 60
    assert delivery.state is State.EXTRACTED and bucket.files() == {}
    proxy.heal()
    delivery.run()
    assert delivery.is_done()


@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_a_cut_at_any_byte_of_a_run(bucket: S3Place, proxy: TcpProxy, tmp_path: Path, direction: Direction) -> None:
    """From the first request to the last byte of the answer to the completion."""
    whole = Delivery(bucket, tmp_path / "whole", proxy.port)
    whole.run()
    total = proxy.passed[direction]
    for after in sorted({0, *range(0, total, total // 6), total - 100, total - 1}):
        delivery = Delivery(bucket.server.place(), tmp_path / str(after), proxy.port)
        proxy.fail("reset", direction, after)
        # The last bytes may belong to the end of the connection, which nobody misses.
        try:
            delivery.run()
        except ExportError as error:
            assert error.code is Code.TARGET_UNREACHABLE, error
        proxy.heal()
        delivery.run()
        assert delivery.is_done(), f"cut after {after} of {total} bytes"


def test_a_slow_network_is_waited_for(bucket: S3Place, proxy: TcpProxy, tmp_path: Path) -> None:
    """What ends a wait is silence, not the time that a file takes."""
    delivery = Delivery(bucket, tmp_path / "world", proxy.port, bytes(80_000_000))
    # Of each connection, and there are several.
    proxy.speed = 4_000_000
    began = time.monotonic()
    delivery.run()
    assert delivery.is_done() and time.monotonic() - began > TIMEOUTS.answer


def test_a_connection_that_died_is_made_anew(bucket: S3Place, proxy: TcpProxy, spool_file: Path) -> None:
    with closing(bucket.publisher(port=proxy.port)) as publisher:
        temp = uploaded(publisher, spool_file)
        proxy.reset()
        publisher.publish("", temp, NAME, replace=False)
        proxy.reset()
        assert content(publisher, "", NAME) == of(CONTENT)


@pytest.mark.parametrize("taken", [False, True], ids=["kept", "taken at once"])
def test_the_answer_to_the_completion_is_lost(
    bucket: S3Place, proxy: TcpProxy, tmp_path: Path, meddler: Meddler, taken: bool
) -> None:
    """The server has published, and nobody knows: the upload that is gone is the witness."""
    consumed: list[bytes] = []
    delivery = Delivery(bucket, tmp_path / "world", proxy.port)
    meddler.before["CompleteMultipartUpload"] = lambda _: proxy.fail("swallow", "to client")
    delivery.fails()
    assert delivery.state is State.PUBLISHING and bucket.files() == {NAME: CONTENT}
    if taken:
        consumed.append(bucket.take(NAME))
    proxy.heal()
    delivery.run()
    assert delivery.state is State.COMMITTED and bucket.uploads() == []
    assert [*consumed, *bucket.files().values()] == [CONTENT]


@pytest.mark.parametrize(
    ("where", "state"),
    [
        ("CreateMultipartUpload", State.EXTRACTED),
        ("UploadPart", State.EXTRACTED),
        ("before publishing", State.PUBLISHING),
        ("CompleteMultipartUpload", State.PUBLISHING),
    ],
)
@pytest.mark.parametrize("taken", [False, True], ids=["kept", "taken at once"])
def test_a_run_that_is_killed_is_finished_by_the_next(
    bucket: S3Place, tmp_path: Path, where: str, state: State, taken: bool
) -> None:
    delivery = Delivery(bucket, tmp_path / "world")
    arguments = (bucket.url(), bucket.endpoint(), delivery.ledger_url, delivery.run_id, delivery.folder, where)
    victim = multiprocessing.get_context("spawn").Process(target=_run_and_die, args=arguments)
    victim.start()
    victim.join()
    assert victim.exitcode == -signal.SIGKILL and delivery.state is state
    is_out = where == "CompleteMultipartUpload"
    assert bucket.files() == ({NAME: CONTENT} if is_out else {}) and len(bucket.uploads()) == (0 if is_out else 1)
    consumed = [bucket.take(NAME)] if is_out and taken else []
    delivery.run()
    assert delivery.state is State.COMMITTED and bucket.uploads() == []
    assert [*consumed, *bucket.files().values()] == [CONTENT]


def _run_and_die(url: str, endpoint: str, ledger_url: str, run_id: str, folder: Path, where: str) -> None:
    """A run that is killed right after a request was answered, or between upload and publication."""
    real = BaseClient._make_api_call

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        found = real(client, operation, parameters)
        if operation == where:
            die()
        return found

    BaseClient._make_api_call = call
    options = {"key": KEY, "secret": SECRET, "endpoint_url": endpoint}
    publisher = S3Publisher(read_bucket("partner", url, options))
    before_publish = die if where == "before publishing" else int
    export = incremental(file={"name": NAME})
    run_once(ledger_url, export, run_id, folder, CONTENT, publisher, before_publish=before_publish)


def test_the_upload_of_another_target_says_nothing(bucket: S3Place, tmp_path: Path) -> None:
    """The target was moved between upload and publication: a person says what became of the file."""
    delivery = Delivery(bucket, tmp_path / "world")

    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    with pytest.raises(Stopped):
        delivery.run(before_publish=stop)
    elsewhere = refused(lambda: delivery.run(bucket.publisher("other")))
    assert elsewhere.code is Code.PUBLICATION_UNKNOWN


def test_from_the_definition_to_the_file(workshop: Workshop, bucket: S3Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3_KEY", KEY)
    monkeypatch.setenv("S3_SECRET", SECRET)
    options = {"key": "{{ $S3_KEY }}", "secret": "{{ $S3_SECRET }}", "endpoint_url": bucket.endpoint()}
    workshop.sqlite()
    workshop.target("partner", bucket.url(), options=options)
    export_id = workshop.export(target="partner", folder="in/{date:%Y}")
    for day in (1, 2):
        # A full export replaces its own file.
        run_plainly(workshop, export_id, datetime(2026, 3, day, tzinfo=UTC))
    (data,) = bucket.files().values()
    assert list(bucket.files()) == ["in/2026/orders.csv"] and data.startswith(b"id,customer,total,updated_at\n")
    delivered = workshop.ledger.windows(export_id)
    assert [window.state for window in delivered] == [State.COMMITTED, State.COMMITTED] and bucket.uploads() == []
