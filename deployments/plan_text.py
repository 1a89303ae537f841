"""A difference between the catalog and Prefect in words, as a command and a form say it."""

from __future__ import annotations

import json
from typing import Any

from deployments.plan import Difference

#: Longer values are not for one line.
_LONGEST = 60
_DETAILS = {"ledger": "its definition is not in this ledger"}


def sentence(difference: Difference) -> str:
    """What is different, and what carrying it out does."""
    is_live = difference.active and difference.kind == "export"
    scheduled = ", though it is scheduled" if is_live else ""
    if difference.renamed_from is not None:
        before = difference.renamed_from
        return f"new, and looks like {before}, which is gone: `apply` wants --since, or the old file name"
    if difference.change == "new":
        return "new" if difference.kind == "export" else f"new {difference.kind}"
    if difference.kind != "export" and difference.change == "gone":
        return f"{difference.kind} that nothing needs any more, so it is removed"
    if difference.change == "gone":
        return f"gone from the catalog, so its deployment is removed{scheduled}"
    if difference.change == "orphan":
        return f"no export, but with this project's tag, so it is removed{scheduled}"
    words = [f"{found.key} {_value(found.before)} -> {_value(found.after)}" for found in difference.changes]
    named = {found.key.partition(".")[0] for found in difference.changes}
    words += [_DETAILS.get(detail, detail) for detail in difference.details if detail not in named]
    origin = "changed by hand in Prefect, and put back" if difference.by_hand else "edited"
    live = "; is scheduled: takes effect at once" if is_live else ""
    return f"{origin}: {', '.join(words)}{live}"


def _value(value: Any) -> str:
    if value is None:
        return "nothing"
    shown = f"'{value}'" if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."
