"""What was found of uploads that were struck: nothing but the first column of figures may be other than 0."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field

from watched_target import Look

#: What must not be, by the name of its figure.
WRONG = ("truncated", "doubled", "wrong successes", "not delivered", "leftovers")


@dataclass
class Tally:
    """How many faults struck and how often a person was asked; and what was wrong, each with its fault's number."""

    struck: Counter[str] = field(default_factory=Counter)
    asked: list[int] = field(default_factory=list)
    wrong: list[tuple[str, int, str]] = field(default_factory=list)

    def whole(self, number: int, name: str, data: bytes, look: Look) -> int:
        """How many whole files were delivered so far; what else a consumer could see is wrong."""
        digest = hashlib.sha256(data).hexdigest()
        for seen, size in look.seen:
            if (seen, size) != (name, len(data)):
                self._is_wrong("truncated", number, f"{seen}: {size} of {len(data)} bytes")
        found = [*look.standing, *look.taken]
        for seen, sha256 in found:
            if (seen, sha256) != (name, digest):
                self._is_wrong("truncated", number, f"{seen}: other bytes")
        return found.count((name, digest))

    def after_the_fault(self, number: int, succeeded: bool, states: list[str], delivered: int) -> None:
        """What the struck run said of itself, and the ledger of its file, must be so."""
        if not delivered and (succeeded or states == ["COMMITTED"]):
            self._is_wrong("wrong successes", number, f"success {succeeded}, {states}, and no file")

    def after_the_next_run(self, number: int, said: str, states: list[str], delivered: int, left: list[str]) -> None:
        """Delivered once, recorded, and nothing else is there; `said` is the error of a run that failed."""
        if said or states != ["COMMITTED"] or not delivered:
            self._is_wrong("not delivered", number, f"{said} {states}, {delivered} files")
        if states == ["COMMITTED"] and not delivered:
            self._is_wrong("wrong successes", number, "committed, and no file")
        if delivered > 1:
            self._is_wrong("doubled", number, f"{delivered} files")
        if left:
            self._is_wrong("leftovers", number, ", ".join(left))

    def figures(self) -> dict[str, int]:
        """All of them."""
        found = Counter(kind for kind, _, _ in self.wrong)
        cuts = self.struck.total() - self.struck["kill"]
        return {
            "kills": self.struck["kill"],
            "cuts": cuts,
            **{kind: found[kind] for kind in WRONG},
            "asked": len(self.asked),
        }

    def _is_wrong(self, kind: str, number: int, what: str) -> None:
        self.wrong.append((kind, number, what))
