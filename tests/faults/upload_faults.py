"""Uploads that are cut at any byte: `python tests/faults/upload_faults.py --target sftp --faults 200 --seed 1`.

Half of the runs are killed with kill -9 when a chosen byte of their conversation with the server has passed, the others
lose their connections there: for good or once, by a reset or by the end of one direction. A local folder has no
connections: there runs are killed at a byte of the copy, or before one of their writes. Somebody looks at the target
all the while, and takes the file at once or lets it stand. Then the next run has to deliver. `--only 57` makes one of
them again. Exits 0 when nothing was wrong; with `--plant`, when the bug was found.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import local_deaths
from plants import PLANTS
from story_process import DONE, Report, Run, start
from tcp_proxy import Direction
from upload_stage import SIZES, UploadStage
from upload_tally import Tally
from watched_places import TARGETS
from watched_target import Watched, watched

from catalog.errors import Code

_DIRECTIONS: tuple[Direction, Direction] = ("to server", "to client")


@dataclass(frozen=True, slots=True)
class Fault:
    """What strikes, at which share of the bytes in one direction; whether it passes; who goes on, and who consumes."""

    how: Literal["kill", "reset", "half-close"]
    direction: Direction
    share: float
    passes: bool
    recovery: Literal["same run", "new run", "new host"]
    is_taken: bool
    size: int


def chosen(seed: int, number: int, protocol: str) -> Fault:
    """The fault of that number: the same seed makes the same choices."""
    chance = random.Random(f"{seed} {number}")
    least, most = SIZES[protocol]
    is_killed = number % 2 == 0 or protocol == "file"
    direction = chance.choices(_DIRECTIONS, (2, 1))[0]
    return Fault(
        how="kill" if is_killed else chance.choice(("reset", "half-close")),
        direction=direction,
        # What the server says is little, and on its last words all depends.
        share=chance.random() if direction == "to server" else chance.triangular(0, 1, 1),
        passes=chance.random() < 0.5,
        recovery=chance.choice(("same run", "new run", "new host")),
        is_taken=chance.random() < 0.3,
        size=int(least * (most / least) ** chance.random()),
    )


class Player:
    """Plays faults on one stage and keeps the tally, with a bug planted in every run or none."""

    def __init__(self, stage: UploadStage, target: Watched, protocol: str, plant: str | None) -> None:
        self._stage, self._target, self._protocol, self._plant = stage, target, protocol, plant
        self.tally = Tally()
        # In this process, so that no child begins with empty caches.
        self._passed = {size: self._passes(hour, size) for hour, size in enumerate(SIZES[protocol])}
        self._writes = self._writes_of_a_run() if protocol == "file" else []
        gc.collect()
        gc.freeze()

    def play(self, number: int, fault: Fault) -> bool:
        """One fault and what follows; False when it did not strike, since the run had ended before."""
        stage, tally, hour = self._stage, self.tally, number + 10
        name, data = stage.rows(hour, fault.size)
        self._target.consume(fault.is_taken)
        run = stage.run(hour)
        code, _ = self._live(run, fault)
        look = self._target.look()
        has_struck = look.was_cut or code == -signal.SIGKILL
        delivered = tally.whole(number, name, data, look)
        tally.after_the_fault(number, code == DONE, stage.states(name), delivered)
        if fault.recovery == "new host":
            stage.lose_spool()
        after = stage.run(hour, run.id) if fault.recovery == "same run" else stage.run(hour, minutes=20)
        code, said = self._live(after)
        look = self._target.look()
        delivered = tally.whole(number, name, data, look)
        if said.startswith(Code.PUBLICATION_UNKNOWN.text):
            tally.asked.append(number)
            stage.resolve(name, "sent" if delivered else "again")
            code, said = self._live(stage.run(hour, minutes=40))
            look = self._target.look()
            delivered = tally.whole(number, name, data, look)
        tally.after_the_next_run(number, said, stage.states(name), delivered, look.left + stage.spooled())
        tally.struck[fault.how] += has_struck
        self._target.clear()
        return has_struck

    def _live(self, run: Run, fault: Fault | None = None) -> tuple[int, str]:
        """The exit code of that run in a process of its own, and the error it ended with."""
        waiting, going = os.pipe()

        def prepare(report: Report) -> None:
            if self._plant is not None:
                PLANTS[self._plant]()
            if self._protocol == "file":
                self._prepare_locally(fault)
            os.read(waiting, 1)

        child = start(run, prepare)
        if fault is not None and self._protocol != "file":
            self._arm(fault, child.pid)
        os.write(going, b"!")
        for end in (waiting, going):
            os.close(end)
        return child.ended()

    def _arm(self, fault: Fault, pid: int) -> None:
        which = _DIRECTIONS.index(fault.direction)
        (least, few), (most, many) = [(size, passed[which]) for size, passed in self._passed.items()]
        passes = few + (many - few) * (fault.size - least) / (most - least)
        self._target.arm(fault.how, fault.direction, int(fault.share * passes), pid=pid, passes=fault.passes)

    def _prepare_locally(self, fault: Fault | None) -> None:
        if fault is None:
            return
        if fault.direction == "to server":
            local_deaths.copy_instead_of_linking(max(1, int(fault.share * fault.size)))
            return
        if fault.passes:
            local_deaths.copy_instead_of_linking()
        begun = next(number for number, write in enumerate(self._writes) if write.endswith(".part"))
        number = begun + int(fault.share * (len(self._writes) - begun))
        local_deaths.die_before_write(self._stage.folder, number)

    def _passes(self, hour: int, size: int) -> tuple[int, ...]:
        """How many bytes pass in each direction in a run whose file has that size."""
        self._stage.rows(hour, size)
        before = self._target.passed()
        self._stage.run(hour).deliver()
        after = self._target.passed()
        self._target.clear()
        return tuple(late - early for late, early in zip(after, before, strict=True))

    def _writes_of_a_run(self) -> list[str]:
        self._stage.rows(2, SIZES["file"][0])

        def prepare(report: Report) -> None:
            local_deaths.tell_writes(self._stage.folder, lambda write: report(f"\n{write}".encode()))

        _, said = start(self._stage.run(2), prepare).ended()
        self._target.clear()
        return said.splitlines()


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", choices=TARGETS, default="sftp")
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same choices")
    parser.add_argument("--only", type=int, default=None, help="the fault of that number alone")
    parser.add_argument("--plant", choices=sorted(PLANTS), default=None, help="a bug that has to be found")
    arguments = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    memory = Path("/dev/shm")
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="uploads", dir=memory if memory.is_dir() else None) as name:
        folder = Path(name)
        stage = UploadStage(folder)
        with watched(arguments.target, folder) as target:
            stage.deliver_to(arguments.target, target)
            player = Player(stage, target, arguments.target, arguments.plant)
            number = arguments.only or 0
            struck = 0
            while struck < (1 if arguments.only is not None else arguments.faults):
                struck += player.play(number, chosen(seed, number, arguments.target))
                number += 1
                if arguments.only is not None or (arguments.plant is not None and player.tally.wrong):
                    break
    summary = {
        "target": arguments.target,
        "seed": seed,
        "figures": player.tally.figures(),
        "wrong": player.tally.wrong,
        "asked": player.tally.asked,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(summary))
    sys.exit(0 if bool(player.tally.wrong) == (arguments.plant is not None) else 1)


if __name__ == "__main__":
    main()
