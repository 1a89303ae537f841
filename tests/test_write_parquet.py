"""Parquet files: the same bytes however the rows come, in row groups of one size, with dictionaries where they pay."""

import io
import random

import pyarrow.parquet as pq
import pytest
from written import written

from tasks.rows.columns import column_of

COLUMNS = [column_of("n", "bigint"), column_of("country", "text"), column_of("note.of", "text")]
CHANCE = random.Random(1)
ROWS = [
    (n, CHANCE.choice(["BE", "NL", None, "FR"]), f"{CHANCE.getrandbits(400):x}" if n % 9 else None)
    for n in range(250_000)
]


def in_steps(step: int) -> bytes:
    return written(COLUMNS, *(ROWS[at : at + step] for at in range(0, len(ROWS), step)), format="parquet")


@pytest.fixture(scope="module")
def content() -> bytes:
    return in_steps(10_000)


def test_row_groups_are_of_one_size(content: bytes) -> None:
    metadata = pq.ParquetFile(io.BytesIO(content)).metadata
    sizes = [metadata.row_group(index).num_rows for index in range(metadata.num_row_groups)]
    assert sizes == [100_000, 100_000, 50_000]
    assert pq.read_table(io.BytesIO(content)).to_pylist() == [
        dict(zip([column.name for column in COLUMNS], row, strict=True)) for row in ROWS
    ]


@pytest.mark.parametrize("step", [7_777, 100_000, 250_000])
def test_the_bytes_do_not_depend_on_the_batches(content: bytes, step: int) -> None:
    assert in_steps(step) == content


def test_a_dictionary_is_built_where_texts_repeat(content: bytes) -> None:
    group = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(1)
    assert [group.column(index).has_dictionary_page for index in range(3)] == [False, True, False]


def test_a_row_group_that_is_full_is_not_followed_by_an_empty_one() -> None:
    whole = written(COLUMNS[:1], [(n,) for n in range(100_000)], format="parquet")
    assert pq.ParquetFile(io.BytesIO(whole)).metadata.num_row_groups == 1
    assert pq.ParquetFile(io.BytesIO(written(COLUMNS[:1], format="parquet"))).metadata.num_rows == 0
