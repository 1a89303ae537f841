"""What a run has to say of rows and columns besides how many it delivered."""

from __future__ import annotations

from catalog.errors import Code
from tasks.ledger import Findings


def remarks(findings: Findings) -> list[str]:
    """What an extraction found beside its rows, one sentence each."""
    said = {
        f"{findings.null_cursors:,} rows without cursor were left out": findings.null_cursors,
        f"{Code.CURSOR_IN_FUTURE}: {findings.future:,} rows have a cursor in the future, up to {findings.latest}, and "
        "are in no file before then; correct them, or set `cursor.future: ignore` if they are meant": findings.future,
        f"{findings.late:,} of the rows came after an earlier window was read": findings.late,
        f"{Code.LATE_ROWS}: {findings.missed:,} rows came later than the lookback and are in no file; "
        "make cursor.lookback longer, and send them with `exports backfill`": findings.missed,
    }
    changed = [f"{Code.SCHEMA_CHANGED}: {findings.columns_changed}"] if findings.columns_changed else []
    return [*(text for text, count in said.items() if count), *changed]
