"""Windows are allotted once, without a gap, each with its own name; the ledger is a real one of each kind."""

from __future__ import annotations

import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import START, a_run, allotted, full, hour, incremental, record_extracted

from catalog.errors import Code, ExportError
from catalog.windows import Bounds, State, Window, instant
from tasks.ledger import DOWNLOADS, Ledger


def test_windows_follow_each_other_without_a_gap(ledger: Ledger) -> None:
    export = incremental()
    first, second = (allotted(ledger, export, hour(number)) for number in (0, 1))
    assert first.bounds == Bounds(None, "2026-03-01T01:59:00.000000+00:00", None, hour(0) - timedelta(minutes=1))
    assert second.bounds.low == first.bounds.high and second.bounds.since == first.bounds.until
    assert (first.kind, first.generation, first.state) == ("scheduled", 1, State.PLANNED)
    assert first.definition == export.hash and first.file_name == "orders_20260301T020000000000.csv"


def test_moments_keep_their_microseconds(ledger: Ledger) -> None:
    at = hour(0) + timedelta(microseconds=1)
    window = allotted(ledger, incremental(cursor={"column": "updated_at", "lag": "0s"}), at)
    assert ledger.windows("orders") == [window] and window.logical_time == window.bounds.until == at


def test_a_run_that_asks_again_gets_its_own_window(ledger: Ledger) -> None:
    run_id = a_run()
    own = allotted(ledger, incremental(), hour(0), run_id)
    allotted(ledger, incremental(), hour(1))
    assert ledger.allot(incremental(), run_id, hour(0)).window == own == ledger.window_of_run(run_id)
    record_extracted(ledger, own, [])
    again = ledger.allot(incremental(), run_id, hour(0)).window
    assert again is not None and (again.id, again.state) == (own.id, State.EMPTY)
    assert len(ledger.windows("orders")) == 2


@pytest.mark.parametrize("late", [0, 0.5, 1])
def test_a_late_run_allots_nothing_and_says_who_covered_it(ledger: Ledger, late: float) -> None:
    windows = [allotted(ledger, incremental(), hour(number)) for number in (0, 1)]
    allotment = ledger.allot(incremental(), a_run(), hour(late))
    assert allotment.window is None and allotment.covered_by == windows[1]
    assert len(ledger.windows("orders")) == 2


def test_a_second_run_of_the_same_moment_allots_nothing_even_with_a_shorter_lag(ledger: Ledger) -> None:
    newest = allotted(ledger, incremental(), hour(0))
    quicker = incremental(cursor={"column": "updated_at", "lag": "0s"})
    ledger.register(quicker)
    assert ledger.allot(quicker, a_run(), hour(0)).covered_by == newest


def test_no_window_when_the_lag_has_grown_beyond_the_time_that_passed(ledger: Ledger) -> None:
    newest = allotted(ledger, incremental(), hour(0))
    slower = incremental(cursor={"column": "updated_at", "lag": "2h"})
    ledger.register(slower)
    allotment = ledger.allot(slower, a_run(), hour(1))
    assert (allotment.window, allotment.covered_by) == (None, newest)
    assert allotted(ledger, slower, hour(3)).bounds.low == newest.bounds.high


def test_another_source_begins_a_generation_of_its_own(ledger: Ledger) -> None:
    before = allotted(ledger, incremental(), hour(0))
    edited = allotted(ledger, incremental(columns=["id"]), hour(1))
    assert (edited.generation, edited.bounds.low) == (1, before.bounds.high)
    other = allotted(ledger, incremental(table="orders_v2"), hour(2))
    assert (other.generation, other.bounds.low) == (2, None)
    back = allotted(ledger, incremental(), hour(3))
    assert (back.generation, back.bounds.low) == (3, None)


def test_the_first_window_begins_at_start(ledger: Ledger) -> None:
    cursor = {"column": "updated_at", "start": "2026-02-01T00:00:00"}
    schedule = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}
    window = allotted(ledger, incremental(cursor=cursor, schedule=schedule), hour(0))
    assert window.bounds.low == "2026-01-31T23:00:00.000000+00:00"


def test_a_backfill_leaves_the_watermark_where_it_is(ledger: Ledger) -> None:
    scheduled = allotted(ledger, incremental(), hour(0))
    span = Bounds(instant(hour(-9)), instant(hour(9)), hour(-9), hour(9))
    named = incremental(file={"name": "orders_{run}.csv"})
    backfill = allotted(ledger, named, hour(-1), explicit=span)
    assert (backfill.kind, backfill.bounds) == ("backfill", span)
    assert ledger.newest("orders") == scheduled
    assert allotted(ledger, incremental(), hour(1)).bounds.low == scheduled.bounds.high


def test_a_backfill_as_the_first_window_is_no_watermark(ledger: Ledger) -> None:
    allotted(ledger, incremental(), hour(0), explicit=Bounds("a", "b", hour(-2), hour(-1)))
    assert ledger.newest("orders") is None
    assert allotted(ledger, incremental(), hour(1)).bounds.low is None


