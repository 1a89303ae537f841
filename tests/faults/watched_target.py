"""A target, the proxy before its server, and somebody who watches it, in a process of their own: a proof forks.

It is told what to do by lines on stdin, and answers each by one on stdout; it ends with stdin.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from watched_places import TARGETS, Target


@dataclass(frozen=True, slots=True)
class Look:
    """What the watcher knows.

    `seen` is every name and size that a consumer could see at any moment since it was last asked; `standing` and
    `taken` are the names and digests of what stands there now, and of what was taken since the target was empty; `left`
    is what no consumer sees and should not be there after a run; `was_cut` says whether a connection has been cut.
    """

    was_cut: bool
    seen: list[tuple[str, int]]
    standing: list[tuple[str, str]]
    taken: list[tuple[str, str]]
    left: list[str]


class Watched:
    """The other side of the process: what a proof asks of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        facts = self._answer()
        #: The target's URL, through the proxy, and its options.
        self.url: str = facts["url"]
        self.options: dict[str, Any] = facts["options"]

    def passed(self) -> tuple[int, int]:
        """Bytes that have gone to the server and to the client so far."""
        to_server, to_client = self._ask(do="passed")
        return to_server, to_client

    def arm(self, how: str, direction: str, after: int, *, pid: int, passes: bool) -> None:
        """`kill` that process, or `reset` or `half-close` its connections, when so many more bytes have passed."""
        self._ask(do="arm", how=how, direction=direction, after=after, pid=pid, passes=passes)

    def consume(self, is_at_work: bool) -> None:
        """From now on a consumer takes every file as soon as it appears, or leaves it."""
        self._ask(do="consume", is_at_work=is_at_work)

    def look(self) -> Look:
        """Heal the network; what has been seen, and what there is now."""
        found = self._ask(do="look")
        pairs = {name: [tuple(pair) for pair in found[name]] for name in ("seen", "standing", "taken")}
        return Look(was_cut=found["was_cut"], left=found["left"], **pairs)

    def clear(self) -> None:
        """The target is empty again."""
        self._ask(do="clear")

    def _ask(self, **command: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def watched(protocol: str, folder: Path) -> Iterator[Watched]:
    """A target of that protocol for as long as the block runs; the folder is what it may use."""
    command = [sys.executable, __file__, protocol, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Watched(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(30)


@dataclass
class _Watcher:
    """Looks without end, in a thread of its own."""

    target: Target
    takes: bool = False
    seen: set[tuple[str, int]] = field(default_factory=set)
    taken: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    is_over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Until it is over."""
        while not self.is_over.wait(self.target.pause_seconds):
            with self.lock:
                self.look()

    def look(self) -> None:
        """See what a consumer sees now, and take it if he does."""
        for name, size in self.target.place.sizes().items():
            self.seen.add((name, size))
            if self.takes:
                self.taken.append((name, _digest(self.target.place.take(name))))

    def commands(self) -> dict[str, Callable[..., Any]]:
        """What can be asked."""
        return {
            "passed": self._passed,
            "arm": self._arm,
            "consume": self._consume,
            "look": self._look,
            "clear": self._clear,
        }

    def _passed(self) -> list[int]:
        proxy = self.target.proxy
        return [0, 0] if proxy is None else [proxy.passed["to server"], proxy.passed["to client"]]

    def _arm(self, how: Any, direction: Any, after: int, pid: int, passes: bool) -> None:
        proxy = self.target.proxy
        assert proxy is not None
        if how == "kill":
            proxy.at(direction, after, lambda: os.kill(pid, signal.SIGKILL))
        else:
            proxy.fail(how, direction, after, passes=passes)

    def _consume(self, is_at_work: bool) -> None:
        with self.lock:
            self.takes = is_at_work

    def _look(self) -> dict[str, Any]:
        proxy = self.target.proxy
        was_cut = proxy is not None and proxy.cuts > 0
        if proxy is not None:
            proxy.heal()
            proxy.cuts = 0
        with self.lock:
            self.look()
            standing = [(name, _digest(self.target.place.read(name))) for name in self.target.place.sizes()]
            found = {"was_cut": was_cut, "seen": sorted(self.seen), "standing": standing, "taken": self.taken}
            self.seen = set()
            return {**found, "left": self.target.place.left()}

    def _clear(self) -> None:
        with self.lock:
            self.target.place.clear()
            self.seen, self.taken = set(), []


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main(protocol: str, folder: Path) -> None:
    """Do what stdin says, until it ends."""
    with TARGETS[protocol](folder) as target:
        watcher = _Watcher(target)
        thread = threading.Thread(target=watcher.watch, daemon=True)
        print(json.dumps({"url": target.url, "options": target.options}), flush=True)
        thread.start()
        for line in sys.stdin:
            command = json.loads(line)
            print(json.dumps(watcher.commands()[command.pop("do")](**command)), flush=True)
        watcher.is_over.set()
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
