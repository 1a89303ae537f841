"""A source that is not what it was: another server, an older copy, a rewritten table. A person says how to go on."""

from __future__ import annotations

from dataclasses import replace

from catalog.definition import Export
from catalog.errors import Code, ExportError
from tasks.source.relation import Identity

_NAMES = {"system": "the server", "timeline": "the timeline", "database": "the database", "table": "the table"}


def refuse_other(export: Export, then: Identity, now: Identity) -> None:
    """Raises ExportError SOURCE_REPLACED unless both are the same source; the table's file does not count."""
    if replace(then, file=now.file) == now:
        return
    changed = [
        f"{words} was {getattr(then, key)} and is {getattr(now, key)}"
        for key, words in _NAMES.items()
        if getattr(then, key) != getattr(now, key)
    ]
    raise _to_decide(
        Code.SOURCE_REPLACED,
        f"the source of {export.id} is not the one its watermark is of: {'; '.join(changed)}",
        export,
    )


def rewound(export: Export, watermark: str, frontier: str, *, standby: bool) -> ExportError:
    """SOURCE_REWOUND; on a standby, which may only be behind another one, SOURCE_CONFLICT."""
    if standby:
        return ExportError(
            Code.SOURCE_CONFLICT,
            f"the standby is behind: it has come to {frontier}, and the watermark of {export.id} is {watermark}",
            "it is tried again; if that does not help, see whether the standby still follows its primary",
            export=export.id,
        )
    message = (
        f"the source of {export.id} has gone back in time: the watermark is {watermark}, and it stands at {frontier}"
    )
    return _to_decide(Code.SOURCE_REWOUND, message, export)


def rewritten(export: Export, then: Identity, now: Identity) -> ExportError:
    """SOURCE_REWRITTEN: every row looks new, and would be sent again."""
    return _to_decide(
        Code.SOURCE_REWRITTEN,
        f"{export.table} was rewritten (its file was {then.file} and is {now.file}): "
        "every row looks changed, and would be sent again",
        export,
    )


def _to_decide(code: Code, message: str, export: Export) -> ExportError:
    hint = (
        f"`exports ledger {export.id} --accept` goes on from the same watermark; "
        f"`exports ledger {export.id} --restart start|now` begins anew"
    )
    return ExportError(code, message, hint, export=export.id)
