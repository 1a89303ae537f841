"""JSON Lines: whatever the cells hold, each line is one object with every value as it was."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from written import batch_of, written

from tasks.rows.columns import column_of
from tasks.write import contract

TEXT = column_of("t", "text")
DOC = column_of("doc", "json")


def objects(content: bytes) -> list[dict[str, Any]]:
    assert content == b"" or content.endswith(b"\n")
    # By b"\n" alone: a reader of lines must not have to know JSON.
    return [json.loads(line, parse_float=Decimal) for line in content.split(b"\n")[:-1]]


def lines(type_text: str, *cells: str | None) -> list[str]:
    content = written([column_of("v", type_text)], [(cell,) for cell in cells], format="jsonl").decode()
    return [line.removeprefix('{"v":').removesuffix("}") for line in content.split("\n")[:-1]]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=12), min_size=1))
@example([chr(code) for code in range(0x21)] + ['"', "\\", "\\n", "\u2028\u2029", "\x7f", "🎂", "", "null", None])
def test_every_text_comes_back(cells: list[str | None]) -> None:
    content = written([TEXT, column_of('a "key"\n', "text")], [(cell, cell) for cell in cells], format="jsonl")
    assert objects(content) == [{"t": cell, 'a "key"\n': cell} for cell in cells]


def test_the_keys_stand_in_the_order_of_the_columns() -> None:
    columns = [column_of(name, "integer") for name in ("b", "a", "ü")]
    assert written(columns, [("1", "2", None)], format="jsonl").decode() == '{"b":1,"a":2,"ü":null}\n'


def test_numbers_keep_every_digit() -> None:
    numbers = ["9223372036854775807", "-0.10", "1e+20", "1.5e-07", "1" + "0" * 5000, "0"]
    assert lines("numeric", *numbers) == numbers


def test_what_is_no_json_number_is_a_string() -> None:
    given_ = ["NaN", "Infinity", "-Infinity", "007", "1.", ".5", "+1", "many", "true", "", "1\n", "1e5x"]
    assert lines("double precision", *given_, None, "1") == [*(json.dumps(each) for each in given_), "null", "1"]


def test_booleans_are_booleans_and_what_sqlite_holds_besides_is_kept() -> None:
    assert lines("boolean", "true", "false", None, "1", "yes") == ["true", "false", "null", "1", '"yes"']
    assert lines("text", "true", "1", "null") == ['"true"', '"1"', '"null"']


def test_other_values_are_the_texts_of_csv() -> None:
    assert lines("timestamptz", "2026-01-01 10:00:00+00", "infinity") == ['"2026-01-01 10:00:00+00"', '"infinity"']
    assert lines("bytea", "\\x00ff") == ['"\\\\x00ff"']
    assert lines("integer[]", "{1,NULL}") == ['"{1,NULL}"']


@pytest.mark.parametrize("kind", ["json", "jsonb", "JSON"])
def test_json_is_embedded_on_one_line(kind: str) -> None:
    doc = '{"b":\r\n 1.10,\t"a": "x\\ny \u2028",\n"n": 123456789012345678901234567890}'
    flat = doc.replace("\r", " ").replace("\n", " ")
    assert lines(kind, doc, "[]", '"x"', None, "null", "1e400") == [flat, "[]", '"x"', "null", "null", "1e400"]


@pytest.mark.parametrize(
    "cells",
    [
        ["{", "}"],
        ["[1", "2]"],
        ['"a', 'b"'],
        ["1,2,3", "[1", "2]"],
        ["1],[2"],
        ['1,"z":2'],
        ["", " "],
        ["NaN", "-Infinity", "nul"],
        ["1", "01", "'a'", "1}\n{", '"a\tb"'],
        ["[" * 100_000 + "]" * 100_000],
        ['"a\nb"'],
    ],
)
def test_what_is_no_json_is_a_string_whatever_stands_beside_it(cells: list[str]) -> None:
    found = objects(written([DOC], [(cell,) for cell in ["[1]", *cells, '{"a":2}']], format="jsonl"))
    assert found[0] == {"doc": [1]} and found[-1] == {"doc": {"a": 2}}
    assert [each["doc"] for each in found[1:-1]] == [1 if cell == "1" else cell for cell in cells]


def test_no_rows_are_no_bytes() -> None:
    assert written([TEXT], format="jsonl") == b""


def test_the_bytes_do_not_depend_on_batches() -> None:
    rows = [(f"row {number}",) for number in range(1000)]
    assert written([TEXT], rows, format="jsonl") == written([TEXT], rows[:1], rows[1:], format="jsonl")


def test_a_batch_that_is_large_is_written_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(f"row {number}",) for number in range(1000)]
    whole = written([TEXT], rows, format="jsonl")
    monkeypatch.setattr(contract, "_PIECE_BYTES", 100)
    sizes = [piece.num_rows for piece in contract.pieces(batch_of([TEXT], rows, "text"))]
    assert sum(sizes) == 1000 and 1 <= max(sizes) < 20
    assert written([TEXT], rows, format="jsonl") == whole
