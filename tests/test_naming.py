"""File names: a closed set of fields, and whatever comes out stays one legal part of a path."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from catalog.errors import Code, ExportError
from catalog.naming import FIELDS, NameFields, check_pattern, example, fill_part, render, render_folder

BRUSSELS = ZoneInfo("Europe/Brussels")


def fields(
    logical_time: datetime = datetime(2026, 11, 23, 23, 30, tzinfo=UTC),
    since: datetime | None = datetime(2026, 11, 22, 23, 29, tzinfo=UTC),
    export: str = "orders",
) -> NameFields:
    return NameFields(logical_time, BRUSSELS, since, logical_time - timedelta(minutes=1), export, "9f1c2ab0-0000-4000")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("a.csv", "a.csv"),
        ("o_{date}.csv", "o_20261124.csv"),
        ("o_{date:%Y-%m-%dT%H%M%S%f}.csv", "o_2026-11-24T003000000000.csv"),
        ("o_{date-1d:%Y%m%d}.csv", "o_20261123.csv"),
        ("o_{date+2h:%H}_{date-90m:%H%M}_{date-30s:%S}.csv", "o_02_2300_30.csv"),
        ("o_{date:%Y%m%dT%H%M%z}.csv", "o_20261124T0030+0100.csv"),
        ("o_{since:%d%H%M}_{until:%d%H%M}.csv", "o_230029_240029.csv"),
        ("o_{since-1d:%d}.csv", "o_22.csv"),
        ("{export}-{run}.csv", "orders-9f1c2ab0.csv"),
        ("o_{part}.csv", "o_{part}.csv"),
        ("o_{part:03d}.csv", "o_{part:03d}.csv"),
        ("é.csv", "é.csv"),
    ],
)
def test_every_field(pattern: str, name: str) -> None:
    assert render(pattern, fields(), key="file.name") == name
    check_pattern(pattern, key="file.name")


@pytest.mark.parametrize(
    ("moment", "pattern", "name"),
    [
        # 25 October 2026 has 25 hours in Brussels, 29 March 23.
        (datetime(2026, 10, 25, 22, 30, tzinfo=UTC), "{date-1d:%dT%H}", "24T23"),
        (datetime(2026, 10, 25, 22, 30, tzinfo=UTC), "{date-24h:%dT%H}", "25T00"),
        (datetime(2026, 3, 29, 22, 30, tzinfo=UTC), "{date-1d:%dT%H}", "29T00"),
        (datetime(2026, 3, 29, 21, 30, tzinfo=UTC), "{date-1d:%dT%H}", "28T23"),
        (datetime(2026, 10, 25, 1, 30, tzinfo=UTC), "{date-1h:%H%z}_{date:%H%z}", "02+0200_02+0100"),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=BRUSSELS), "{date:%H%z}", "02+0100"),
    ],
)
def test_days_are_those_of_the_calendar_and_hours_are_hours(moment: datetime, pattern: str, name: str) -> None:
    assert render(pattern, fields(moment), key="file.name") == name


def test_the_first_window_has_no_beginning() -> None:
    assert render("o_{since:%Y%m%d}_{since-1d}.csv", fields(since=None), key="file.name") == "o_start_start.csv"


@pytest.mark.parametrize("year", [1, 9999])
def test_a_time_beyond_the_calendar(year: int) -> None:
    since = datetime(year, 1, 1, tzinfo=UTC) if year == 1 else datetime(year, 12, 31, 23, 30, tzinfo=UTC)
    pattern = "{since-1d:%Y}.csv" if year == 1 else "{since:%Y}.csv"
    with pytest.raises(ExportError, match="its time cannot be written"):
        render(pattern, fields(since=since), key="file.name")


@pytest.mark.parametrize(
    ("name", "part", "filled"),
    [("a_{part}.csv", 7, "a_7.csv"), ("a_{part:03d}.csv", 7, "a_007.csv"), ("a_{part:02}.csv", 123, "a_123.csv")],
)
def test_the_part_is_filled_later(name: str, part: int, filled: str) -> None:
    assert fill_part(name, part) == filled


def test_the_table_of_fields_is_the_truth() -> None:
    for name, (meaning, sample) in FIELDS.items():
        assert sample.startswith("{" + name) and meaning
        assert example(f"x{sample}", "orders") != f"x{sample}"
    with pytest.raises(ExportError) as caught:
        example("{dat}.csv", "orders")
    assert all(sample in (caught.value.hint or "") for _, sample in FIELDS.values())


@pytest.mark.parametrize(
    ("pattern", "code", "message"),
    [
        ("{dat}.csv", "NAME_FIELD_UNKNOWN", "unknown field {dat}; did you mean 'date'?"),
        ("{export.__class__}", "NAME_FIELD_UNKNOWN", "{export.__class__}"),
        ("{date[0]}", "NAME_FIELD_UNKNOWN", "{date[0]}"),
        ("{export!r}", "NAME_FIELD_UNKNOWN", "{export!r}"),
        ("{}", "NAME_FIELD_UNKNOWN", "{}"),
        ("{0}", "NAME_FIELD_UNKNOWN", "{0}"),
        ("{date-1w}", "NAME_FIELD_UNKNOWN", "{date-1w}"),
        ("{date - 1d}", "NAME_FIELD_UNKNOWN", "{date - 1d}"),
        ("{date", "NAME_INVALID", "braces do not match"),
        ("date}", "NAME_INVALID", "braces do not match"),
        ("{{date}}", "NAME_INVALID", "a brace cannot be part of a name"),
        ("{date:{export}}", "NAME_INVALID", "inside another"),
        ("{date:%-d}", "NAME_INVALID", "'%-d' is no date format"),
        ("{date:%c}", "NAME_INVALID", "no date format"),
        ("{date:%Y%}", "NAME_INVALID", "no date format"),
        ("{date:today}", "NAME_INVALID", "no date format"),
        ("{date:%Y/%m}", "NAME_INVALID", "it gives '2026/11', and it holds '/'"),
        ("{date:%H:%M}", "NAME_INVALID", "it holds ':'"),
        ("{date-999999999d}", "NAME_INVALID", "longer than 100 years"),
        ("{export-1d}", "NAME_INVALID", "only times take an offset"),
        ("{export:>9}", "NAME_INVALID", "{export} takes no format"),
        ("{part:x}", "NAME_INVALID", "no number format"),
        ("a{part:3d}", "NAME_INVALID", "no number format"),
        ("../a.csv", "NAME_INVALID", "begin with a dot"),
        ("..", "NAME_INVALID", "begin with a dot"),
        ("/a.csv", "NAME_INVALID", "it holds '/'"),
        ("a\\b.csv", "NAME_INVALID", "it holds"),
        ("a\n.csv", "NAME_INVALID", "it holds '\\n'"),
        ("a\u202ecsv", "NAME_INVALID", "it holds '\\u202e'"),
        ("a:b", "NAME_INVALID", "it holds ':'"),
        (" a.csv", "NAME_INVALID", "begin or end with a space"),
        ("a.csv ", "NAME_INVALID", "begin or end with a space"),
        ("", "NAME_INVALID", "it is empty"),
        ("é" * 86, "NAME_INVALID", "longer than 170 bytes"),
    ],
)
def test_a_pattern_that_cannot_give_a_name(pattern: str, code: str, message: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        check_pattern(pattern, key="file.name")
    assert caught.value.type == code and message in caught.value.message()
    with pytest.raises(ExportError) as rendered:
        render(pattern, fields(), key="file.name")
    assert str(rendered.value.code) == code and rendered.value.key == "file.name" and rendered.value.hint


def test_a_name_is_kept_composed() -> None:
    decomposed = unicodedata.normalize("NFD", "é.csv")
    assert len(decomposed) == 6 and render(decomposed, fields(), key="file.name") == "é.csv"


def test_folders() -> None:
    assert render_folder("", fields()) == ""
    assert render_folder("in/{date:%Y}/{export}", fields()) == "in/2026/orders"


@pytest.mark.parametrize("folder", ["/in", "in/", "in//out", "in/../out", "..", ".", "in\\out", "{part}", "C:/in"])
def test_a_folder_never_leaves_the_target(folder: str) -> None:
    with pytest.raises(ExportError) as caught:
        render_folder(folder, fields())
    assert caught.value.code is Code.NAME_INVALID and caught.value.key == "folder"


def test_a_slash_inside_the_braces_of_a_folder_says_how() -> None:
    with pytest.raises(ExportError, match=r"write \{date:%Y\}/\{date:%m\}"):
        render_folder("{date:%Y/%m}", fields())


LITERALS = ["a", "..", ".", "/", "\\", " ", "é", "{", "}", "\0", "\n", "%", "\u0301"]
TIMES = ["{date}", "{since-1d:%H}", "{until+9d:%f}", "{date:/%Y}", "{date: %Y}", "{date-36500d:%Y}"]
PIECES = st.sampled_from([*LITERALS, *TIMES, "{export}", "{run}", "{part:03d}"])
MOMENTS = st.datetimes(timezones=st.just(UTC))


@given(st.lists(PIECES, max_size=8).map("".join) | st.text(max_size=20), MOMENTS, st.none() | MOMENTS, MOMENTS)
def test_the_result_is_one_legal_part_of_a_path_or_an_error(
    pattern: str, logical_time: datetime, since: datetime | None, until: datetime
) -> None:
    filled = NameFields(logical_time, BRUSSELS, since, until, "orders", "9f1c2ab0")
    try:
        name = fill_part(render(pattern, filled, key="file.name"), 1)
    except ExportError as error:
        assert error.code in (Code.NAME_INVALID, Code.NAME_FIELD_UNKNOWN)
        return
    assert name == name.strip() and not name.startswith(".") and 0 < len(name.encode()) <= 170
    assert not set(name) & set("/\\:*?\"<>|{}\0\n'") and name == unicodedata.normalize("NFC", name)


@given(MOMENTS, st.sampled_from(["o_{date:%Y%m%d}_{until:%H}.csv", "{since:%f%j}.csv", "{export}_{run}{part}"]))
def test_a_checked_pattern_gives_a_name_on_any_day(moment: datetime, pattern: str) -> None:
    check_pattern(pattern, key="file.name")
    day = min(max(moment, datetime(1900, 1, 1, tzinfo=UTC)), datetime(9000, 1, 1, tzinfo=UTC))
    assert render(pattern, NameFields(day, BRUSSELS, None, day, "orders", "9f1c2ab0"), key="file.name")
