"""The targets: a ratio or a figure, what it may be, and whether it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """One target: `found` has to be at most `most`, or at least `least`; None when a peer for it is not installed."""

    text: str
    found: float | None
    unit: str = "x"
    most: float | None = None
    least: float | None = None

    @property
    def word(self) -> str:
        """PASS, FAIL, or MISSING when there was nothing to compare with."""
        if self.found is None:
            return "MISSING"
        kept = (self.most is None or self.found <= self.most) and (self.least is None or self.found >= self.least)
        return "PASS" if kept else "FAIL"

    def line(self) -> str:
        """The target as the report shows it."""
        bound = f"at most {self.most:g}" if self.most is not None else f"at least {self.least:g}"
        found = "nothing to compare with" if self.found is None else f"{self.found:.2f} {self.unit}"
        return f"{self.word:8}{self.text}: {found} ({bound})"


def show(verdicts: Iterable[Verdict]) -> bool:
    """Print every target; True when none failed."""
    verdicts = list(verdicts)
    print("\n## Targets\n")
    for verdict in verdicts:
        print(verdict.line())
    return all(verdict.word != "FAIL" for verdict in verdicts)
