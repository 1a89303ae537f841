"""What differs between the columns of two files."""

from __future__ import annotations

import pytest

from catalog.layout import Layout, changes

BEFORE = Layout((("id", "int32"), ("name", "string"), ("total", None)))


def now(**columns: str | None) -> Layout:
    return Layout(tuple(columns.items()))


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (now(id="int32", name="string", total=None), ""),
        (now(id="int32", name="string", total="int64"), ""),
        (now(id=None, name="string", total=None), ""),
        (now(id="int32", fax="string", name="string", total=None), "added fax"),
        (now(id="int32", total=None), "removed name"),
        (now(id="int64", name="string", total=None), "retyped id (int32 -> int64)"),
        (now(total=None, id="int32", name="string"), "reordered: total, id, name"),
        (now(name="number", id="int32", x=None), "added x; removed total; retyped name (string -> number); "
         "reordered: name, id"),
    ],
)  # fmt: skip
def test_each_kind_of_change_in_words(found: Layout, words: str) -> None:
    made = changes(BEFORE, found)
    assert str(made) == words and bool(made) is bool(words)


def test_of_many_columns_the_first_are_named() -> None:
    many = Layout(tuple((f"c{number}", None) for number in range(500)))
    assert str(changes(Layout(()), many)) == "added c0, c1, c2, c3, c4, c5, c6, c7, c8, c9 and 490 more"


def test_a_layout_is_kept_as_one_text() -> None:
    layout = Layout((("id", "decimal128(10, 2)"), ("naïve", None)))
    assert layout.to_text() == '[["id","decimal128(10, 2)"],["naïve",null]]'
    assert Layout.from_text(layout.to_text()) == layout
