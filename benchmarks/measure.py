"""What one command costs: wall and CPU seconds and peak memory, taken by a process too small to matter.

A child's peak memory begins with that of the process it was forked from, so the one that forks is a bare interpreter.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of the work (the command's own word, or its whole life), CPU seconds and MB of the whole process.

    `said` is the JSON object that the command printed last; empty when it printed none.
    """

    seconds: float
    process_seconds: float
    cpu_seconds: float
    peak_mb: float
    said: dict[str, Any]


class CommandFailed(Exception):
    """A measured command ended with another exit code than 0."""


def cost_of(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Cost:
    """Run the command to its end. Raises CommandFailed with the end of what it wrote."""
    launcher = [sys.executable, "-I", "-S", __file__, *map(str, command)]
    done = subprocess.run(launcher, env={**os.environ, **(environment or {})}, capture_output=True, text=True)
    if done.returncode:
        raise CommandFailed(f"{Path(command[0]).name}: {(done.stderr or done.stdout).strip()[-2000:]}")
    *before, last = done.stdout.splitlines()
    found = json.loads(last)
    said = json.loads(before[-1]) if before and before[-1].startswith("{") else {}
    return Cost(said.get("seconds", found["wall"]), found["wall"], found["cpu"], found["peak_mb"], said)


def _launch(command: Sequence[str]) -> int:
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    wall = time.perf_counter() - began
    cost = {"wall": wall, "cpu": usage.ru_utime + usage.ru_stime, "peak_mb": usage.ru_maxrss / 1024}
    sys.stdout.write(f"{json.dumps(cost)}\n")
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(_launch(sys.argv[1:]))
