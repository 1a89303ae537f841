"""A real S3 server from the package index, SeaweedFS, on free loopback ports, and buckets in it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sysconfig
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from prefect_server import free_port

from tasks.publish.contract import Promise
from tasks.publish.s3 import S3Publisher
from tasks.publish.s3_bucket import read_bucket
from tasks.publish.timeouts import Timeouts

WEED = Path(sysconfig.get_path("scripts")) / "weed"
#: Short, so that a test of a server that is silent does not take long, and enough for a machine that is busy.
TIMEOUTS = Timeouts(connect=5, answer=4)
READER = "AKIAREADER0000000001"
KEY, SECRET, BUCKET = "AKIADROP000000000001", "S3cr/et+with/slashes", "outbox"
_ADMIN = "AKIAADMIN00000000001"
_START_SECONDS = 60


class SeaweedFs:
    """A running server; the publisher's user may use one bucket, and make none.

    It has room for so many volumes of 64 MB; what is removed makes no room soon.
    """

    def __init__(self, folder: Path, volumes: int = 20) -> None:
        rights = [f"{right}:{BUCKET}" for right in ("Read", "Write", "List")]
        reading = [f"Read:{BUCKET}", f"List:{BUCKET}"]
        users = [
            _user("reader", READER, reading),
            _user("admin", _ADMIN, ["Admin", "Read", "Write", "List"]),
            _user("drop", KEY, rights),
        ]
        (folder / "users.json").write_text(json.dumps({"identities": users}))
        master, volume, filer, self.port = (_free_port() for _ in range(4))
        options = {
            "dir": folder,
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "master.port": master,
            "master.volumeSizeLimitMB": 64,
            "volume.port": volume,
            "volume.max": volumes,
            "filer": "true",
            "filer.port": filer,
            "s3": "true",
            "s3.port": self.port,
            "s3.config": folder / "users.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
        }
        command = [WEED, "server", *(f"-{name}={value}" for name, value in options.items())]
        with (folder / "log").open("wb") as log:
            environment = {**os.environ, "HOME": str(folder)}
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.admin = _client(f"http://127.0.0.1:{self.port}")
        self._make_bucket(folder / "log")

    def place(self) -> S3Place:
        """A folder of the bucket that nobody else uses."""
        return S3Place(self, uuid.uuid4().hex)

    def end(self) -> None:
        """Stop for good; asked to end, it would take its time."""
        self._process.kill()
        self._process.wait()

    def _make_bucket(self, log: Path) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                self.admin.create_bucket(Bucket=BUCKET)
                return
            except (BotoCoreError, ClientError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(log.read_text()) from None
                time.sleep(0.05)


class S3Place:
    """A folder of the bucket."""

    promise: Promise = "exactly once"

    def __init__(self, server: SeaweedFs, folder: str) -> None:
        self.server, self.folder = server, folder
        self.client = server.admin

    def url(self, folder: str = "drop") -> str:
        return f"s3://{BUCKET}/{self.folder}/{folder}"

    def endpoint(self, port: int | None = None) -> str:
        """Where the server is; `port` is a proxy's."""
        return f"http://127.0.0.1:{port or self.server.port}"

    def publisher(self, folder: str = "drop", port: int | None = None, **options: str) -> S3Publisher:
        """A publisher on that folder, with the right key unless other options are given."""
        return self._opened(self.url(folder), port, options)

    def publisher_nowhere(self, **options: str) -> S3Publisher:
        return self._opened("s3://unmounted/drop", None, options)

    def files(self) -> dict[str, bytes]:
        return {name: self.read(name) for name in self._listed("list_objects_v2", "Contents")}

    def uploads(self) -> list[str]:
        """The names that files are being uploaded for."""
        return self._listed("list_multipart_uploads", "Uploads")

    def left(self) -> list[str]:
        """What no consumer sees, and costs money for as long as it is there."""
        return self.uploads()

    def sizes(self) -> dict[str, int]:
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=self._key("")).get("Contents", ())
        return {each["Key"].removeprefix(self._key("")): each["Size"] for each in found}

    def clear(self) -> None:
        """Nothing is left, uploads neither."""
        for name in self.sizes():
            self.client.delete_object(Bucket=BUCKET, Key=self._key(name))
        found = self.client.list_multipart_uploads(Bucket=BUCKET, Prefix=self._key("")).get("Uploads", ())
        for each in found:
            self.client.abort_multipart_upload(Bucket=BUCKET, Key=each["Key"], UploadId=each["UploadId"])

    def read(self, name: str) -> bytes:
        found: bytes = self.client.get_object(Bucket=BUCKET, Key=self._key(name))["Body"].read()
        return found

    def write(self, name: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=self._key(name), Body=data)

    def take(self, name: str) -> bytes:
        """What a consumer does with a file."""
        found = self.read(name)
        self.client.delete_object(Bucket=BUCKET, Key=self._key(name))
        return found

    def _key(self, name: str) -> str:
        return f"{self.folder}/drop/{name}"

    def _listed(self, question: str, answer: str) -> list[str]:
        pages = self.client.get_paginator(question).paginate(Bucket=BUCKET, Prefix=self._key(""))
        keys = [each["Key"] for page in pages for each in page.get(answer, ())]
        return [key.removeprefix(self._key("")) for key in keys]

    def _opened(self, url: str, port: int | None, options: dict[str, str]) -> S3Publisher:
        given: dict[str, Any] = {"key": KEY, "secret": SECRET, "endpoint_url": self.endpoint(port), **options}
        return S3Publisher(read_bucket("partner", url, given), TIMEOUTS)


def _user(name: str, key: str, rights: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": SECRET}], "actions": rights}


def _client(endpoint: str) -> Any:
    return Session().create_client(
        "s3",
        aws_access_key_id=_ADMIN,
        aws_secret_access_key=SECRET,
        endpoint_url=endpoint,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )


def _free_port() -> int:
    """A free port whose fellow is free too: the server takes its number and 10,000 for another one."""
    while True:
        port = free_port()
        with socket.socket() as fellow:
            try:
                fellow.bind(("127.0.0.1", port + 10_000))
                return port
            except (OSError, OverflowError):
                continue


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFs]:
    """The one server that tests share."""
    folder = Path(tempfile.mkdtemp(prefix="weed"))
    server = SeaweedFs(folder)
    yield server
    server.end()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def bucket(seaweedfs: SeaweedFs) -> S3Place:
    """A folder of the bucket."""
    return seaweedfs.place()
