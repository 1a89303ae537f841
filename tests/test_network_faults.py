"""Networks that fail at any byte: a file arrives once and whole, and what the ledger says is so."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ftp_server import FtpServer
from ledgers import a_run, allotted, hour, incremental, spooled
from one_run import a_turn, run_once
from postgres_server import Postgres
from publishers import files_in
from sftp_server import TIMEOUTS, SftpServer
from sources import NO_SECRETS, an_export
from sqlalchemy import event
from tcp_proxy import Direction, Fault, Proxies, TcpProxy

from catalog.connections import Database
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, State, Window
from tasks import deliver
from tasks.extract import extract
from tasks.ledger import Ledger
from tasks.publish import Publisher
from tasks.publish.local import LocalPublisher

#: More than a connection and the buffers around it hold.
LARGE = 3_000_000
NAME = "orders.csv"


Remote = SftpServer | FtpServer


class Delivery:
    """One export's file on its way to a server behind a proxy, with a ledger of its own."""

    def __init__(self, server: Remote, proxy: TcpProxy, folder: Path, size: int = 50_000) -> None:
        self.server, self.proxy, self.folder = server, proxy, folder
        self.drop = folder / "drop"
        self.drop.mkdir(parents=True)
        self.ledger_url = f"sqlite:///{folder / 'ledger.sqlite'}"
        self.export, self.run_id = incremental(file={"name": NAME}), a_run()
        self.content = bytes(range(256)) * (size // 256 + 1)

    @contextmanager
    def publisher(self) -> Iterator[Publisher]:
        with closing(self.server.publisher(self.drop, self.proxy.port)) as publisher:
            yield publisher

    def run(self, publisher: Publisher, *, replace: bool = False, before_publish: Callable[[], object] = int) -> None:
        """What a run does with its window, or with what is left of it."""
        run_once(
            self.ledger_url, self.export, self.run_id, self.folder, self.content, publisher, replace, before_publish
        )

    def fails(self, publisher: Publisher, **keys: Any) -> ExportError:
        """A run that the network ends; nothing unfinished can be seen on the target."""
        with pytest.raises(ExportError) as caught:
            self.run(publisher, **keys)
        assert caught.value.code is Code.TARGET_UNREACHABLE and caught.value.code.tried_again
        assert files_in(self.drop).get(NAME, self.content) == self.content
        return caught.value

    @property
    def state(self) -> State:
        found = Ledger(self.ledger_url).window_of_run(self.run_id)
        assert found is not None
        return found.state

    def is_done(self) -> bool:
        """The file is there, alone and whole, and the ledger says so."""
        return self.state is State.COMMITTED and files_in(self.drop) == {NAME: self.content}


@pytest.fixture(params=["sftp", "ftps"])
def remote(request: pytest.FixtureRequest) -> Remote:
    """A server of each protocol."""
    if request.param == "sftp":
        sftp: SftpServer = request.getfixturevalue("sftp_server")
        return sftp
    ftps: FtpServer = request.getfixturevalue("ftp_servers")()
    return ftps


def before(remote: Remote, proxies: Proxies, receive_buffer: int | None = None) -> TcpProxy:
    """A proxy through which every connection to the server goes."""
    proxy = proxies(remote.port, receive_buffer)
    if isinstance(remote, FtpServer):
        remote.proxy = proxy
    return proxy


@pytest.fixture
def proxy(remote: Remote, proxies: Proxies) -> TcpProxy:
    return before(remote, proxies)


@pytest.fixture
def delivery(remote: Remote, proxy: TcpProxy, tmp_path: Path) -> Delivery:
    return Delivery(remote, proxy, tmp_path / "world")


def test_a_network_without_a_fault(delivery: Delivery) -> None:
    with delivery.publisher() as publisher:
        delivery.run(publisher)
    assert delivery.is_done()


@pytest.mark.parametrize("after", [0, 1, 4096, 1 << 20])
@pytest.mark.parametrize("fault", ["reset", "half-close"])
def test_an_upload_that_is_cut_is_made_anew(
    remote: Remote, proxy: TcpProxy, tmp_path: Path, fault: Fault, after: int
) -> None:
    delivery = Delivery(remote, proxy, tmp_path / "world", LARGE)
    with delivery.publisher() as publisher:
        publisher.check()
        proxy.fail(fault, "to server", after)
        delivery.fails(publisher)
        assert delivery.state is State.EXTRACTED and NAME not in files_in(delivery.drop)
        proxy.heal()
        delivery.run(publisher)
    assert delivery.is_done()


@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_a_cut_at_any_byte_of_a_run(remote: Remote, proxy: TcpProxy, tmp_path: Path, direction: Direction) -> None:
    """From the first byte of the login to the last of the rename, and the same again while that is mended."""
    whole = Delivery(remote, proxy, tmp_path / "whole")
    with whole.publisher() as publisher:
        whole.run(publisher)
    total = proxy.passed[direction]
    for after in sorted({0, 1, *range(0, total, total // 16), total - 100, total - 1}):
        delivery = Delivery(remote, proxy, tmp_path / str(after))
        with delivery.publisher() as publisher:
            for _ in range(2):
                proxy.fail("reset", direction, after)
                _tried(delivery, publisher)
                proxy.heal()
            delivery.run(publisher)
        assert delivery.is_done(), f"cut after {after} of {total} bytes"


def _tried(delivery: Delivery, publisher: Publisher) -> None:
    # The last bytes may belong to the end of the connection, which nobody misses.
    try:
        delivery.run(publisher)
    except ExportError as error:
        assert error.code is Code.TARGET_UNREACHABLE, error
        assert files_in(delivery.drop).get(NAME, delivery.content) == delivery.content


@pytest.mark.parametrize("replace", [False, True], ids=["new", "replacing"])
@pytest.mark.parametrize("taken", [False, True], ids=["kept", "taken at once"])
@pytest.mark.parametrize("how", ["cut", "silent"])
def test_the_answer_to_the_rename_is_lost(delivery: Delivery, how: str, taken: bool, replace: bool) -> None:
    """The server has renamed, and nobody knows: the temp that is gone is the witness."""
    consumed: list[bytes] = []
    renames: list[str] = []

    def lose_the_answer() -> None:
        renames.append(how)
        if taken:
            consumed.append((delivery.drop / NAME).read_bytes())
            (delivery.drop / NAME).unlink()
        if how == "cut":
            delivery.proxy.reset()
        else:
            delivery.proxy.fail("swallow", "to client")

    delivery.server.on_renamed = lose_the_answer
    with delivery.publisher() as publisher:
        delivery.fails(publisher, replace=replace)
        assert delivery.state is State.PUBLISHING
        delivery.proxy.heal()
        delivery.run(publisher, replace=replace)
    assert delivery.state is State.COMMITTED and len(renames) == 1
    assert consumed == ([delivery.content] if taken else [])
    assert files_in(delivery.drop) == ({} if taken else {NAME: delivery.content})


@pytest.mark.parametrize("at", ["connecting", "logging in", "uploading", "answering", "publishing"])
def test_a_server_that_falls_silent_is_given_up_in_time(
    remote: Remote, proxy: TcpProxy, tmp_path: Path, at: str
) -> None:
    delivery = Delivery(remote, proxy, tmp_path / "world", 20_000_000 if at == "uploading" else 50_000)
    with delivery.publisher() as publisher:
        if at in ("connecting", "logging in"):
            proxy.fail("freeze", "to client", 0 if at == "connecting" else 1500)
        elif at != "publishing":
            publisher.check()
            proxy.fail("freeze", "to server" if at == "uploading" else "to client", 20_000 if at == "uploading" else 0)
        began = time.monotonic()
        freeze = (lambda: proxy.fail("freeze", "to client")) if at == "publishing" else int
        delivery.fails(publisher, before_publish=freeze)
        assert time.monotonic() - began < 3 * TIMEOUTS.login
        proxy.heal()
        delivery.run(publisher)
    assert delivery.is_done()


def test_a_network_that_takes_nothing_any_more_is_given_up_in_time(
    remote: Remote, proxies: Proxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every buffer on the way is full, so that not even sending comes to an end."""
    connect = socket.create_connection

    def narrow(*arguments: Any) -> socket.socket:
        wire = connect(*arguments)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        return wire

    monkeypatch.setattr(socket, "create_connection", narrow)
    proxy = before(remote, proxies, receive_buffer=4096)
    delivery = Delivery(remote, proxy, tmp_path / "world", LARGE)
    with delivery.publisher() as publisher:
        publisher.check()
        proxy.fail("freeze", "to server", 20_000)
        began = time.monotonic()
        delivery.fails(publisher)
        assert time.monotonic() - began < 3 * TIMEOUTS.login
        proxy.heal()
        delivery.run(publisher)
    assert delivery.is_done()


def test_a_slow_network_is_waited_for(remote: Remote, proxy: TcpProxy, tmp_path: Path) -> None:
    """What ends a wait is silence, not the time that a file takes."""
    delivery = Delivery(remote, proxy, tmp_path / "world", 1_800_000)
    proxy.speed = 300_000
    began = time.monotonic()
    with delivery.publisher() as publisher:
        delivery.run(publisher)
    assert delivery.is_done() and time.monotonic() - began > TIMEOUTS.answer


# Databases.


@pytest.mark.parametrize("fault", ["reset", "half-close"])
@pytest.mark.parametrize("after", [1, 100_000, 2_000_000])
def test_a_source_that_is_cut_while_it_is_read(
    postgres: Postgres, proxies: Proxies, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int, fault: Fault
) -> None:
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool"))
    # More than what is read ahead and every buffer on the way hold together: some of it is still to come at the cut.
    rows = "SELECT i AS id, repeat(md5(i::text), 4) AS word FROM generate_series(1, 400000) i"
    name = postgres.fresh_database(f"CREATE TABLE t AS {rows}")
    proxy = proxies(postgres.port)
    url = postgres.url(name).replace(f":{postgres.port}/", f":{proxy.port}/")
    window = Window(a_run(), "t", 0, "full", Bounds(), datetime.now(UTC), "hash", "run", "", "t_{part}.csv")
    export = an_export(file={"name": "t_{part}.csv", "max_rows": 25_000})
    cut: list[int] = []

    def cut_once(rows: int, size: int) -> None:
        if not cut:
            cut.append(rows)
            proxy.fail(fault, "to client", after)

    monkeypatch.setattr("tasks.parts.PROGRESS_SECONDS", 0)
    with pytest.raises(ExportError) as caught:
        extract(export, window, NO_SECRETS, cut_once, lambda _: Database(url=url))
    assert caught.value.code is Code.SOURCE_LOST and 0 < cut[0] < 400_000
    assert files_in(tmp_path / "spool") == {}
    proxy.heal()
    result = extract(export, window, NO_SECRETS, load=lambda _: Database(url=url))
    assert result.rows == 400_000 and len(files_in(tmp_path / "spool")) == len(result.files) == 16


@pytest.mark.parametrize("direction", ["to server", "to client"])
def test_a_ledger_that_is_cut_at_any_byte(
    postgres: Postgres, proxies: Proxies, tmp_path: Path, direction: Direction, drop: Path
) -> None:
    """Whatever was heard of it last: the same run, tried again, delivers its file once."""
    proxy = proxies(postgres.port)
    export, content = incremental(file={"name": NAME}), b"id\n1\n"

    def a_ledger() -> tuple[str, str]:
        url = postgres.url(postgres.fresh_database())
        return url, url.replace(f":{postgres.port}/", f":{proxy.port}/")

    _, through = a_ledger()
    run_once(through, export, a_run(), tmp_path, content, LocalPublisher(drop))
    total = proxy.passed[direction]
    # The last bytes give the lock back: with them nothing is lost.
    for after in range(0, total - total // 20, total // 20):
        straight, through = a_ledger()
        (drop / NAME).unlink(missing_ok=True)
        run_id = a_run()
        proxy.fail("reset", direction, after)
        _cut_off(through, export, run_id, tmp_path, content, LocalPublisher(drop))
        proxy.heal()
        run_once(through, export, run_id, tmp_path, content, LocalPublisher(drop))
        window = Ledger(straight).window_of_run(run_id)
        assert window is not None and window.state is State.COMMITTED, f"cut after {after} of {total} bytes"
        assert len(Ledger(straight).delivered_by_run(run_id)) == 1 == len(Ledger(straight).windows(export.id))
        assert files_in(drop) == {NAME: content}


def _cut_off(*run: Any) -> None:
    with pytest.raises(ExportError) as caught:
        run_once(*run)
    assert caught.value.code is Code.LEDGER_UNREACHABLE and caught.value.code.tried_again


def test_a_commit_whose_answer_is_lost_can_be_made_again(
    postgres: Postgres, proxies: Proxies, tmp_path: Path, drop: Path
) -> None:
    """As the step does when it is tried again; another run's commit of the same file stays a mistake."""
    proxy = proxies(postgres.port)
    url = postgres.url(postgres.fresh_database())
    ledger, through = Ledger(url), Ledger(url.replace(f":{postgres.port}/", f":{proxy.port}/"))
    run_id = a_run()
    window = allotted(ledger, incremental(file={"name": NAME}), hour(0), run_id)
    with a_turn(ledger, run_id, tmp_path) as turn:
        turn.record_extracted(window, spooled(tmp_path / "spool", window, b"id\n1\n"))
        (parcel,) = deliver.parcels(ledger, window)
        sent = deliver.upload(ledger, turn, LocalPublisher(drop), parcel)
        deliver.publish(turn, LocalPublisher(drop), sent, replace=False)
    with a_turn(through, run_id, tmp_path) as turn:
        event.listen(through.engine, "commit", lambda _: proxy.fail("reset", "to client"), once=True)
        with pytest.raises(ExportError, match="LEDGER_UNREACHABLE"):
            deliver.commit(turn, sent)
        assert ledger.deliveries(window.id)[0].state is State.COMMITTED
        proxy.heal()
        deliver.commit(turn, sent)
    with pytest.raises(AssertionError), a_turn(ledger, "another", tmp_path) as turn:
        deliver.commit(turn, sent)
