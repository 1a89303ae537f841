"""What is Azure's own: who writes, what a target says, and what its blocks can and cannot bear witness to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from azure_server import ACCOUNT, ACCOUNT_KEY, CONTAINER, AzurePlace, Azurite
from ledgers import a_run, incremental
from one_run import run_once
from publishers import CONTENT, NAME, uploaded
from refusals import refused_without
from tcp_proxy import Fault, Proxies, TcpProxy

from catalog.connections import Target
from catalog.errors import Code
from catalog.windows import State
from tasks.ledger import Ledger
from tasks.publish import Publisher, open_publisher
from tasks.publish.abfs import AbfsPublisher

WRONG, SIGNATURE = "aHVudGVyMg==", "sig=hunter2%2Bhunter2"
#: Two blocks and a bit.
LARGE = b"0123456789abcdef" * (1 << 20) + b"the rest"
refused = refused_without(WRONG, SIGNATURE, ACCOUNT_KEY)


# What a target says.


@pytest.mark.parametrize(
    ("url", "options", "key"),
    [
        ("abfs://", {"connection_string": WRONG}, "url"),
        ("abfs://outbox@account.dfs.core.windows.net/in", {"connection_string": WRONG}, "url"),
        ("abfs://outbox/in", {}, "options"),
        ("abfs://outbox/in", {"account_key": WRONG}, "options"),
        ("abfs://outbox/in", {"account_name": "a", "account_key": WRONG, "sas_token": SIGNATURE}, "options"),
        ("abfs://outbox/in", {"account_name": "a", "connection_string": WRONG}, "options"),
        ("abfs://outbox/in", {"connection_string": f"AccountKey={WRONG}"}, "options.connection_string"),
        ("abfs://outbox/in", {"password": WRONG}, "options.password"),
    ],
)
def test_a_target_that_says_something_wrong(url: str, options: dict[str, Any], key: str) -> None:
    error = refused(lambda: open_publisher("partner", Target(url=url, options=options), str))
    assert (error.code, error.file, error.key) == (Code.DEFINITION_INVALID, "targets/partner.yaml", key)


@pytest.mark.parametrize("way", [{"account_key": WRONG}, {"sas_token": f"?sv=2026&{SIGNATURE}"}])
def test_where_a_target_is_has_no_secret_in_it(way: dict[str, str]) -> None:
    for url in ("abfs://outbox/in/", "az://outbox//in"):
        publisher = open_publisher("partner", Target(url=url, options={"account_name": "me", **way}), str)
        assert publisher.identity == "https://me.blob.core.windows.net/outbox/in"


def test_a_server_that_is_not_there_is_named_without_the_signature() -> None:
    string = f"BlobEndpoint=http://127.0.0.1:1/{ACCOUNT};SharedAccessSignature=sv=2026&{SIGNATURE}"
    target = Target(url="abfs://outbox/in", options={"connection_string": string})
    error = refused(open_publisher("partner", target, str).check)
    assert error.code is Code.TARGET_UNREACHABLE and "127.0.0.1:1" in error.message and "refused" in error.message


# Runs.


class Delivery:
    """One export's file on its way to a container, with a ledger of its own."""

    def __init__(self, place: AzurePlace, folder: Path, port: int | None = None, data: bytes = CONTENT) -> None:
        self.place, self.folder, self.port, self.data = place, folder, port, data
        self.ledger_url = f"sqlite:///{folder / 'ledger.sqlite'}"
        self.run_id = a_run()
        folder.mkdir()

    def run(
        self, publisher: Publisher | None = None, replace: bool = False, before_publish: Callable[[], object] = int
    ) -> None:
        """What a run does with its window, or with what is left of it."""
        export = incremental(file={"name": NAME})
        with closing(publisher or self.place.publisher(port=self.port)) as opened:
            run_once(self.ledger_url, export, self.run_id, self.folder, self.data, opened, replace, before_publish)

    @property
    def state(self) -> State:
        found = Ledger(self.ledger_url).window_of_run(self.run_id)
        assert found is not None
        return found.state


