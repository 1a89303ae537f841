"""One large file from the spool to each server: this project and the server's best plain client, round after round."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from measure import Cost, cost_of
from upload_servers import SERVERS, Server
from verdict import Verdict

OURS = "Manage Exports"
_SCRIPT = Path(__file__).with_name("upload_ours.py")
_MOST = 1.1
_BLOCK = 1_000_000


@dataclass(frozen=True, slots=True)
class Measured:
    """All uploads to one server; no costs of a plain client that is not installed."""

    server: str
    client: str
    size: int
    ours: list[Cost]
    theirs: list[Cost]


def measure(size: int, rounds: int) -> list[Measured]:
    """Both in turn, round after round, on each server in turn. Raises CommandFailed."""
    memory = Path("/dev/shm")
    found = []
    # In memory where that is to be had: the disk would be measured, and what is left to write is the next one's cost.
    with tempfile.TemporaryDirectory(prefix="uploads", dir=memory if memory.is_dir() else None) as temporary:
        file = Path(temporary) / "file"
        with file.open("wb") as sink:
            for _ in range(size // _BLOCK):
                sink.write(os.urandom(_BLOCK))
        for protocol, serving in SERVERS.items():
            folder = Path(temporary) / protocol
            folder.mkdir()
            with serving(folder) as server:
                if server is None:
                    print(f"{protocol} is left out: the server or its plain client is not installed here", flush=True)
                    found.append(Measured(protocol, "its plain client", size, [], []))
                    continue
                costs = [(_ours(server, file), _theirs(server, file)) for _ in range(rounds)]
                ours, theirs = (list(each) for each in zip(*costs, strict=True))
                found.append(Measured(server.name, server.client, size, ours, theirs))
    return found


def _ours(server: Server, file: Path) -> Cost:
    target = json.dumps({"url": server.url, "options": server.options})
    cost = cost_of([sys.executable, _SCRIPT, target, file, "ours"])
    _is_there(server, "ours", file)
    return cost


def _theirs(server: Server, file: Path) -> Cost:
    cost = cost_of(server.command(file, "theirs"), server.environment)
    _is_there(server, "theirs", file)
    return cost


def _is_there(server: Server, name: str, file: Path) -> None:
    if server.size(name) != file.stat().st_size:
        raise RuntimeError(f"{name} did not arrive whole on {server.name}")
    server.remove(name)


def show(found: list[Measured]) -> None:
    """Print the medians."""
    print(f"\n### One file of {found[0].size / 1e6:,.0f} MB to servers on loopback\n")
    print("| server | client | runs | median s | spread | MB/s | CPU s | peak MB |\n|---|---|---|---|---|---|---|---|")
    for entry in found:
        for client, costs in ((OURS, entry.ours), (entry.client, entry.theirs)):
            if not costs:
                continue
            seconds = [cost.seconds for cost in costs]
            cells = [
                entry.server,
                client,
                str(len(costs)),
                f"{median(seconds):.2f}",
                f"{min(seconds):.2f} - {max(seconds):.2f}",
                f"{entry.size / 1e6 / median(seconds):,.0f}",
                f"{median(cost.cpu_seconds for cost in costs):.1f}",
                f"{max(cost.peak_mb for cost in costs):.0f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


def verdicts(found: list[Measured]) -> Iterator[Verdict]:
    """How our time may compare with the best plain client's."""
    for entry in found:
        text = f"{entry.size / 1e6:,.0f} MB to {entry.server}, against {entry.client}"
        yield Verdict(text, _seconds(entry.ours) / _seconds(entry.theirs) if entry.ours else None, most=_MOST)


def _seconds(costs: list[Cost]) -> float:
    return median(cost.seconds for cost in costs)
