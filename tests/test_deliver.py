"""A delivery that is cut off anywhere goes on where it stood: each file arrives once, and whole."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
from ledgers import a_run, allotted, full, hour, incremental, spooled
from sqlalchemy import update

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import State, Window, instant
from tasks import deliver, spool
from tasks.deliver import Parcel
from tasks.ledger import Ledger, Turn, tables
from tasks.ledger.connection import writing
from tasks.publish import Publisher
from tasks.publish.local import LocalPublisher

SENT = (State.PUBLISHING, State.AMBIGUOUS)
PARTS = (b"id\n1\n", b"id\n2\n")


class Crash(BaseException):
    """The process is gone: nothing of ours handles it."""


class Watched:
    """Ledger and publisher behind one counter: the process dies before the call of that number."""

    def __init__(self, crash_at: int | None, after_each: Callable[[], None]) -> None:
        self.crash_at, self.after_each, self.calls = crash_at, after_each, 0

    def around(self, part: Any) -> Any:
        watched = self

        class Around:
            def __getattr__(self, name: str) -> Any:
                found = getattr(part, name)
                return watched._counted(found) if callable(found) else found

        return Around()

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keys: Any) -> Any:
            if self.calls == self.crash_at:
                raise Crash
            self.calls += 1
            result = function(*arguments, **keys)
            self.after_each()
            return result

        return call


class World:
    """One export's ledger, spool and drop folder, and a consumer who may take each file at once."""

    def __init__(self, folder: Path, export: Export) -> None:
        self.folder, self.export, self.run_id = folder, export, a_run()
        self.url = f"sqlite:///{folder / 'ledger.sqlite'}"
        self.drop = folder / "drop"
        self.drop.mkdir()
        self.taken: list[bytes] = []

    def run(self, crash_at: int | None = None, *, consumer: bool = False) -> int:
        """What a run does with its window, or what is left of it; returns how many calls that took."""
        watched = Watched(crash_at, self.take if consumer else lambda: None)
        plain = Ledger(self.url)
        ledger, publisher = cast(Ledger, watched.around(plain)), cast(Publisher, watched.around(self.publisher()))
        window = allotted(plain, self.export, hour(0), self.run_id)
        with self.turn() as own:
            turn = cast(Turn, watched.around(own))
            if window.state not in SENT and not spool.stands(ledger.extracted(window.id)):
                turn.record_extracted(window, spooled(self.folder / "spool", window, *PARTS))
            for parcel in deliver.parcels(ledger, window):
                replace = deliver.may_replace(ledger, self.export, publisher, parcel)
                parcel = deliver.upload(ledger, turn, publisher, parcel)
                deliver.publish(turn, publisher, parcel, replace=replace)
                deliver.commit(turn, parcel)
        return watched.calls

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """A turn of this world's run; worlds that share an export's name do not share what was seen of a ledger."""
        with (
            mock.patch.dict(os.environ, EXPORTS_SPOOL=str(self.folder / "marks")),
            Ledger(self.url).take_turn(self.export.id, self.run_id, wait_seconds=0) as turn,
        ):
            yield turn

    def publisher(self) -> LocalPublisher:
        return LocalPublisher(self.drop)

    def take(self) -> None:
        for path in sorted(self.drop.rglob("[!.]*")):
            if path.is_file():
                self.taken.append(path.read_bytes())
                path.unlink()

    def standing(self) -> list[bytes]:
        return [path.read_bytes() for path in sorted(self.drop.rglob("*")) if path.is_file()]

    def window(self) -> Window:
        found = Ledger(self.url).window_of_run(self.run_id)
        assert found is not None
        return found


def in_parts(**keys: Any) -> Export:
    return incremental(file={"name": "orders_{date}_{part}.csv", "max_rows": 1, **keys}, folder="in")


@pytest.mark.parametrize("consumer", [False, True], ids=["kept", "taken at once"])
@pytest.mark.parametrize("conflict", ["fail", "replace"])
def test_a_crash_anywhere_neither_loses_nor_repeats_nor_halves_a_file(
    tmp_path: Path, conflict: str, consumer: bool
) -> None:
    (tmp_path / "whole").mkdir()
    calls = World(tmp_path / "whole", in_parts(conflict=conflict)).run()
    assert calls > 15
    for crash_at in range(calls):
        (tmp_path / str(crash_at)).mkdir()
        world = World(tmp_path / str(crash_at), in_parts(conflict=conflict))
        with pytest.raises(Crash):
            world.run(crash_at, consumer=consumer)
        assert set(world.taken) <= set(PARTS)
        with contextlib.suppress(Crash):
            # It may die once more, a little further on.
            world.run(3, consumer=consumer)
        world.run(consumer=consumer)
        assert (world.taken if consumer else world.standing()) == list(PARTS), f"crash before call {crash_at}"
        assert (world.standing() == []) is consumer and world.window().state is State.COMMITTED
        files = Ledger(world.url).delivered_by_run(world.run_id)
        assert [file.path for file in files] == [str(world.drop / "in" / file.name) for file in files]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return publishing(tmp_path, incremental(file={"name": "orders.csv"}))


