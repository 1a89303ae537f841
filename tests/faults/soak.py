"""kill -9 without end: `python tests/faults/soak.py --kills 10000 --target local --seed 1`.

Runs of an export are killed at random moments and relaunched, while writers fill its table and a consumer takes every
file the moment it appears. Afterwards what the consumer holds is compared with what the writers committed: nothing may
be lost, doubled, partial or phantom. With `--plant` a bug is planted, and the soak has to find it. Exits 0 when all is
as it should be; otherwise the last round and a trace of all runs are kept, and the summary says where.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import postgres_server
from drop_targets import TARGETS
from plants import MODES, PLANTS
from soak_round import Round
from verdict import Verdict

#: One line for every run, kill and verdict, in the round's order; kept when something was wrong.
TRACE = "trace.jsonl"
#: Everything is judged after so many kills; with a planted bug sooner, since it is to be found soon.
_KILLS_PER_ROUND, _KILLS_PER_PLANTED_ROUND = 250, 60


def soak(kills: int, target: str, seed: int, plant: str | None, folder: Path) -> dict[str, object]:
    """The summary: what was killed in which state, and what was found wrong. Ends with the first thing found."""
    chance, verdict, states, killed, began = random.Random(seed), Verdict(), Counter[str](), 0, time.monotonic()
    size = _KILLS_PER_PLANTED_ROUND if plant else _KILLS_PER_ROUND
    with postgres_server.running() as postgres, (folder / TRACE).open("a") as file:
        while killed < kills and verdict.clean:
            played = Round(
                postgres=postgres,
                target=TARGETS[target](),
                folder=folder / f"round{killed}",
                kills=min(size, kills - killed),
                seed=chance.getrandbits(32),
                trace=file,
                plant=plant,
                mode=MODES.get(plant or "", "xid"),
            )
            verdict.add(played.play())
            states += played.states
            killed = states.total()
            print(f"{killed} kills, {dict(states)}, {verdict.counts()}", file=sys.stderr)
    seconds = time.monotonic() - began
    return {
        "target": target,
        "seed": seed,
        "plant": plant,
        "kills": killed,
        "states": dict(states),
        **verdict.counts(),
        "first_stop": next(iter(verdict.stopped), None),
        "kills_per_minute": round(killed / seconds * 60),
        "clean": verdict.clean,
    }


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--target", choices=sorted(TARGETS), default="local")
    parser.add_argument("--seed", type=int, default=None, help="the same seed makes the same choices")
    parser.add_argument("--plant", choices=sorted(PLANTS), default=None, help="a bug that has to be found")
    arguments = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if arguments.seed is None else arguments.seed
    # In memory where that is to be had: fsync then costs nothing, and the ledger's own settings stay as they are.
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="soak", dir=memory if memory.is_dir() else None))
    summary = soak(arguments.kills, arguments.target, seed, arguments.plant, folder)
    as_it_should_be = summary["clean"] == (arguments.plant is None)
    if as_it_should_be:
        shutil.rmtree(folder)
    print(json.dumps(summary if as_it_should_be else {**summary, "trace": str(folder / TRACE)}))
    sys.exit(0 if as_it_should_be else 1)


if __name__ == "__main__":
    main()
