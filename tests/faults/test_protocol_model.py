"""A model of the drop: whatever dies, is lost, taken or put in the way, each window's bytes are published once.

Real runs on a real ledger and folder, which die in this process before any of their writes; between them everything
happens that may happen to a spool and a target.
"""

from __future__ import annotations

import hashlib
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from consumer import what_was_taken
from crash_stage import CrashStage
from drop_targets import LocalFolder
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from mortal import Life
from story_process import Run

from catalog.errors import Code, ExportError
from catalog.windows import instant

DEATHS = st.none() | st.integers(0, 45)
LATE_DEATHS = st.integers(12, 45)
FOREIGN = b"somebody else's"


class Crash(BaseException):
    """The process is gone: nothing of ours handles it."""


def die() -> None:
    raise Crash


class Drop(RuleBasedStateMachine):
    """One export, its consumer, and everything that can come between them."""

    stage: ClassVar[CrashStage]

    @initialize()
    def begin(self) -> None:
        self.stage.begin()
        self.hour = 0
        self.current = self.stage.run(0)
        self.foreign: set[Path] = set()
        self.moved = self.doubtful = False
        self.other = self.stage.folder / "other"
        self.other.mkdir(exist_ok=True)
        for path in self.other.iterdir():
            path.unlink()
        self._target(self.stage.drop)

    @rule()
    def an_hour_passes(self) -> None:
        self.hour += 1
        self.current = self.stage.run(self.hour)

    @rule(dies_at=DEATHS, again_at=DEATHS, instant_consumer=st.booleans())
    def a_run_dies_and_is_relaunched(self, dies_at: int | None, again_at: int | None, instant_consumer: bool) -> None:
        for death in (dies_at, again_at):
            self._run(self.current, death, instant_consumer)

    @rule(lives=st.lists(st.tuples(LATE_DEATHS, st.booleans()), min_size=1, max_size=4))
    def a_run_dies_again_and_again_while_its_target_moves(self, lives: list[tuple[int, bool]]) -> None:
        for dies_at, moves in lives:
            self._run(self.current, dies_at, instant_consumer=True)
            if moves:
                self.the_target_moves()

    @rule()
    def the_consumer_takes(self) -> None:
        self._take()

    @rule()
    def the_spool_is_lost(self) -> None:
        self.stage.lose_spool()

    @precondition(lambda self: self._awaited_names())
    @rule(data=st.data())
    def a_foreign_file_appears(self, data: st.DataObject) -> None:
        path = self._where() / data.draw(st.sampled_from(self._awaited_names()))
        if not path.exists():
            path.write_bytes(FOREIGN)
            self.foreign.add(path)

    @precondition(lambda self: self.foreign)
    @rule()
    def the_foreign_files_go(self) -> None:
        for path in self.foreign:
            path.unlink()
        self.foreign = set()

    @rule()
    def the_target_moves(self) -> None:
        self.moved = not self.moved
        self.doubtful = True
        self._target(self.other if self.moved else self.stage.drop)

    @rule(clean_up=st.booleans())
    def a_day_passes(self, clean_up: bool) -> None:
        self.doubtful = True
        with closing(sqlite3.connect(self.stage.ledger_file)) as connection, connection:
            columns = [row[1] for row in connection.execute("PRAGMA table_info(delivery)")]
            for column in {"updated_at", "publishing_at"}.intersection(columns):
                then = instant(datetime.now(UTC) - timedelta(hours=25))
                connection.execute(
                    f"UPDATE delivery SET {column} = ? WHERE state IN ('PUBLISHING', 'AMBIGUOUS')", [then]
                )
        if clean_up:
            for folder in self._folders():
                for path in folder.glob(".*.part"):
                    path.unlink()

    @invariant()
    def nothing_is_torn_doubled_or_overwritten(self) -> None:
        recorded = self._recorded()
        published = [(file.name, file.sha256) for file in what_was_taken(self.stage.taken)]
        for path in (found for folder in self._folders() for found in folder.glob("[!.]*")):
            if path in self.foreign:
                assert path.read_bytes() == FOREIGN, "a foreign file was overwritten"
            else:
                published.append((path.name, hashlib.sha256(path.read_bytes()).hexdigest()))
        names = [name for name, _ in published]
        assert len(names) == len(set(names)), "a window was published twice"
        for name, digest in published:
            assert recorded[name][0] == digest, "what was published is not what was extracted"
        committed = {name for name, (_, state) in recorded.items() if state == "COMMITTED"}
        assert committed <= set(names), "committed, but never published"

    def teardown(self) -> None:
        """Whatever stood in the way is gone: the rest is delivered, unless a person has to say."""
        if not hasattr(self, "current"):
            return
        self.the_foreign_files_go()
        self._target(self.stage.drop)
        self.moved = False
        self.an_hour_passes()
        if self._run(self.current, None, instant_consumer=False) is None:
            self.nothing_is_torn_doubled_or_overwritten()
            names = {file.name for file in what_was_taken(self.stage.taken)}
            names |= {path.name for folder in self._folders() for path in folder.glob("[!.]*")}
            assert set(self._recorded()) <= names and not self._awaited_names(), "not everything was delivered"

    def _run(self, run: Run, dies_at: int | None, instant_consumer: bool) -> Code | None:
        """The code it stopped with, which must be one that has its cause."""
        meanwhile = self._take if instant_consumer else lambda: None
        try:
            with Life(self.stage.folder, dies_at, die, meanwhile):
                run.deliver()
        except Crash:
            return None
        except ExportError as error:
            causes = {Code.FILE_EXISTS: self.foreign, Code.FILE_FOREIGN: self.foreign or self.doubtful}
            assert causes.get(error.code, self.doubtful and error.code is Code.PUBLICATION_UNKNOWN), str(error)
            return error.code
        return None

    def _take(self) -> None:
        hidden = {path: path.rename(path.with_name(f".{path.name}.foreign")) for path in self.foreign}
        for folder in self._folders():
            self.stage.consume(folder)
        for path, aside in hidden.items():
            aside.rename(path)

    def _folders(self) -> tuple[Path, Path]:
        return self.stage.drop, self.other

    def _where(self) -> Path:
        return self.other if self.moved else self.stage.drop

    def _target(self, folder: Path) -> None:
        self.stage.workshop.target("drop", str(folder))

    def _recorded(self) -> dict[str, tuple[str, str]]:
        """Digest and state of every extracted file, by name."""
        with closing(sqlite3.connect(self.stage.ledger_file)) as connection:
            query = "SELECT name, sha256, state FROM extraction JOIN delivery USING (window, part)"
            return {name: (digest, state) for name, digest, state in connection.execute(query)}

    def _awaited_names(self) -> list[str]:
        """The names of the windows that are outstanding."""
        query = "SELECT file_name FROM window JOIN delivery ON id = window WHERE state NOT IN ('COMMITTED', 'EMPTY')"
        with closing(sqlite3.connect(self.stage.ledger_file)) as connection:
            return sorted(name for (name,) in connection.execute(query))


@contextmanager
def model_stage() -> Iterator[None]:
    """The stage on which the model plays, for as long as the block runs."""
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        memory = Path("/dev/shm")
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None))
        for name in ("EXPORTS_CATALOG", "EXPORTS_LEDGER", "EXPORTS_SPOOL"):
            patch.setenv(name, "")
        Drop.stage = CrashStage(Path(folder), LocalFolder(), stack)
        yield


@pytest.fixture(scope="module", autouse=True)
def stage() -> Iterator[None]:
    with model_stage():
        yield


TestDrop = Drop.TestCase
