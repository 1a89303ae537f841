"""A server that speaks Azure Blob Storage's protocol, Microsoft's Azurite, which `make test-servers` installs."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from tasks.publish.abfs import AbfsPublisher
from tasks.publish.abfs_container import read_container
from tasks.publish.contract import Promise
from tasks.publish.timeouts import Timeouts

AZURITE = Path(__file__).resolve().parent.parent / ".exports/servers/node_modules/.bin/azurite-blob"
#: Short, so that a test of a server that is silent does not take long, and enough for a machine that is busy.
TIMEOUTS = Timeouts(connect=5, answer=4)
ACCOUNT, CONTAINER = "devstoreaccount1", "outbox"
#: The one that Azurite documents, and knows by itself.
ACCOUNT_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class Azurite:
    """A running server with one container."""

    def __init__(self) -> None:
        # Without the last one it refuses a client library that is newer than itself.
        options = ["--inMemoryPersistence", "--silent", "--disableTelemetry", "--skipApiVersionCheck"]
        command = [AZURITE, "--blobHost", "127.0.0.1", "--blobPort", "0", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.port = self._port_it_took()
        service = BlobServiceClient.from_connection_string(self.connection_string())
        self.container = service.create_container(CONTAINER)

    def connection_string(self, port: int | None = None, key: str = ACCOUNT_KEY) -> str:
        """Where the server is and who asks; `port` is a proxy's."""
        endpoint = f"http://127.0.0.1:{port or self.port}/{ACCOUNT}"
        return f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={key};BlobEndpoint={endpoint};"

    def place(self) -> AzurePlace:
        """A folder of the container that nobody else uses."""
        return AzurePlace(self, uuid.uuid4().hex)

    def end(self) -> None:
        """Stop for good."""
        self._process.kill()
        self._process.wait()

    def _port_it_took(self) -> int:
        assert self._process.stdout is not None
        said = ""
        while line := self._process.stdout.readline():
            if found := re.search(r"listens on http://127\.0\.0\.1:(\d+)", line):
                return int(found[1])
            said += line
        raise RuntimeError(said)


class AzurePlace:
    """A folder of the container."""

    promise: Promise = "may ask"

    def __init__(self, server: Azurite, folder: str) -> None:
        self.server, self.folder = server, folder
        self.container: ContainerClient = server.container

    def url(self, folder: str = "drop") -> str:
        return f"abfs://{CONTAINER}/{self.folder}/{folder}"

    def publisher(self, folder: str = "drop", port: int | None = None, key: str = ACCOUNT_KEY) -> AbfsPublisher:
        """A publisher on that folder."""
        return self._opened(self.url(folder), self.server.connection_string(port, key))

    def publisher_nowhere(self) -> AbfsPublisher:
        return self._opened("abfs://unmounted/drop", self.server.connection_string())

    def files(self) -> dict[str, bytes]:
        start = self._key("")
        names = [blob.name for blob in self.container.list_blobs(name_starts_with=start)]
        return {name.removeprefix(start): self.container.download_blob(name).readall() for name in names}

    def blocks(self, name: str) -> list[str]:
        """The ids of what waits to be committed under the name."""
        _, waiting = self.container.get_blob_client(self._key(name)).get_block_list("all")
        return [str(block.id) for block in waiting]

    def sizes(self) -> dict[str, int]:
        blobs = self.container.list_blobs(name_starts_with=self._key(""))
        return {blob.name.removeprefix(self._key("")): blob.size for blob in blobs}

    def left(self) -> list[str]:
        """The names under which blocks wait that no consumer sees."""
        blobs = self.container.list_blobs(name_starts_with=self._key(""), include=["uncommittedblobs"])
        names = [blob.name.removeprefix(self._key("")) for blob in blobs]
        return [name for name in names if self.blocks(name)]

    def clear(self) -> None:
        """Nothing is left, blocks neither: a blob that is written drops those that wait under its name."""
        for name in self.left():
            self.container.upload_blob(self._key(name), b"", overwrite=True)
        for name in self.sizes():
            self.container.delete_blob(self._key(name))

    def read(self, name: str) -> bytes:
        found: bytes = self.container.download_blob(self._key(name)).readall()
        return found

    def write(self, name: str, data: bytes) -> None:
        self.container.upload_blob(self._key(name), data)

    def take(self, name: str) -> bytes:
        """What a consumer does with a file."""
        found = self.read(name)
        self.container.delete_blob(self._key(name))
        return found

    def _key(self, name: str) -> str:
        return f"{self.folder}/drop/{name}"

    def _opened(self, url: str, connection_string: str) -> AbfsPublisher:
        options = {"connection_string": connection_string}
        return AbfsPublisher(read_container("partner", url, options, TIMEOUTS))


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """The one server that tests share."""
    if not AZURITE.exists():
        pytest.fail("Azurite is needed here: `make test-servers` installs it")
    server = Azurite()
    yield server
    server.end()