@pytest.fixture
def place(azurite: Azurite) -> AzurePlace:
    """A folder of the container."""
    return azurite.place()


@pytest.fixture
def delivery(place: AzurePlace, tmp_path: Path) -> Delivery:
    return Delivery(place, tmp_path / "world")


@pytest.fixture
def proxy(azurite: Azurite, proxies: Proxies) -> Iterator[TcpProxy]:
    yield proxies(azurite.port)


@pytest.mark.servers
def test_a_key_that_is_refused(place: AzurePlace, spool_file: Path) -> None:
    for use in (place.publisher(key=WRONG).check, lambda: uploaded(place.publisher(key=WRONG), spool_file)):
        error = refused(use)
        assert error.code is Code.TARGET_AUTH and f"{CONTAINER}/{place.folder}" in error.message


@pytest.mark.servers
@pytest.mark.parametrize(
    ("fault", "after"), [("reset", 0), ("reset", 9_000_000), ("half-close", 9_000_000), ("freeze", 9_000_000)]
)
def test_an_upload_that_is_cut_is_made_anew(
    place: AzurePlace, proxy: TcpProxy, tmp_path: Path, fault: Fault, after: int
) -> None:
    delivery = Delivery(place, tmp_path / "world", proxy.port, LARGE)
    proxy.fail(fault, "to server", after)
    error = refused(delivery.run)
    assert error.code is Code.TARGET_UNREACHABLE and delivery.state is State.EXTRACTED and place.files() == {}
    proxy.heal()
    delivery.run()
    assert delivery.state is State.COMMITTED and place.files() == {NAME: LARGE} and place.blocks(NAME) == []


class Lost(Exception):
    """The process is gone."""


class _PublishesAndDies(AbfsPublisher):
    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        super().publish(folder, temp_name, name, replace=replace)
        raise Lost


def _die() -> None:
    raise Lost


def dies_after_publishing(delivery: Delivery) -> None:
    opened = delivery.place.publisher()
    opened.__class__ = _PublishesAndDies
    with pytest.raises(Lost):
        delivery.run(opened)
    assert delivery.state is State.PUBLISHING


@pytest.mark.servers
def test_a_run_that_died_before_publishing_is_finished(delivery: Delivery) -> None:
    with pytest.raises(Lost):
        delivery.run(before_publish=_die)
    assert delivery.place.files() == {} and len(delivery.place.blocks(NAME)) == 2
    delivery.run()
    assert delivery.state is State.COMMITTED and delivery.place.files() == {NAME: CONTENT}


@pytest.mark.servers
def test_what_was_published_and_still_stands_is_committed(delivery: Delivery) -> None:
    dies_after_publishing(delivery)
    delivery.run()
    assert delivery.state is State.COMMITTED and delivery.place.files() == {NAME: CONTENT}


@pytest.mark.servers
def test_what_was_published_and_taken_before_that_was_recorded_asks_a_person(delivery: Delivery) -> None:
    dies_after_publishing(delivery)
    assert delivery.place.take(NAME) == CONTENT
    assert refused(delivery.run).code is Code.PUBLICATION_UNKNOWN and delivery.state is State.AMBIGUOUS


@pytest.mark.servers
def test_blocks_that_went_with_the_file_they_were_to_replace_are_not_taken_for_a_delivery(delivery: Delivery) -> None:
    """A consumer takes yesterday's file at that moment, and Azure drops today's blocks with it."""
    delivery.place.write(NAME, b"yesterday's")
    with pytest.raises(Lost):
        delivery.run(replace=True, before_publish=_die)
    assert delivery.place.take(NAME) == b"yesterday's"
    error = refused(lambda: delivery.run(replace=True))
    assert error.code is Code.PUBLICATION_UNKNOWN and "again" in str(error.hint)
