"""Buckets of S3 and its kind, through botocore: a multipart upload that nobody sees until it is completed.

Its id is part of the temp name, and so in the ledger before the first byte is sent. Only completing it or giving it up
makes it vanish, whatever others do under the final name: it is the witness.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from catalog.errors import Code, ExportError
from tasks.publish.contract import (
    Promise,
    Publisher,
    Sink,
    Stat,
    changed_meanwhile,
    file_exists,
    final_name,
    refuse_to_read,
)
from tasks.publish.s3_bucket import Bucket
from tasks.publish.s3_connect import Connection
from tasks.publish.s3_errors import FROM_OUTSIDE, service_code, translate
from tasks.publish.timeouts import Timeouts

#: In bytes; S3 takes no smaller part than 5 MiB but the last, and not more than 10,000 of them.
_PART = 8 * 1024 * 1024
_MOST_PARTS = 10_000
#: So many bytes of parts are on their way at a time, so that one is made ready while the server writes another.
_ON_THEIR_WAY = 4 * _PART
_BLOCK = 1024 * 1024
_UPLOAD = re.compile(r"(?P<temp>\..+\.part):(?P<id>.+)")


class S3Publisher(Publisher):
    """Drops files into a bucket, which must exist; folders there are no more than parts of names.

    Besides what the contract names, its methods raise ExportError TARGET_AUTH and CERTIFICATE_INVALID.
    """

    promise: Promise = "exactly once"

    def __init__(self, bucket: Bucket, timeouts: Timeouts | None = None) -> None:
        self._bucket = bucket
        self._timeouts = timeouts or Timeouts()
        self._connection: Connection | None = None
        self.identity = bucket.identity

    def check(self, folder: str = "") -> None:
        """The bucket is there, and an upload can be begun in it and given up."""
        name = f".{uuid.uuid4().hex}.part"
        with self._use("write in", folder) as connection:
            self._abort(connection, self._where(folder, name), self._create(connection, self._where(folder, name)))

    def begin(self, folder: str, name: str, temp_name: str) -> str:
        """Begin a multipart upload of the final name; its id is added to the temp name."""
        where = self._where(folder, name)
        with self._use("write", folder, name) as connection:
            self._abort_empty_uploads(connection, where)
            return f"{temp_name}:{self._create(connection, where)}"

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """Every byte in the parts of the upload, each checked by the server against its MD5."""
        where, upload = self._upload(folder, temp_name)
        expected = local.stat().st_size
        with self._use("write", folder, temp_name) as connection:
            try:
                sent = self._send_all(connection, where, upload, local)
                found = self._parts(connection, where, upload)
            except ClientError:
                with suppress(*FROM_OUTSIDE):
                    self._abort(connection, where, upload)
                raise
        size = sum(part[0] for part in found.values())
        if found != sent or size != expected:
            self.remove(folder, temp_name)
            raise ExportError(
                Code.UPLOAD_MISMATCH,
                f"{self.address(folder, temp_name)} has {size} bytes in {len(found)} parts after the upload, "
                f"and should have {expected} in {len(sent)}",
                "relaunch; if it comes back, ask who runs the server",
            )

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None; of an upload, what has arrived of it."""
        with self._use("look at", folder, name) as connection:
            if not _UPLOAD.fullmatch(name):
                return self._stat_object(connection, folder, name)
            try:
                parts = self._parts(connection, *self._upload(folder, name))
            except ClientError as error:
                if service_code(error) != "NoSuchUpload":
                    raise
                return None
            return Stat(sum(size for size, _ in parts.values()), partial(refuse_to_read, self, folder, name), "")

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Complete the upload, on the condition that the name is free unless `replace`."""
        where, upload = self._upload(folder, temp_name)
        with self._use("publish", folder, name) as connection:
            # Asked first, because not every server knows the condition.
            if not replace and self._stat_object(connection, folder, name) is not None:
                raise file_exists(self, folder, name)
            parts = self._parts(connection, where, upload)
            listed = [{"PartNumber": number, "ETag": etag} for number, (_, etag) in sorted(parts.items())]
            complete = partial(
                connection.once.complete_multipart_upload, **where, UploadId=upload, MultipartUpload={"Parts": listed}
            )
            try:
                complete(**({} if replace else {"IfNoneMatch": "*"}))
            except ClientError as error:
                if service_code(error) == "PreconditionFailed":
                    raise file_exists(self, folder, name) from None
                if replace or service_code(error) != "NotImplemented":
                    raise
                complete()

    def remove(self, folder: str, name: str) -> None:
        """Give up an upload, or remove an object; what is not there is fine."""
        with self._use("remove", folder, name) as connection:
            if _UPLOAD.fullmatch(name):
                self._abort(connection, *self._upload(folder, name))
            else:
                connection.patient.delete_object(**self._where(folder, name))

    def address(self, folder: str, name: str) -> str:
        """The object's URL, without secrets; an upload has its temp name there."""
        upload = _UPLOAD.fullmatch(name)
        return super().address(folder, upload["temp"] if upload else name)

    def link(self, folder: str, name: str, seconds: int) -> str:
        """A presigned URL: it names the key's id, and its signature is good for this object only."""
        with self._use("link to", folder, name) as connection:
            url: str = connection.patient.generate_presigned_url(
                "get_object", Params=self._where(folder, name), ExpiresIn=seconds
            )
            return url

    def close(self) -> None:
        """Close the connections, if there are any."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @contextmanager
    def _use(self, action: str, folder: str, name: str = "") -> Iterator[Connection]:
        """The clients; what goes wrong with them inside the block becomes an ExportError."""
        try:
            if self._connection is None:
                self._connection = Connection(self._bucket, self._timeouts)
            yield self._connection
        except FROM_OUTSIDE as error:
            # Not chained: Prefect logs whole tracebacks, and these hold what was asked.
            raise translate(error, self._bucket, f"{action} {self.address(folder, name)}") from None

    def _where(self, folder: str, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket.place.container, "Key": self._bucket.place.key(folder, name)}

    def _upload(self, folder: str, temp_name: str) -> tuple[dict[str, str], str]:
        """Where an upload's file is going to be, and the upload's id."""
        upload = _UPLOAD.fullmatch(temp_name)
        name = final_name(upload["temp"]) if upload else None
        assert upload is not None and name is not None, "it was begun"
        return self._where(folder, name), upload["id"]

    def _create(self, connection: Connection, where: dict[str, str]) -> str:
        created: dict[str, str] = connection.once.create_multipart_upload(**where)
        return created["UploadId"]

    def _send_all(
        self, connection: Connection, where: dict[str, str], upload: str, local: Path
    ) -> dict[int, tuple[int, str]]:
        """Size and ETag of each part that was sent, by number; none is on its way any more, even after an error."""
        size = local.stat().st_size
        part_bytes = max(_PART, -(-size // _MOST_PARTS))
        with local.open("rb") as source, ThreadPoolExecutor(max(1, _ON_THEIR_WAY // part_bytes), "part") as pool:

            def send(number: int) -> tuple[int, tuple[int, str]]:
                block = os.pread(source.fileno(), part_bytes, (number - 1) * part_bytes)
                return number, (len(block), self._send(connection, where, upload, number, block))

            try:
                # An upload without a part cannot be completed: that of an empty file has one, which is empty.
                return dict(pool.map(send, range(1, max(1, -(-size // part_bytes)) + 1)))
            finally:
                pool.shutdown(cancel_futures=True)

    def _send(self, connection: Connection, where: dict[str, str], upload: str, number: int, block: bytes) -> str:
        md5 = base64.b64encode(hashlib.md5(block, usedforsecurity=False).digest()).decode()
        part = {"UploadId": upload, "PartNumber": number, "Body": block, "ContentMD5": md5}
        return _plain(connection.patient.upload_part(**where, **part)["ETag"])

    def _parts(self, connection: Connection, where: dict[str, str], upload: str) -> dict[int, tuple[int, str]]:
        """Size and ETag of what has arrived, by number."""
        pages = connection.patient.get_paginator("list_parts").paginate(**where, UploadId=upload)
        parts = [part for page in pages for part in page.get("Parts", ())]
        return {part["PartNumber"]: (part["Size"], _plain(part["ETag"])) for part in parts}

    def _abort(self, connection: Connection, where: dict[str, str], upload: str) -> None:
        try:
            connection.patient.abort_multipart_upload(**where, UploadId=upload)
        except ClientError as error:
            if service_code(error) != "NoSuchUpload":
                raise

    def _abort_empty_uploads(self, connection: Connection, where: dict[str, str]) -> None:
        """A run that died before its upload's id was in the ledger has left it open, without a part, known to nobody.

        It costs nothing but its place in a list: a server that does not show or allow it is no reason to stop.
        """
        pages = connection.patient.get_paginator("list_multipart_uploads")
        with suppress(ClientError):
            found = pages.paginate(Bucket=where["Bucket"], Prefix=where["Key"])
            for upload in [upload for page in found for upload in page.get("Uploads", ())]:
                if upload["Key"] == where["Key"] and not self._parts(connection, where, upload["UploadId"]):
                    self._abort(connection, where, upload["UploadId"])

    def _stat_object(self, connection: Connection, folder: str, name: str) -> Stat | None:
        try:
            found: dict[str, Any] = connection.patient.head_object(**self._where(folder, name))
        except ClientError as error:
            if service_code(error) not in ("404", "NoSuchKey"):
                raise
            return None
        modified = found["LastModified"].isoformat(timespec="seconds")
        return Stat(found["ContentLength"], partial(self._read, folder, name, found["ETag"]), modified)

    def _read(self, folder: str, name: str, etag: str, sink: Sink) -> None:
        with self._use("read", folder, name) as connection:
            try:
                found = connection.patient.get_object(**self._where(folder, name), IfMatch=etag)
            except ClientError as error:
                if service_code(error) not in ("NoSuchKey", "404", "PreconditionFailed", "412"):
                    raise
                raise changed_meanwhile(self, folder, name) from None
            for block in found["Body"].iter_chunks(_BLOCK):
                sink(block)


def _plain(etag: str) -> str:
    # Some servers leave the quotes out in one answer, and not in another.
    return etag.strip('"')
