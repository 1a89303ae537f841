"""Bugs to plant in a run, one at a time: whoever does not see them would not see the real ones either.

Each is planted in the child process alone, by replacing functions of the code under test.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy

from catalog.windows import Bounds, instant
from tasks import deliver
from tasks.ledger import allot
from tasks.publish import local
from tasks.source import frontier, snapshot


def witness_off() -> None:
    """A delivery in state PUBLISHING whose temp and final name are both gone is uploaded again."""
    believed = deliver.publish

    def publish(*arguments: Any, **keys: Any) -> None:
        *_, publisher, parcel = arguments
        folder = parcel.window.folder
        if publisher.stat(folder, parcel.temp_name) is None and publisher.stat(folder, parcel.file.name) is None:
            publisher.put(parcel.file.path, folder, parcel.temp_name)
        believed(*arguments, **keys)

    deliver.publish = publish


def publish_before_record() -> None:
    """The file has its final name before the ledger knows that it may have."""

    class Hasty(_Spoilt):
        def put(self, local: Any, folder: str, temp_name: str) -> None:
            self.publisher.put(local, folder, temp_name)
            self.publisher.publish(folder, temp_name, self.name, replace=False)

    _spoil_upload(Hasty)


def committed_before_published() -> None:
    """The ledger says COMMITTED before the file has its final name."""
    publish, commit = deliver.publish, deliver.commit
    postponed: list[Callable[[], None]] = []

    def later(*arguments: Any, **keys: Any) -> None:
        postponed.append(lambda: publish(*arguments, **keys))

    def first(*arguments: Any, **keys: Any) -> None:
        commit(*arguments, **keys)
        postponed.pop()()

    deliver.publish, deliver.commit = later, first


def naive_watermark() -> None:
    """`ts > max(ts)`: the bound is the largest value that can be seen, settled or not."""

    def next_bounds(_export: Any, previous: Bounds | None, _logical_time: datetime, *_: Any) -> Bounds | None:
        with psycopg.connect(os.environ["SOAK_SOURCE"]) as connection:
            (newest,) = connection.execute("SELECT max(updated_at) FROM orders").fetchone() or (None,)
        if newest is None:
            return None
        until = newest + timedelta(microseconds=1)
        low, since = (previous.high, previous.until) if previous else (None, None)
        return None if low == instant(until) else Bounds(low, instant(until), since, until)

    allot.next_bounds = next_bounds


def unsettled_bound() -> None:
    """In mode `xid`, the bound is where the next transaction will begin, whoever is still at work below it."""
    text = frontier._SNAPSHOT.text.replace("pg_snapshot_xmin", "pg_snapshot_xmax")
    frontier._SNAPSHOT = sqlalchemy.text(text.replace("::", r"\:\:"))
    snapshot.refuse_unreached = lambda *_: None


def link_then_unlink() -> None:
    """A local file gets its final name in two steps, between which it has two."""

    def rename(source: Path, target: Path) -> None:
        target.hardlink_to(source)
        source.unlink()

    local.rename_to_free_name = rename


def put_in_place() -> None:
    """A file grows under its final name."""

    class InPlace(_Spoilt):
        def put(self, local: Any, folder: str, _temp: str) -> None:
            self.publisher.put(local, folder, self.name)

    _spoil_upload(InPlace)


def never_tidied() -> None:
    """What a dead run left under its temp name is left there."""

    class Untidy(_Spoilt):
        def remove(self, _folder: str, _name: str) -> None:
            pass

    _spoil_upload(Untidy)


class _Spoilt:
    def __init__(self, publisher: Any, name: str) -> None:
        self.publisher, self.name = publisher, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self.publisher, name)


def _spoil_upload(spoilt: type[_Spoilt]) -> None:
    upload = deliver.upload

    def upload_spoilt(*arguments: Any) -> Any:
        *others, publisher, parcel = arguments
        return upload(*others, spoilt(publisher, parcel.file.name), parcel)

    deliver.upload = upload_spoilt


PLANTS: dict[str, Callable[[], None]] = {
    "witness_off": witness_off,
    "publish_before_record": publish_before_record,
    "committed_before_published": committed_before_published,
    "naive_watermark": naive_watermark,
    "unsettled_bound": unsettled_bound,
    "link_then_unlink": link_then_unlink,
    "put_in_place": put_in_place,
    "never_tidied": never_tidied,
}
#: Bugs of how a window is bounded need the mode they are bugs of.
MODES = {"naive_watermark": "lag"}
