"""A run in a process of its own, which may die at any moment: the story without Prefect, in a forked child.

The parent has imported everything and holds no connection and no thread: a SQLite connection that is open across a
fork makes committed transactions vanish.
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from plain_run import Told, means

from catalog.definition import Export
from catalog.errors import ExportError
from flows.story import Story
from tasks.ledger import Ledger

DONE, STOPPED, BROKEN = 0, 3, 4
_HANGS_SECONDS = 120
_PAUSE_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """One execution, as Prefect would start it: the same id and logical time again is a relaunch."""

    export: Export
    ledger: Ledger
    id: str
    logical_time: datetime

    def deliver(self) -> None:
        """Do the work in this process. Raises ExportError."""
        tried_again = replace(means(Told()), step=_tried_again)
        Story(self.export, self.ledger, self.id, self.logical_time, tried_again).deliver(None)


def _tried_again(step: Any, export: Export) -> Callable[..., Any]:
    """A step that is tried again as in Prefect, but for the long pauses: a busy machine refuses a login at times."""

    def tried(*arguments: Any, **keys: Any) -> Any:
        for left in reversed(range(export.retries + 1)):
            try:
                return step.fn(*arguments, **keys)
            except ExportError as error:
                if not error.code.tried_again or not left:
                    raise
                time.sleep(_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    return tried


Report = Callable[[bytes], Any]


@dataclass(slots=True)
class Child:
    """A run that was started, and what it has reported: one byte for each step, then the error it ended with."""

    pid: int
    reports: int
    heard: bytes = b""

    def reaches(self, step: bytes) -> bool:
        """Wait until it reports that step; False when it ends before."""
        while step not in self.heard:
            ready, _, _ = select.select([self.reports], [], [], _HANGS_SECONDS)
            assert ready, "a run hangs"
            if not self._hear():
                return False
        return True

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.pid, signal.SIGKILL)

    def ended(self) -> tuple[int, str]:
        """Wait for its end: the exit code (minus the signal that killed it), and the error it ended with."""
        while self._hear():
            pass
        _, status = os.waitpid(self.pid, 0)
        os.close(self.reports)
        return os.waitstatus_to_exitcode(status), self.heard.decode(errors="replace").partition("\n")[2]

    def _hear(self) -> bytes:
        block = os.read(self.reports, 65536)
        self.heard += block
        return block


def start(run: Run, prepare: Callable[[Report], None] = lambda _report: None) -> Child:
    """Fork a child that prepares itself (plants bugs, reports how far it has come) and then does the run's work."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            # Of a connection that was closed just now; a fork would copy its locks, but not the thread.
            thread.join(_HANGS_SECONDS)
    assert threading.active_count() == 1, "a thread is still at work"
    _wait_for_threads_to_rest()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    os.close(reading)
    code = BROKEN
    try:
        prepare(lambda reached: os.write(writing, reached))
        run.deliver()
        code = DONE
    except ExportError as error:
        os.write(writing, f"\n{error}".encode())
        code = STOPPED
    except BaseException:
        os.write(writing, f"\n{traceback.format_exc()}".encode())
    finally:
        os._exit(code)


def _wait_for_threads_to_rest() -> None:
    """One that Python has forgotten may still be ending, with OpenSSL's lock of its threads in its hand.

    Those of libraries' pools stay, asleep, and hold nothing.
    """
    deadline = time.monotonic() + _HANGS_SECONDS
    own = str(threading.get_native_id())
    while any(_state(task) not in "S" for task in Path("/proc/self/task").iterdir() if task.name != own):
        assert time.monotonic() < deadline, "a thread does not end"
        time.sleep(0.001)


def _state(task: Path) -> str:
    try:
        # After the name, which stands in parentheses and may hold any character.
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def assert_nothing_open(folder: Path) -> None:
    """No file below the folder is open in this process, so that forking is safe."""
    for handle in Path("/proc/self/fd").iterdir():
        try:
            target = handle.readlink()
        except OSError:
            continue
        assert folder not in target.parents, f"{target} is open across a fork"
