"""Retention: an export's own older files leave the target, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from catalog.duration import duration_text
from catalog.errors import Code, ExportError
from tasks.ledger import Delivered, Ledger, Turn
from tasks.publish.contract import Publisher


def remove_older(
    ledger: Ledger,
    turn: Turn,
    publisher: Publisher,
    target: str,
    keep: timedelta,
    tell: Callable[[str], None],
    warn: Callable[[str], None],
) -> None:
    """Remove what this export delivered to the target longer ago than `keep`, where the same bytes still stand.

    What goes wrong is told to `warn`, and tried again after the next delivery. Raises ExportError FENCED_OUT alone.
    """
    removed = 0
    try:
        for file in ledger.delivered_before(turn.export_id, target, publisher.identity, datetime.now(UTC) - keep):
            removed += _clear(turn, publisher, file, warn)
    except ExportError as error:
        if error.code is Code.FENCED_OUT:
            raise
        warn(f"files that are older than `keep: {duration_text(keep)}` could not be removed from {target}: {error}")
    if removed:
        tell(f"removed {removed:,} files from {target} that were delivered more than {duration_text(keep)} ago")


def _clear(turn: Turn, publisher: Publisher, file: Delivered, warn: Callable[[str], None]) -> bool:
    """Whether the file was there and is removed; it is looked at only once."""
    found = None if file.replaced else publisher.stat(file.folder, file.name)
    same = found is not None and found.holds(file.bytes, file.sha256)
    if same:
        turn.confirm()
        publisher.remove(file.folder, file.name)
    elif found is not None:
        address = publisher.address(file.folder, file.name)
        warn(f"{address} is left alone though it is older than `keep`: it holds other bytes than were delivered")
    # Only now: when the run dies in between, the next one finds nothing there, which is as good.
    turn.record_cleared(file.delivery)
    return same
