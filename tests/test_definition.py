"""Durations, windows and the version of a definition: plain values, decided by arithmetic alone."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from catalog.definition import Export
from catalog.duration import duration_text, parse_duration
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, explicit_bounds, instant, next_bounds

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("90s", 90), ("15m", 900), ("1h", 3600), (" 2d ", 172800), ("36500d", 3153600000)]
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", 5, "5 m", "m", "-5m", "1.5h", "5w", "36501d", "9" * 20 + "d", "٣m", None])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match=r"is no duration|longer than 100 years"):
        parse_duration(text)


@given(st.integers(0, 36500 * 86400).map(lambda seconds: timedelta(seconds=seconds)))
def test_a_duration_is_read_back_as_it_is_written(duration: timedelta) -> None:
    assert parse_duration(duration_text(duration)) == duration


def full() -> dict[str, Any]:
    return {
        "id": "orders",
        "name": "Orders",
        "type": "incremental",
        "database": "crm",
        "table": "orders",
        "columns": ["id", {"updated_at": "last_change"}],
        "cursor": {"column": "updated_at", "lag": "60s", "mode": "lag", "nulls": "fail"},
        "file": {"name": "o.csv", "format": "csv", "csv": {"header": True, "delimiter": ","}, "compression": "none"},
        "target": "drop",
        "schedule": {"cron": "0 2 * * *", "timezone": "UTC"},
        "retries": 3,
    }


def export(**keys: Any) -> Export:
    return Export.model_validate(full() | keys)


def shuffled(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    pairs = [(key, shuffled(inner)) for key, inner in value.items()]
    random.Random(7).shuffle(pairs)
    return dict(pairs)


def test_the_hash_is_of_what_is_meant() -> None:
    export = Export.model_validate(full())
    terse = full() | {"cursor": {"column": "updated_at"}, "file": {"name": "o.csv"}, "schedule": {"cron": "0 2 * * *"}}
    del terse["retries"]
    assert Export.model_validate(shuffled(full())).hash == Export.model_validate(terse).hash == export.hash
    assert Export.model_validate(export.frozen()) == export and "retries" not in export.frozen()


@pytest.mark.parametrize(
    "change",
    [
        {"columns": [{"updated_at": "last_change"}, "id"]},
        {"cursor": {"column": "updated_at", "lag": "61s"}},
        {"retries": 2},
        {"file": {"name": "o.csv", "empty": "skip"}},
        {"id": "other"},
    ],
)
def test_the_hash_changes_with_the_definition(change: dict[str, Any]) -> None:
    assert Export.model_validate(full() | change).hash != Export.model_validate(full()).hash


def test_the_source_key_changes_with_the_source_alone() -> None:
    assert export(name="Other", columns=["id"], where="id > 1").source_key == export().source_key
    assert len({export(**change).source_key for change in ({"table": "a"}, {"database": "a"}, {})}) == 3
    assert export(cursor={"column": "other"}).source_key != export(cursor={"column": "updated_at"}).source_key


def test_a_window_follows_the_one_before_it() -> None:
    first = next_bounds(export(), None, NOON)
    assert first == Bounds(None, "2026-11-23T11:59:00.000000+00:00", None, NOON - timedelta(minutes=1))
    second = next_bounds(export(), first, NOON + timedelta(hours=1))
    assert second is not None and (second.low, second.since) == (first.high, first.until)


def test_no_time_has_passed() -> None:
    assert next_bounds(export(), Bounds(None, instant(NOON), None, NOON), NOON + timedelta(minutes=1)) is None
    assert next_bounds(export(), Bounds(None, instant(NOON), None, NOON), NOON) is None
    just_after = NOON + timedelta(seconds=60, microseconds=1)
    assert next_bounds(export(), Bounds(None, instant(NOON), None, NOON), just_after) is not None


def test_an_export_without_a_cursor_has_no_bounds() -> None:
    whole = export(type="periodic_full", cursor=None)
    assert next_bounds(whole, None, NOON) == Bounds() == next_bounds(whole, None, NOON + timedelta(days=1))


@pytest.mark.parametrize(
    ("start", "low"),
    [
        ("2026-07-01T00:00", "2026-06-30T22:00:00.000000+00:00"),
        ("2026-07-01", "2026-06-30T22:00:00.000000+00:00"),
        ("2026-07-01T00:00:00Z", "2026-07-01T00:00:00.000000+00:00"),
    ],
)
def test_a_start_without_a_zone_is_meant_in_the_schedules(start: str, low: str) -> None:
    schedule = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}
    bounds = next_bounds(export(cursor={"column": "x", "start": start}, schedule=schedule), None, NOON)
    assert bounds is not None and bounds.low == low and instant(bounds.since or NOON) == low


@given(st.lists(st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))))
def test_windows_have_no_gap_and_no_overlap(times: list[datetime]) -> None:
    found: list[Bounds] = []
    for time in times:
        bounds = next_bounds(export(), found[-1] if found else None, time)
        found += [bounds] if bounds else []
    assert all(before.high == after.low for before, after in pairwise(found))
    assert all(str(bounds.low or "") < str(bounds.high) for bounds in found)


def test_a_span_that_a_person_asks_for() -> None:
    schedule = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}
    bounds = explicit_bounds(export(schedule=schedule), datetime(2026, 7, 1), datetime(2026, 7, 2, tzinfo=UTC), NOON)
    assert bounds is not None
    assert (bounds.low, bounds.high) == ("2026-06-30T22:00:00.000000+00:00", "2026-07-02T00:00:00.000000+00:00")
    assert explicit_bounds(export(), None, None, NOON) is None


DAY_BEFORE = NOON - timedelta(days=1)
SPANS = [(NOON, None), (None, NOON), (DAY_BEFORE, DAY_BEFORE), (DAY_BEFORE, DAY_BEFORE - timedelta(hours=1))]
SPANS += [(datetime(1, 1, 1), DAY_BEFORE), (DAY_BEFORE, datetime(9999, 12, 31, 23))]


@pytest.mark.parametrize("span", [*SPANS, (DAY_BEFORE, NOON)])
def test_a_span_that_is_none(span: tuple[datetime | None, datetime | None]) -> None:
    with pytest.raises(ExportError) as caught:
        explicit_bounds(export(schedule={"cron": "0 2 * * *", "timezone": "Europe/Brussels"}), *span, NOON)
    assert caught.value.code is Code.DEFINITION_INVALID


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query": "SELECT 1"}, "either `table` or `query`"),
        ({"query": "SELECT 1", "table": None}, "do not apply to a `query`"),
        ({"cursor": None}, "needs `cursor"),
        ({"type": "periodic_full"}, "not for periodic_full"),
        ({"target": None}, "only a one shot"),
        ({"schedule": {"at": "2026-12-01T10:00"}}, "scheduled with `cron`"),
        ({"file": {"name": "o.csv", "max_rows": 5}}, "needs {part}"),
        ({"file": {"name": "o_{part}.csv"}}, "only one file"),
        ({"file": {"name": "o_{part}.csv", "partitions": 2, "max_rows": 5}}, "would both split the file"),
        ({"file": {"name": "o.csv", "max_bytes": "1 MB"}}, "needs {part}"),
        ({"file": {"name": "o_{part}.csv", "partitions": 2, "max_bytes": 5}}, "would both split the file"),
        ({"file": {"name": "o_{part}.parquet", "format": "parquet", "max_bytes": "1 MB"}}, "use `max_rows`"),
        ({"file": {"name": "o_{part}.csv", "max_bytes": "5 cats"}}, "is no size"),
        ({"file": {"name": "o_{part}.csv", "max_bytes": 0}}, "is no size"),
        ({"file": {"name": "o.parquet", "format": "parquet", "partitions": 2}}, "as in orders_{part}.parquet"),
        ({"file": {"name": "o.xlsx", "format": "xlsx", "partitions": 2}}, "joined into one xlsx file"),
        ({"file": {"name": "o.csv", "partitions": 0}}, "greater than or equal to 1"),
        (
            {
                "file": {"name": "o.csv", "partitions": 2},
                "query": "SELECT 1",
                **dict.fromkeys(("table", "columns", "where")),
            },
            "`query` has none",
        ),
        ({"file": {"name": "o", "format": "parquet", "compression": "gzip"}}, "leave `compression` out"),
        ({"file": {"name": "o", "format": "parquet", "csv": {}}}, "do not apply to `format: parquet`"),
        ({"file": {"name": "o", "format": "jsonl", "csv": {}}}, "do not apply to `format: jsonl`"),
        (
            {"file": {"name": "o", "format": "xlsx", "compression": "zip"}},
            "compressed already: leave `compression` out",
        ),
        ({"file": {"name": "o.csv", "compression": "zip"}}, "as in orders.csv.zip"),
        ({"file": {"name": "o.csv", "encryption": {"pgp": []}}}, "file.encryption.pgp"),
        ({"file": {"name": "o.csv", "encryption": {"pgp": ["k", "k"]}}}, "stands twice"),
        ({"file": {"name": "o.csv", "encryption": {"pgp": ["../k"]}}}, "file.encryption.pgp"),
        ({"file": {"name": "o.csv", "encryption": {"pgp": ["k"]}, "partitions": 2}}, "in clear"),
        ({"file": {"name": "o.zip.pgp", "compression": "zip"}}, "as in orders.csv.zip"),
        ({"file": {"name": "o.csv", "inner_name": "o.csv"}}, "needs `compression: zip`"),
        ({"file": {"name": "o.zip", "compression": "zip", "inner_name": "o_{part}.csv"}}, "and the name has not"),
        ({"file": {"name": "o.zip", "compression": "zip", "inner_name": "../o.csv"}}, "`file.inner_name: ../o.csv`"),
        (
            {
                "type": "periodic_full",
                "cursor": None,
                "file": {"name": "o.zip", "compression": "zip", "inner_name": "{since}.csv"},
            },
            "for incremental exports",
        ),
        ({"file": {"name": "o_{part}.xlsx", "format": "xlsx", "max_rows": 1_048_576}}, "holds 1048575 rows"),
        ({"type": "periodic_full", "cursor": None, "folder": "{since:%Y}"}, "others have no window"),
        ({"type": "one_shot", "cursor": None}, "with `at`, not `cron`"),
    ],
)
def test_keys_that_do_not_go_together(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("{", r"\{")):
        export(**change)
