"""Containers of Azure Blob Storage: blocks that nobody sees until a list of them is committed under the final name.

A blob's blocks have no upload they belong to, so their ids begin with a mark of the temp name. They are a weaker
witness than a multipart upload: whoever writes or deletes the blob of that name takes them away too. So when blocks
and blob are both gone, nobody can say what happened, and a person is asked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import ResourceExistsError, ResourceModifiedError, ResourceNotFoundError
from azure.storage.blob import BlobBlock, BlobClient, BlobServiceClient

from catalog.errors import Code, ExportError
from tasks.publish.abfs_container import Container
from tasks.publish.abfs_errors import FROM_OUTSIDE, service_code, translate
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

#: In bytes, and how many of them a blob may have.
_BLOCK = 8 * 1024 * 1024
_MOST_BLOCKS = 50_000
#: What the last block of an upload holds, which is never committed: an empty file has no other.
_THERE, _GIVEN_UP = b"-", b"--"
_PROBE = ".exports-probe.part"


class AbfsPublisher(Publisher):
    """Drops files into a container, which must exist; folders there are no more than parts of names.

    Besides what the contract names, its methods raise ExportError TARGET_AUTH and CERTIFICATE_INVALID.
    """

    promise: Promise = "may ask"

    def __init__(self, container: Container) -> None:
        self._container = container
        self._service: BlobServiceClient | None = None
        self.identity = container.identity

    def check(self, folder: str = "") -> None:
        """The container is there, and takes a block: always the same one, which is never committed."""
        with self._use("write in", folder, _PROBE) as blob:
            blob.stage_block(_block_id(_PROBE, 0), _THERE)

    def put(self, local: Path, folder: str, temp_name: str) -> None:
        """Every byte in blocks of the final name that are not committed, each checked by the server."""
        expected = local.stat().st_size
        block_bytes = max(_BLOCK, -(-expected // _MOST_BLOCKS))
        sent: list[int] = []
        with local.open("rb") as source, self._use("write", folder, temp_name) as blob:
            for number in range(1, -(-expected // block_bytes) + 1):
                block = source.read(block_bytes)
                blob.stage_block(_block_id(temp_name, number), block, length=len(block), validate_content=True)
                sent.append(len(block))
            blob.stage_block(_block_id(temp_name, 0), _THERE)
            found = [size for _, size in _blocks(blob, temp_name) or ()]
        if found != sent or sum(found) != expected:
            self.remove(folder, temp_name)
            raise ExportError(
                Code.UPLOAD_MISMATCH,
                f"{self.address(folder, temp_name)} has {sum(found)} bytes in {len(found)} blocks after the upload, "
                f"and should have {expected} in {len(sent)}",
                "relaunch; if it comes back, ask who runs the server",
            )

    def stat(self, folder: str, name: str) -> Stat | None:
        """What stands under the name, or None; of an upload, what has arrived of it."""
        with self._use("look at", folder, name) as blob:
            if final_name(name) is None:
                return self._stat_blob(blob, folder, name)
            found = _blocks(blob, name)
        if found is None:
            return None
        return Stat(sum(size for _, size in found), partial(refuse_to_read, self, folder, name), "")

    def publish(self, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        """Commit the blocks, on the condition that the name is free unless `replace`."""
        with self._use("publish", folder, name) as blob:
            found = _blocks(blob, temp_name)
            if found is None:
                raise ExportError(
                    Code.TARGET_DENIED,
                    f"cannot publish {self.address(folder, name)}: its blocks are gone",
                    "relaunch",
                )
            condition: dict[str, Any] = {} if replace else {"match_condition": MatchConditions.IfMissing}
            try:
                # Never tried again by the library: the second answer would hide what became of the first.
                blob.commit_block_list([BlobBlock(block) for block, _ in found], retry_total=0, **condition)
            except (ResourceExistsError, ResourceModifiedError) as error:
                if replace or service_code(error) not in ("BlobAlreadyExists", "ConditionNotMet"):
                    raise
                raise file_exists(self, folder, name) from None

    def remove(self, folder: str, name: str) -> None:
        """Remove a blob, or give up an upload, whose blocks Azure keeps for a week; what is not there is fine."""
        with self._use("remove", folder, name) as blob:
            if final_name(name) is None:
                with suppress(ResourceNotFoundError):
                    blob.delete_blob()
            elif _blocks(blob, name) is not None:
                blob.stage_block(_block_id(name, 0), _GIVEN_UP)

    def close(self) -> None:
        """Close the connections, if there are any."""
        if self._service is not None:
            self._service.close()
            self._service = None

    @contextmanager
    def _use(self, action: str, folder: str, name: str) -> Iterator[BlobClient]:
        """The blob; what goes wrong with it inside the block becomes an ExportError."""
        place = self._container.place
        try:
            if self._service is None:
                self._service = self._container.connect()
            yield self._service.get_blob_client(place.container, place.key(folder, final_name(name) or name))
        except FROM_OUTSIDE as error:
            # Not chained: Prefect logs whole tracebacks, and an address may hold a signature.
            action = f"{action} {self.address(folder, '' if name == _PROBE else name)}"
            raise translate(error, self._container, action) from None

    def _stat_blob(self, blob: BlobClient, folder: str, name: str) -> Stat | None:
        try:
            found = blob.get_blob_properties()
        except ResourceNotFoundError:
            return None
        modified = found.last_modified.isoformat(timespec="seconds")
        return Stat(found.size, partial(self._read, folder, name, found.etag), modified)

    def _read(self, folder: str, name: str, etag: str, sink: Sink) -> None:
        with self._use("read", folder, name) as blob:
            try:
                for block in blob.download_blob(etag=etag, match_condition=MatchConditions.IfNotModified).chunks():
                    sink(block)
            except (ResourceNotFoundError, ResourceModifiedError):
                raise changed_meanwhile(self, folder, name) from None


def _block_id(temp_name: str, number: int) -> str:
    # All ids of a blob must be of one length, whatever upload they are of.
    return f"{hashlib.sha256(temp_name.encode()).hexdigest()[:16]}-{number:05d}"


def _blocks(blob: BlobClient, temp_name: str) -> list[tuple[str, int]] | None:
    """Id and size of the blocks of an upload, in order, or None when it is not there or was given up."""
    try:
        _, waiting = blob.get_block_list("uncommitted")
    except ResourceNotFoundError as error:
        if service_code(error) != "BlobNotFound":
            raise
        return None
    sizes = {str(block.id): block.size for block in waiting}
    last = _block_id(temp_name, 0)
    if sizes.get(last) != len(_THERE):
        return None
    own = sorted(block for block in sizes if block != last and block[:16] == last[:16])
    return [(block, sizes[block]) for block in own]
