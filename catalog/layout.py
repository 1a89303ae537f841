"""The layout of a file, its columns in order with their types, and what differs between two of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

#: A message names so many columns of each kind of change.
_MOST_NAMES = 10


@dataclass(frozen=True, slots=True)
class Layout:
    """(name, type) of each column, in the file's order; the type is None where only the values say it."""

    columns: tuple[tuple[str, str | None], ...]

    def to_text(self) -> str:
        """JSON, as the ledger keeps it: the same text for the same layout."""
        return json.dumps(self.columns, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What `to_text` wrote."""
        return cls(tuple((name, kind) for name, kind in json.loads(text)))


@dataclass(frozen=True, slots=True)
class Changes:
    """What differs, by the columns' names; false when nothing does.

    `retyped` are (name, type before, type now); `reordered` are the columns that both have, in their new order, and
    empty when that is the old one.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    retyped: tuple[tuple[str, str, str], ...]
    reordered: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.retyped or self.reordered)

    def __str__(self) -> str:
        """`added email; removed fax; retyped total (int32 -> int64); reordered: name, id`."""
        said = {
            "added ": self.added,
            "removed ": self.removed,
            "retyped ": [f"{name} ({before} -> {now})" for name, before, now in self.retyped],
            "reordered: ": self.reordered,
        }
        return "; ".join(f"{what}{_listed(names)}" for what, names in said.items() if names)


def changes(before: Layout, now: Layout) -> Changes:
    """What became of the columns. A type that is None, then or now, is not compared."""
    then, found = dict(before.columns), dict(now.columns)
    order = tuple(name for name in found if name in then)
    types = [(name, then[name], found[name]) for name in order]
    return Changes(
        added=_without(found, then),
        removed=_without(then, found),
        retyped=tuple((name, old, new) for name, old, new in types if old and new and old != new),
        reordered=order if order != tuple(name for name in then if name in found) else (),
    )


def _without(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    left_out = set(others)
    return tuple(name for name in names if name not in left_out)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
