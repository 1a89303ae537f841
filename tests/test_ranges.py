"""A table's blocks as ranges: no block twice, none left out, and the same for the same table."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from tasks.source.ranges import BlockRange, split


@given(st.integers(0, 2**32 - 1), st.integers(1, 32))
def test_ranges_follow_each_other_without_a_gap_and_are_alike(blocks: int, count: int) -> None:
    ranges = split(blocks, count)
    assert len(ranges) == count and ranges[0].first is None and ranges[-1].end is None
    assert all(one.end == next_one.first for one, next_one in pairwise(ranges))
    edges = [0, *(one.end for one in ranges[:-1] if one.end is not None), blocks]
    sizes = [high - low for low, high in pairwise(edges)]
    assert len(edges) == count + 1 and sum(sizes) == blocks and max(sizes) - min(sizes) <= 1


def test_ranges_of_a_small_table() -> None:
    assert split(10, 3) == (BlockRange(None, 3), BlockRange(3, 6), BlockRange(6, None))
    assert split(1, 3) == (BlockRange(None, 0), BlockRange(0, 0), BlockRange(0, None))