def publishing(folder: Path, export: Export) -> World:
    """A delivery that was cut off between its record of PUBLISHING and the rename."""
    world = extracted(folder, export)
    upload(world)
    return world


def upload(world: World) -> Parcel:
    with world.turn() as turn:
        return deliver.upload(Ledger(world.url), turn, world.publisher(), parcel_of(world))


def extracted(folder: Path, export: Export) -> World:
    """A delivery that was cut off before its upload."""
    world, ledger = World(folder, export), Ledger(f"sqlite:///{folder / 'ledger.sqlite'}")
    window = allotted(ledger, export, hour(0), world.run_id)
    with world.turn() as turn:
        turn.record_extracted(window, spooled(folder / "spool", window, PARTS[0]))
    return world


def parcel_of(world: World) -> Parcel:
    (parcel,) = deliver.parcels(Ledger(world.url), world.window())
    return parcel


def temp_of(world: World) -> Path:
    return world.drop / parcel_of(world).temp_name


def test_the_temp_name_stands_hidden_beside_the_final_one(world: World) -> None:
    (path,) = world.drop.iterdir()
    assert re.fullmatch(rf"\.orders\.csv\.{world.window().id}\.[0-9a-f]{{8}}\.part", path.name)
    assert path.read_bytes() == PARTS[0]


def test_each_upload_has_a_name_of_its_own_and_removes_what_the_last_one_left(tmp_path: Path) -> None:
    """What a dead upload asked of a server may be done late: it must not meet the next one's file."""
    world, names = extracted(tmp_path, incremental(file={"name": "orders.csv"})), []

    class Dying(LocalPublisher):
        def put(self, local: Path, folder: str, temp_name: str) -> None:
            super().put(local, folder, temp_name)
            names.append(temp_name)
            raise Crash

    for _ in range(2):
        with pytest.raises(Crash), world.turn() as turn:
            deliver.upload(Ledger(world.url), turn, Dying(world.drop), parcel_of(world))
        assert [path.name for path in world.drop.iterdir()] == names[-1:]
    assert len(set(names)) == 2
    world.run()
    assert [path.name for path in world.drop.iterdir()] == ["orders.csv"]


def test_temp_there_final_not_there_is_published(world: World) -> None:
    world.run()
    assert [path.name for path in world.drop.iterdir()] == ["orders.csv"] and world.standing() == [PARTS[0]]


def test_temp_there_final_ours_is_finished(world: World) -> None:
    (world.drop / "orders.csv").hardlink_to(temp_of(world))
    world.run()
    assert [path.name for path in world.drop.iterdir()] == ["orders.csv"] and world.standing() == [PARTS[0]]


def test_temp_there_final_anothers_is_refused(world: World) -> None:
    # As long as ours, so that only the hash tells them apart.
    (world.drop / "orders.csv").write_bytes(b"id\n9\n")
    assert decided_by_a_person(world) is Code.FILE_EXISTS
    assert temp_of(world).exists()
    (world.drop / "orders.csv").unlink()
    world.run()
    assert world.standing() == [PARTS[0]]


def test_temp_gone_final_ours_is_committed(world: World) -> None:
    temp_of(world).rename(world.drop / "orders.csv")
    world.run()
    assert world.window().state is State.COMMITTED and world.standing() == [PARTS[0]]


def test_temp_gone_final_gone_was_taken(world: World) -> None:
    temp_of(world).unlink()
    world.run()
    assert world.window().state is State.COMMITTED and world.standing() == []


@pytest.mark.parametrize("age", [timedelta(hours=25), -timedelta(hours=25)], ids=["old", "of a clock set back"])
def test_temp_gone_final_gone_for_a_day_cannot_be_known(world: World, age: timedelta) -> None:
    temp_of(world).unlink()
    with writing(Ledger(world.url).engine, lock="orders") as connection:
        then = instant(datetime.now(UTC) - age)
        connection.execute(update(tables.delivery).values(publishing_at=then))
    assert decided_by_a_person(world) is Code.PUBLICATION_UNKNOWN


def test_temp_gone_final_gone_on_another_target_cannot_be_known(world: World) -> None:
    world.drop = world.folder / "moved"
    world.drop.mkdir()
    assert decided_by_a_person(world) is Code.PUBLICATION_UNKNOWN


