"""What one run does with its window, with publishers of every kind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from ledgers import allotted, hour, spooled

from catalog.definition import Export
from catalog.windows import State
from tasks import deliver, spool
from tasks.ledger import Ledger, Turn
from tasks.publish import Publisher


def run_once(
    ledger_url: str,
    export: Export,
    run_id: str,
    folder: Path,
    content: bytes,
    publisher: Publisher,
    replace: bool = False,
    before_publish: Callable[[], object] = int,
) -> None:
    """Allot, extract, upload, publish and commit, whatever of it is not done yet."""
    ledger = Ledger(ledger_url)
    window = allotted(ledger, export, hour(0), run_id)
    with a_turn(ledger, run_id, folder) as turn:
        if window.state is not State.PUBLISHING and not spool.stands(ledger.extracted(window.id)):
            turn.record_extracted(window, spooled(folder / "spool", window, content))
        for parcel in deliver.parcels(ledger, window):
            sent = deliver.upload(ledger, turn, publisher, parcel)
            before_publish()
            deliver.publish(turn, publisher, sent, replace=replace)
            deliver.commit(turn, sent)


@contextmanager
def a_turn(ledger: Ledger, run_id: str, folder: Path) -> Iterator[Turn]:
    """A turn at the work; each run here has a ledger of its own, and what was seen of one says nothing of another."""
    seen = {"EXPORTS_SPOOL": str(folder / "seen" / run_id)}
    with mock.patch.dict(os.environ, seen), ledger.take_turn("orders", run_id, wait_seconds=0) as turn:
        yield turn
