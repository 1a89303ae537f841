"""Markdown of what may hold anything: a bar or a line end in it must not end a cell or a line."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Collection[str] = ()) -> str:
    """A table; the columns with these heads are flush right."""
    rule = ["---:" if name in numbers else "---" for name in head]
    lines = [head, rule, *([on_one_line(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def on_one_line(text: str) -> str:
    """The text as a cell or a heading can hold it."""
    return text.replace("|", "\\|").replace("\n", " ")
