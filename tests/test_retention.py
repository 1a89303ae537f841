"""`keep`: an export's own older files go, with what goes with them, and nobody else's file ever does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from ledgers import a_run
from plain_run import Ran, run_plainly
from sqlalchemy import update
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import State
from tasks.ledger import tables
from tasks.ledger.connection import writing
from tasks.publish.local import LocalPublisher

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def export_id(workshop: Workshop) -> str:
    workshop.sqlite()
    return define(workshop)


def define(workshop: Workshop, export_id: str | None = None, **file: Any) -> str:
    named = {"name": "{export}_{date:%d}.csv", "keep": "5d", **file}
    return workshop.export(export_id, columns=["id"], folder="out/{date:%Y}", file=named)


def run(workshop: Workshop, export_id: str, day: int, days_ago: float = 0) -> Ran:
    """The run of that day of March, delivered as long ago as that."""
    ran = run_plainly(workshop, export_id, NOON + day * DAY)
    if days_ago:
        age(workshop, ran, days_ago)
    return ran


def age(workshop: Workshop, ran: Ran, days: float) -> None:
    then = (datetime.now(UTC) - days * DAY).isoformat(timespec="microseconds")
    own = update(tables.delivery).filter_by(committed_by=ran.run_id)
    with writing(workshop.ledger.engine, lock="test") as connection:
        connection.execute(own.values(updated_at=then))


def names(workshop: Workshop) -> list[str]:
    return sorted(Path(name).name for name in workshop.files())


def test_what_is_older_goes_after_the_next_delivery(workshop: Workshop, export_id: str) -> None:
    first, second = run(workshop, export_id, 0), run(workshop, export_id, 1)
    age(workshop, first, 5.1)
    age(workshop, second, 4.9)
    assert len(workshop.files()) == 2
    last = run(workshop, export_id, 2)
    assert names(workshop) == [f"{export_id}_02.csv", f"{export_id}_03.csv"]
    assert any("removed 1 files from drop" in line for line in last.told.lines) and not last.told.warnings


def test_without_keep_nothing_goes(workshop: Workshop, export_id: str) -> None:
    define(workshop, export_id, keep=None)
    run(workshop, export_id, 0, days_ago=1000)
    run(workshop, export_id, 1)
    assert len(workshop.files()) == 2


def test_what_goes_with_it_goes_too_and_the_marker_first(workshop: Workshop, export_id: str) -> None:
    define(workshop, export_id, name="o_{date:%d}_{part}.csv", max_rows=2, manifest=True, checksum="sha256", done=True)
    run(workshop, export_id, 0, days_ago=6)
    assert len(workshop.files()) == 6
    gone: list[str] = []
    remove = LocalPublisher.remove

    def noted(self: LocalPublisher, folder: str, name: str) -> None:
        remove(self, folder, name)
        gone.append(name)

    with mock.patch.object(LocalPublisher, "remove", noted):
        run(workshop, export_id, 1)
    first, second = "o_01_1.csv", "o_01_2.csv"
    marks = [f"{first}.done", f"{first}.manifest.json", f"{second}.sha256", f"{first}.sha256"]
    assert gone == [*marks, second, first]
    assert len(workshop.files()) == 6 and not any(name.startswith("o_01") for name in names(workshop))


def test_nobody_elses_file_goes(workshop: Workshop, export_id: str) -> None:
    """Another export's, a stranger's, and one that somebody wrote in the place of ours."""
    other = define(workshop, workshop.id("other"), keep=None)
    run(workshop, other, 0, days_ago=100)
    for ran in [run(workshop, export_id, day) for day in (0, 1)]:
        age(workshop, ran, 50)
    changed = workshop.drop / "out" / "2026" / f"{export_id}_01.csv"
    changed.write_bytes(changed.read_bytes().replace(b"3", b"4"))
    (workshop.drop / "out" / "2026" / "stranger.csv").write_text("id\n")
    last = run(workshop, export_id, 2)
    assert names(workshop) == sorted([changed.name, f"{export_id}_03.csv", f"{other}_01.csv", "stranger.csv"])
    assert any(changed.name in warning and "other bytes" in warning for warning in last.told.warnings)
    assert not run(workshop, export_id, 3).told.warnings, "it is said once"
    assert changed.exists()


def test_a_file_that_replaced_an_older_one_stays(workshop: Workshop, export_id: str) -> None:
    """The same name and the same bytes, delivered long ago and just now."""
    define(workshop, export_id, name="{export}.csv")
    run(workshop, export_id, 0, days_ago=6)
    for day in (1, 2):
        run(workshop, export_id, day)
        assert names(workshop) == [f"{export_id}.csv"]


def test_each_file_is_looked_at_once(workshop: Workshop, export_id: str) -> None:
    """One that was removed, and one that its consumer took."""
    for ran in [run(workshop, export_id, day) for day in (0, 1)]:
        age(workshop, ran, 6)
    (workshop.drop / "out" / "2026" / f"{export_id}_01.csv").unlink()
    run(workshop, export_id, 2)
    files = [file for entry in workshop.json("ledger", export_id) for file in entry["files"]]
    assert [file["cleared_at"] is not None for file in files] == [False, True, True]
    assert {file["state"] for file in files} == {"COMMITTED"}
    looked: list[str] = []
    stat = LocalPublisher.stat

    def noted(self: LocalPublisher, folder: str, name: str) -> Any:
        looked.append(name)
        return stat(self, folder, name)

    with mock.patch.object(LocalPublisher, "stat", noted):
        run(workshop, export_id, 3)
    assert not {f"{export_id}_01.csv", f"{export_id}_02.csv"} & set(looked)


def test_a_failure_is_a_warning_and_tried_again(workshop: Workshop, export_id: str) -> None:
    run(workshop, export_id, 0, days_ago=6)

    def denied(self: LocalPublisher, folder: str, name: str) -> None:
        raise ExportError(Code.TARGET_DENIED, "no right to remove", "ask for it")

    with mock.patch.object(LocalPublisher, "remove", denied):
        ran = run(workshop, export_id, 1)
    window = workshop.ledger.window_of_run(ran.run_id)
    assert window is not None and window.state is State.COMMITTED
    assert any("TARGET_DENIED" in warning for warning in ran.told.warnings)
    assert len(workshop.files()) == 2
    run(workshop, export_id, 2)
    assert names(workshop) == [f"{export_id}_02.csv", f"{export_id}_03.csv"]


def test_each_target_has_its_own(workshop: Workshop, export_id: str) -> None:
    """One that is away keeps its files until it gets the next; the other does not wait."""
    second = workshop.folder / "second"
    second.mkdir()
    workshop.target("second", str(second))
    file = {"name": "{export}_{date:%d}.csv", "keep": "5d"}
    workshop.export(export_id, columns=["id"], file=file, target=["drop", "second"])
    run(workshop, export_id, 0, days_ago=6)
    second.rename(workshop.folder / "away")
    run_id = a_run()
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, NOON + DAY, run_id)
    (workshop.folder / "away").rename(second)
    assert names(workshop) == [f"{export_id}_02.csv"]
    assert [path.name for path in second.iterdir()] == [f"{export_id}_01.csv"]
    run_plainly(workshop, export_id, NOON + DAY, run_id)
    assert [path.name for path in second.iterdir()] == [f"{export_id}_02.csv"]


def test_another_place_under_the_targets_name_is_left_alone(workshop: Workshop, export_id: str) -> None:
    run(workshop, export_id, 0, days_ago=6)
    moved = workshop.folder / "moved"
    moved.mkdir()
    (moved / "out" / "2026").mkdir(parents=True)
    twin = moved / "out" / "2026" / f"{export_id}_01.csv"
    twin.write_bytes((workshop.drop / "out" / "2026" / twin.name).read_bytes())
    workshop.target("drop", str(moved))
    run(workshop, export_id, 1)
    assert twin.exists() and len(workshop.files()) == 1
