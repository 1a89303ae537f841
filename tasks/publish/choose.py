"""Which publisher serves a target's URL: the one place that knows the protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from fsspec.core import split_protocol

from catalog.connections import Target
from catalog.errors import Code, ExportError
from catalog.places import base_folder, state_folder
from tasks.credentials import Lookup, references_in, resolve
from tasks.ledger import DOWNLOADS
from tasks.publish.contract import Publisher
from tasks.publish.ftp import FtpPublisher
from tasks.publish.ftp_login import read_login as read_ftp_login
from tasks.publish.local import LocalPublisher
from tasks.publish.plain import PlainPublisher
from tasks.publish.plain_place import read_place


def _local(name: str, url: str, options: dict[str, Any]) -> Publisher:
    return LocalPublisher(base_folder() / split_protocol(url)[1])


def _sftp(name: str, url: str, options: dict[str, Any]) -> Publisher:
    with _needing(name, "paramiko"):
        from tasks.publish.sftp import SftpPublisher
        from tasks.publish.sftp_login import read_login
    return SftpPublisher(read_login(name, url, options))


def _s3(name: str, url: str, options: dict[str, Any]) -> Publisher:
    with _needing(name, "botocore"):
        from tasks.publish.s3 import S3Publisher
        from tasks.publish.s3_bucket import read_bucket
    return S3Publisher(read_bucket(name, url, options))


def _abfs(name: str, url: str, options: dict[str, Any]) -> Publisher:
    with _needing(name, "azure-storage-blob"):
        from tasks.publish.abfs import AbfsPublisher
        from tasks.publish.abfs_container import read_container
    return AbfsPublisher(read_container(name, url, options))


@contextmanager
def _needing(name: str, distribution: str) -> Iterator[None]:
    """Imports that only this target needs."""
    try:
        yield
    except ImportError as error:
        raise ExportError(
            Code.DRIVER_MISSING,
            f"the target {name} needs the Python package {error.name}",
            f"pip install {distribution}",
        ) from error


def _ftp(name: str, url: str, options: dict[str, Any]) -> Publisher:
    return FtpPublisher(read_ftp_login(name, url, options))


#: By protocol: a target's name, URL and options, both with their secrets resolved, to its publisher. Others are plain.
_PUBLISHERS: dict[str, Callable[[str, str, dict[str, Any]], Publisher]] = {
    "file": _local,
    "ftp": _ftp,
    "ftps": _ftp,
    "local": _local,
    "sftp": _sftp,
    "s3": _s3,
    "s3a": _s3,
    "abfs": _abfs,
    "az": _abfs,
}


def open_publisher(name: str, target: Target, lookup: Lookup) -> Publisher:
    """The publisher of a target, with its secrets resolved; nothing is connected yet.

    Raises ExportError TARGET_UNSUPPORTED for a protocol nobody serves or may drop files on, SECRET_MISSING for a secret
    that is nowhere, DRIVER_MISSING for a protocol whose package is not installed, DEFINITION_INVALID for a URL or
    option it has no use for.
    """
    url, options = resolve(target.url, lookup), resolve(target.options, lookup)
    make = _PUBLISHERS.get(split_protocol(url)[0] or "file")
    if make is not None:
        return make(name, url, options)
    secrets = references_in([target.url, target.options], lookup)
    return PlainPublisher(read_place(name, url, options, secrets))


def open_downloads() -> Publisher:
    """The local folder for one shots without a target; it is ours, so it is made when missing."""
    folder = state_folder() / DOWNLOADS
    folder.mkdir(parents=True, exist_ok=True)
    return LocalPublisher(folder)
