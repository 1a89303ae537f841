"""The nearest valid name to one that a person mistyped."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name most like `name`, or None when none is near."""
    by_fold = {candidate.casefold(): candidate for candidate in valid}
    found = get_close_matches(name.casefold(), by_fold, n=1, cutoff=0.6)
    return by_fold[found[0]] if found else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """`"; did you mean 'orders'?"`, or nothing when no valid name is near."""
    found = nearest(name, valid)
    return f"; did you mean {found!r}?" if found else ""
