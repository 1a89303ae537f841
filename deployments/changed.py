"""What differs between two definitions, key by key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Changed:
    """One key by its dotted path, as `file.name`: its value in Prefect and in the catalog, None where it has none."""

    key: str
    before: Any
    after: Any

    def to_json(self) -> dict[str, Any]:
        """The change as `exports plan --json` prints it."""
        return {"key": self.key, "from": self.before, "to": self.after}


def changed_keys(before: Mapping[str, Any], after: Mapping[str, Any], path: str = "") -> Iterator[Changed]:
    """Every key whose value differs, sorted; keys in keys by their own paths, lists as wholes."""
    for key in sorted({*before, *after}):
        old, new = before.get(key), after.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changed_keys(old, new, f"{path}{key}.")
        elif old != new:
            yield Changed(f"{path}{key}", old, new)