def test_a_name_is_given_to_one_window_alone(ledger: Ledger) -> None:
    daily = incremental(file={"name": "orders_{date:%Y%m%d}.csv"})
    first = allotted(ledger, daily, hour(0))
    with pytest.raises(ExportError) as caught:
        ledger.allot(daily, a_run(), hour(1))
    assert caught.value.code is Code.NAME_NOT_UNIQUE and "orders_20260301.csv" in caught.value.message
    assert first.run_id[:8] in caught.value.message and "{date:%Y%m%dT%H%M%S}" in str(caught.value.hint)
    assert ledger.windows("orders") == [first] and ledger.outstanding("orders") == [first]
    assert allotted(ledger, incremental(file={"name": "orders_{run}.csv"}), hour(2)).bounds.low == first.bounds.high


@pytest.mark.parametrize("elsewhere", [{"folder": "in"}, {"target": "other"}])
def test_the_same_name_elsewhere_is_another_file(ledger: Ledger, elsewhere: dict[str, str]) -> None:
    daily = {"name": "orders_{date:%Y%m%d}.csv"}
    allotted(ledger, incremental(file=daily), hour(0))
    assert allotted(ledger, incremental(file=daily, **elsewhere), hour(1)).folder == elsewhere.get("folder", "")


def test_a_full_export_may_repeat_its_name_even_after_a_failure(ledger: Ledger) -> None:
    windows = [allotted(ledger, full(), hour(number)) for number in range(3)]
    assert [window.kind for window in windows] == ["full"] * 3 and windows[0].bounds == Bounds()
    assert ledger.outstanding("orders") == windows


def test_a_full_export_does_not_take_the_name_of_an_incremental_window(ledger: Ledger) -> None:
    name = {"name": "orders_{date:%Y%m%d}.csv"}
    allotted(ledger, incremental(file=name), hour(0))
    ledger.register(full(file=name))
    with pytest.raises(ExportError) as caught:
        ledger.allot(full(file=name), a_run(), hour(1))
    assert caught.value.code is Code.NAME_NOT_UNIQUE


def test_late_full_runs_have_a_window_each(ledger: Ledger) -> None:
    later, earlier = allotted(ledger, full(), hour(2)), allotted(ledger, full(), hour(1))
    assert ledger.outstanding("orders") == [earlier, later]


def test_a_one_shot_without_target_goes_to_downloads(ledger: Ledger) -> None:
    window = allotted(ledger, full(type="one_shot", target=None), hour(0))
    assert [(found.target, found.part) for found in ledger.deliveries(window.id)] == [(DOWNLOADS, 1)]


def test_names_are_resolved_in_the_schedules_zone_but_for_the_part(ledger: Ledger) -> None:
    file = {"name": "{export}_{date-1d:%Y%m%d%H}_{part:03d}.csv", "max_rows": 10}
    schedule = {"cron": "0 3 * * *", "timezone": "Europe/Brussels"}
    window = allotted(ledger, incremental(file=file, folder="in/{date:%Y}", schedule=schedule), hour(0))
    assert (window.folder, window.file_name) == ("in/2026", "orders_2026022803_{part:03d}.csv")


def test_runs_that_begin_together_get_windows_that_fit(ledger: Ledger) -> None:
    def one_run(number: int) -> None:
        # Each has connections of its own, as processes have.
        own = Ledger(ledger.url)
        export = incremental(f"export_{number % 2}")
        own.register(export)
        own.allot(export, a_run(), hour(number // 2))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one_run, range(16)))
    for export_id in ("export_0", "export_1"):
        assert_gapless(ledger.windows(export_id)[::-1])


def assert_gapless(windows: list[Window]) -> None:
    assert windows and windows[0].bounds.low is None
    for before, after in pairwise(windows):
        assert after.bounds.low == before.bounds.high and before.bounds.high is not None
        assert after.bounds.high is not None and after.bounds.high > before.bounds.high


RUNS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 10**10)), min_size=1, max_size=12)


@settings(max_examples=25, deadline=None)
@given(RUNS)
def test_whatever_the_order_of_runs_windows_fit_and_each_run_keeps_its_own(runs: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ledger, export = Ledger(f"sqlite:///{folder}/ledger.sqlite"), incremental()
        ledger.register(export)
        own: dict[int, Window] = {}
        newest = START - timedelta(days=1)
        for run, microseconds in runs:
            at = START + timedelta(microseconds=microseconds)
            allotment = ledger.allot(export, str(run), at)
            if run in own:
                assert allotment.window == own[run]
            elif at <= newest:
                assert allotment.window is None and allotment.covered_by is not None
                assert allotment.covered_by.logical_time == newest
            else:
                assert allotment.window is not None
                own[run], newest = allotment.window, at
        windows = ledger.windows("orders")[::-1]
        assert sorted(own.values(), key=lambda window: window.logical_time) == windows == ledger.outstanding("orders")
        assert_gapless(windows)