def test_a_temp_on_another_target_says_nothing(tmp_path: Path) -> None:
    """An upload that was cut off there left it, before the target was another and the file was published and taken."""
    world = extracted(tmp_path, incremental(file={"name": "orders.csv"}))
    (tmp_path / "moved").mkdir()
    upload(world)
    (tmp_path / "moved" / temp_of(world).name).write_bytes(PARTS[0])
    temp_of(world).unlink()
    world.drop = tmp_path / "moved"
    assert decided_by_a_person(world) is Code.PUBLICATION_UNKNOWN
    world.drop = tmp_path / "drop"
    world.run()
    assert world.window().state is State.COMMITTED and world.standing() == []


def test_temp_gone_final_anothers_is_foreign(world: World) -> None:
    temp_of(world).unlink()
    (world.drop / "orders.csv").write_bytes(b"id\n9\n")
    assert decided_by_a_person(world) is Code.FILE_FOREIGN


def decided_by_a_person(world: World) -> Code:
    """The code with which the run stops, having changed nothing."""
    before = {path.name: path.read_bytes() for path in world.drop.iterdir()}
    with pytest.raises(ExportError) as caught:
        world.run()
    assert str(world.drop / "orders.csv") in caught.value.message and not caught.value.code.relaunchable
    assert {path.name: path.read_bytes() for path in world.drop.iterdir()} == before
    known = caught.value.code is Code.FILE_EXISTS
    assert world.window().state is (State.PUBLISHING if known else State.AMBIGUOUS)
    return caught.value.code


def test_a_folder_that_is_not_there_proves_nothing(tmp_path: Path) -> None:
    world = publishing(tmp_path, incremental(file={"name": "orders.csv"}, folder="in"))
    shutil.rmtree(world.drop / "in")
    with pytest.raises(ExportError) as caught:
        world.run()
    assert caught.value.code is Code.TARGET_DENIED and str(world.drop / "in") in caught.value.message
    assert world.window().state is State.PUBLISHING
    (world.drop / "in").mkdir()
    world.run()
    assert world.window().state is State.COMMITTED


def test_what_upload_returns_is_what_the_witness_rule_asks(tmp_path: Path) -> None:
    """Within one run too: a rename whose answer was lost, and whose file was taken, is found to be done."""
    world = extracted(tmp_path, incremental())
    uploaded = upload(world)
    temp_of(world).unlink()
    with world.turn() as turn:
        deliver.publish(turn, world.publisher(), uploaded, replace=False)
    assert uploaded.delivery == parcel_of(world).delivery


def test_damaged_spool_bytes_are_never_sent(tmp_path: Path) -> None:
    world = extracted(tmp_path, incremental())
    parcel_of(world).file.path.write_bytes(b"id\n9")
    with pytest.raises(ExportError) as caught:
        upload(world)
    assert caught.value.code is Code.SPOOL_DAMAGED and world.standing() == []
    assert world.window().state is State.EXTRACTED


def test_a_full_export_replaces_its_own_earlier_file_and_nobody_elses(tmp_path: Path) -> None:
    world = World(tmp_path, full(file={"name": "orders_{part}.csv", "max_rows": 1}))
    (world.drop / "orders_1.csv").write_bytes(b"somebody else's")
    assert decided(world) is Code.FILE_EXISTS and world.standing()[-1] == b"somebody else's"
    (world.drop / "orders_1.csv").unlink()
    world.run()
    for path in world.drop.iterdir():
        path.write_bytes(b"yesterday's")
    world.run_id = a_run()
    world.run()
    assert world.standing() == list(PARTS)


def test_rows_that_have_not_changed_are_dropped_anew_by_a_full_export(tmp_path: Path) -> None:
    world = World(tmp_path, full(file={"name": "orders_{part}.csv", "max_rows": 1}))
    world.run()
    before = {path.name: path.stat().st_ino for path in world.drop.iterdir()}
    world.run_id = a_run()
    world.run()
    after = {path.name: path.stat().st_ino for path in world.drop.iterdir()}
    assert before.keys() == after.keys() and not set(before.values()) & set(after.values())


def decided(world: World) -> Code:
    with pytest.raises(ExportError) as caught:
        world.run()
    return caught.value.code


def test_an_incremental_export_replaces_others_files_only_when_told(tmp_path: Path) -> None:
    for conflict in ("fail", "replace"):
        folder = tmp_path / conflict
        folder.mkdir()
        world = World(folder, in_parts(conflict=conflict))
        (world.drop / "in").mkdir()
        (world.drop / "in" / "orders_20260301_1.csv").write_bytes(b"somebody else's")
        if conflict == "fail":
            assert decided(world) is Code.FILE_EXISTS
        else:
            world.run()
            assert world.standing() == list(PARTS)
