"""What only the whole catalog shows: exports and runs that would write one another's file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from catalog.check import check_catalog
from catalog.errors import Code
from catalog.load import load_catalog
from catalog.problem import Problem

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for kind in ("exports", "databases", "targets"):
        (tmp_path / kind).mkdir()
    (tmp_path / "databases" / "crm.yaml").write_text("url: sqlite://\n")
    for name, url in (("drop", "/drop"), ("same", "/drop"), ("other", "/other")):
        (tmp_path / "targets" / f"{name}.yaml").write_text(f"url: {url}\n")
    return tmp_path


def write(root: Path, export_id: str, **keys: Any) -> None:
    content: dict[str, Any] = {
        "name": export_id,
        "type": "periodic_full",
        "database": "crm",
        "table": "t",
        "target": "drop",
    }
    content = {**content, "file": {"name": f"{export_id}.csv"}, **keys}
    text = yaml.safe_dump({key: value for key, value in content.items() if value is not None}, sort_keys=False)
    (root / "exports" / f"{export_id}.yaml").write_text(text)


def incremental(root: Path, name: str, cron: str, timezone: str = "UTC", **keys: Any) -> None:
    schedule = {"cron": cron, "timezone": timezone}
    kind = {"type": "incremental", "cursor": {"column": "x"}, "file": {"name": name}, "schedule": schedule}
    write(root, "orders", **{**kind, **keys})


def check(
    folder: Path, now: datetime = NOW, *, activating: bool = False, ids: list[str] | None = None
) -> list[Problem]:
    return check_catalog(load_catalog(folder), now, activating=activating, ids=ids)


def test_two_exports_of_one_name(folder: Path) -> None:
    for export_id, name in (("a", "Orders"), ("b", "orders"), ("c", "Others")):
        write(folder, export_id, name=name)
    first, second = check(folder)
    assert {first.code, second.code} == {Code.DEFINITION_DUPLICATE} and first.severity == second.severity == "error"
    assert "exports/a.yaml" in first.message and "exports/b.yaml" in first.message
    assert (first.export, first.file, first.line, first.key) == ("a", "exports/a.yaml", 1, "name")


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ({}, {}, True),
        ({"target": "same"}, {}, True),
        ({"target": "other"}, {}, False),
        ({"folder": "in"}, {}, False),
        ({"folder": "in", "file": {"name": "o.csv"}}, {"folder": "inn"}, False),
        ({"folder": "2026"}, {"folder": "{date:%Y}"}, True),
        ({"file": {"name": "o{export}.csv"}}, {"file": {"name": "o{export}.csv"}}, False),
        ({"file": {"name": "o{run}.csv"}}, {"file": {"name": "o{run}.csv"}}, False),
        ({"file": {"name": "o_1.csv"}}, {"file": {"name": "o_{part}.csv", "max_rows": 5}}, True),
        ({"type": "one_shot", "target": None}, {"type": "one_shot", "target": None}, True),
        ({"type": "one_shot", "target": None}, {}, False),
    ],
)
def test_two_exports_on_one_path(folder: Path, one: dict[str, Any], other: dict[str, Any], collide: bool) -> None:
    write(folder, "one", **{"file": {"name": "o.csv"}, **one})
    write(folder, "other", **{"file": {"name": "o.csv"}, **other})
    for activating in (False, True):
        problems = [found for found in check(folder, activating=activating) if found.code is Code.DEFINITION_DUPLICATE]
        assert len(problems) == (2 if collide else 0)
        assert {problem.severity for problem in problems} <= {"error" if activating else "warning"}
        assert all("one" in found.message and "other" in found.message for found in problems)


@pytest.mark.parametrize(
    ("name", "cron", "collide"),
    [
        ("o_{date:%Y%m%d}.csv", "0 2 * * *", None),
        ("o_{date:%Y%m%d}.csv", "0 2,14 * * *", "2026-11-24 02:00 UTC and 2026-11-24 14:00 UTC"),
        ("o_{date:%Y%m%d%H}.csv", "*/30 * * * *", "2026-11-23 13:00 UTC and 2026-11-23 13:30 UTC"),
        ("o_{date:%Y%m%d%H%M}.csv", "*/30 * * * *", None),
        ("o_{date:%d}.csv", "0 2 * * *", "2026-11-24 02:00 UTC and 2026-12-24 02:00 UTC"),
        ("o_{date:%m%d}.csv", "0 2 * * *", "2026-11-24 02:00 UTC and 2027-11-24 02:00 UTC"),
        ("o.csv", "0 2 1 * *", "2026-12-01 02:00 UTC and 2027-01-01 02:00 UTC"),
        ("o_{run}.csv", "* * * * *", None),
        ("o_{until:%Y%m%d%H%M}.csv", "* * * * *", None),
        ("o_{since:%Y%m%d}_{until:%Y%m%d}.csv", "0 2 * * *", None),
        ("o_{since:%Y%m%d}.csv", "0 2,14 * * *", "2026-11-24 14:00 UTC and 2026-11-25 02:00 UTC"),
    ],
)
def test_a_schedule_finer_than_the_date_pattern(folder: Path, name: str, cron: str, collide: str | None) -> None:
    incremental(folder, name, cron)
    assert [problem.code for problem in check(folder)] == ([Code.NAME_NOT_UNIQUE] if collide else [])
    for problem in check(folder, activating=True):
        assert problem.severity == "error" and (problem.line, problem.key) == (6, "file")
        assert str(collide) in problem.message and "would both write o" in problem.message


def test_the_folder_is_part_of_the_path(folder: Path) -> None:
    incremental(folder, "o_{date:%H}.csv", "0 * * * *", folder="in/{date:%Y%m%d}")
    assert check(folder) == []


def test_a_full_export_replaces_its_own_file(folder: Path) -> None:
    write(folder, "orders", schedule={"cron": "0 * * * *"})
    assert check(folder, activating=True) == []


@pytest.mark.parametrize(
    ("name", "timezone", "collide"),
    [
        ("o_{date:%Y%m%d%H%M}.csv", "Europe/Brussels", "2027-10-31 02:00 CEST and 2027-10-31 02:00 CET"),
        ("o_{date:%Y%m%d%H%M}.csv", "Australia/Sydney", "2027-04-04 02:00 AEDT and 2027-04-04 02:00 AEST"),
        ("o_{date:%Y%m%d%H%M}.csv", "UTC", None),
        ("o_{date:%Y%m%d%H%M}.csv", "Asia/Tokyo", None),
        ("o_{date:%Y%m%d%H%M%z}.csv", "Europe/Brussels", None),
        ("o_{date:%Y%m%d%H%M}_{run}.csv", "Europe/Brussels", None),
        ("o_{until:%Y%m%d%H%M%z}.csv", "Europe/Brussels", None),
    ],
)
def test_the_hour_that_comes_twice(folder: Path, name: str, timezone: str, collide: str | None) -> None:
    incremental(folder, name, "0 * * * *", timezone)
    problems = check(folder)
    assert [problem.code for problem in problems] == ([Code.NAME_NOT_UNIQUE] if collide else [])
    assert all(str(collide) in found.message and "add %z" in (found.hint or "") for found in problems)


def test_a_nightly_schedule_comes_once_in_that_night(folder: Path) -> None:
    incremental(folder, "o_{date:%Y%m%d%H%M}.csv", "30 2 * * *", "Europe/Brussels")
    assert check(folder) == []


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("2026-11-23T14:00", None),
        ("2026-11-23T12:30", "has passed"),
        ("2026-11-23T12:30:00Z", None),
        ("2027-10-31T02:30", "comes twice in Europe/Brussels"),
        ("2027-10-31T02:30:00+01:00", None),
        ("2027-03-28T02:30", "is skipped in Europe/Brussels"),
    ],
)
def test_the_moment_of_a_one_shot(folder: Path, at: str, message: str | None) -> None:
    write(folder, "orders", type="one_shot", schedule={"at": at, "timezone": "Europe/Brussels"})
    problems = check(folder, activating=True)
    assert len(problems) == (1 if message else 0)
    for problem in problems:
        assert (problem.code, problem.severity) == (Code.SCHEDULE_INVALID, "warning")
        assert str(message) in problem.message and problem.line == 8


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 2 1,15,30 * *", "1 March"),
        ("0 2 1,2,31 * *", "1 March and 2 March"),
        ("0 2 */3 * *", "1 March"),
        ("0 2 1,15,L * *", None),
        ("0 2 31 * *", None),
        ("0 2 * * *", None),
    ],
)
def test_days_on_which_prefect_does_not_start_a_run(folder: Path, cron: str, days: str | None) -> None:
    write(folder, "orders", schedule={"cron": cron})
    problems = check(folder, activating=True)
    assert len(problems) == (1 if days else 0)
    for problem in problems:
        assert (problem.code, problem.severity, problem.line) == (Code.SCHEDULE_INVALID, "warning", 8)
        assert problem.message == f"Prefect does not start the runs of {days}"


@pytest.mark.parametrize("at", ["0001-01-01T00:00", "9999-12-31T23:59"])
def test_a_moment_off_the_calendar_stops_nothing_but_itself(folder: Path, at: str) -> None:
    write(folder, "orders", type="one_shot", schedule={"at": at, "timezone": "America/New_York"})
    (problem,) = check(folder)
    assert (problem.code, problem.key) == (Code.SCHEDULE_INVALID, "schedule.at") and "the years" in problem.message


def test_problems_of_some_exports_alone(folder: Path) -> None:
    for export_id in ("a", "b", "c"):
        write(folder, export_id, name="Orders", file={"name": "o.csv"})
    write(folder, "d", tabel="x")
    assert {problem.export for problem in check(folder)} == {"a", "b", "c", "d"}
    found = check(folder, ids=["b"])
    assert {problem.export for problem in found} == {"b"} and len(found) == 2
    assert [problem.export for problem in check(folder, ids=["d"])] == ["d"]


def test_the_catalog_that_comes_with_the_project_is_sound() -> None:
    assert check(ROOT / "catalog", activating=True) == []
