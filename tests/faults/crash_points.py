"""Die before every single write of a run, and recover: `python tests/faults/crash_points.py --target local`.

A run is played once to learn all its writes. Then it dies before each of them, and the same run, a new run, or a new
run on a host without spool goes on; with `--doubles`, that one dies before each of its own writes too. The consumer
either takes each file at once or lets it stand. Whatever happened, every row is in one whole file at the end.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from crash_stage import CrashStage
from drop_targets import TARGETS
from mortal import Life
from plants import PLANTS
from story_process import DONE, Report, Run, start

from catalog.errors import Code

RECOVERIES = ("same run", "new run", "new host")


@dataclass(frozen=True, slots=True)
class Case:
    """Where the first run dies, who goes on, where that one dies (or not), and whether the consumer takes at once."""

    dies_at: int
    recovery: str
    dies_again_at: int | None
    consumer: bool


class Player:
    """Plays cases on one stage, with a bug planted in every run or none."""

    def __init__(self, stage: CrashStage, plant: str | None) -> None:
        self.stage, self.plant = stage, plant
        # In this process, so that no child begins with empty caches.
        stage.begin()
        stage.run(0).deliver()

    def writes(self) -> list[str]:
        """What a whole run writes, in order."""
        self.stage.begin()
        return self._live(self.stage.run(0), None, consumer=False)[1]

    def play(self, case: Case) -> str | None:
        """What went wrong, or None."""
        stage = self.stage
        stage.begin()
        first = stage.run(0)
        code, _ = self._live(first, case.dies_at, consumer=case.consumer)
        if code != -signal.SIGKILL:
            return f"did not die: {code}"
        after = stage.run(0, first.id) if case.recovery == "same run" else stage.run(1)
        if case.recovery == "new host":
            stage.lose_spool()
        if case.dies_again_at is not None:
            self._live(after, case.dies_again_at, consumer=case.consumer)
        code, said = self._live(after, None, consumer=case.consumer)
        if code != DONE:
            # Parts that were read again would not be the ones that went out: a person says, and nothing is guessed.
            asked = said[-1].startswith(Code.PUBLICATION_UNKNOWN.text) and case.recovery == "new host"
            return None if asked and stage.export.file.max_rows else said[-1]
        verdict = stage.verdict()
        return None if verdict.clean else json.dumps(verdict.counts() | {"stopped": verdict.stopped})

    def _live(self, run: Run, dies_at: int | None, *, consumer: bool) -> tuple[int, list[str]]:
        """The exit code of that run in a process of its own, and the writes it did, or the error it ended with."""
        stage = self.stage

        def prepare(report: Report) -> None:
            if self.plant is not None:
                PLANTS[self.plant]()
            Life(
                stage.folder,
                dies_at,
                lambda: os.kill(os.getpid(), signal.SIGKILL),
                meanwhile=stage.consume if consumer else lambda: None,
                tell=lambda write: report(f"\n{write}".encode()),
            ).__enter__()

        code, said = start(run, prepare).ended()
        return code, said.splitlines()


def cases(writes: int, doubles: bool) -> Iterator[Case]:
    """All of them: single deaths, or double ones."""
    again: list[int | None] = [*range(writes)] if doubles else [None]
    for values in product(range(writes), RECOVERIES, again, (False, True)):
        yield Case(*values)


def main() -> None:
    """The command: exits 0 when nothing went wrong, or, with `--plant`, when the bug was found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--target", choices=sorted(TARGETS), default="local")
    parser.add_argument("--doubles", action="store_true", help="die a second time while recovering")
    parser.add_argument("--parts", action="store_true", help="windows of two files and a manifest")
    parser.add_argument("--sample", type=int, default=None, help="so many of the cases, chosen by chance")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plant", choices=sorted(PLANTS), default=None, help="a bug that has to be found")
    arguments = parser.parse_args()
    memory = Path("/dev/shm")
    wrong: dict[str, str] = {}
    with ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix="crash", dir=memory if memory.is_dir() else None)
        )
        stage = CrashStage(Path(folder), TARGETS[arguments.target](), stack, parts=arguments.parts)
        player = Player(stage, arguments.plant)
        writes = player.writes()
        # The late deaths first: that is where a protocol breaks, and a planted bug is found.
        chosen = list(cases(len(writes), arguments.doubles))[::-1]
        if arguments.sample is not None:
            chosen = random.Random(arguments.seed).sample(chosen, min(arguments.sample, len(chosen)))
        for case in chosen:
            if found := player.play(case):
                wrong[f"{case}, before {writes[case.dies_at]!r}"] = found
                if arguments.plant is not None:
                    break
    print(json.dumps({"target": arguments.target, "cases": len(chosen), "wrong": wrong, "writes": writes}))
    sys.exit(0 if bool(wrong) == (arguments.plant is not None) else 1)


if __name__ == "__main__":
    main()
