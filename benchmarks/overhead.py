"""An export of an empty table beside the least that Prefect can do, as whole processes against one server."""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from export_run import Exports
from measure import Cost, cost_of
from postgres_server import Postgres
from prefect_server import QUIET, free_port
from verdict import Verdict

from manage.server import server

_BARE = Path(__file__).with_name("bare_flow.py")
_MOST = 1.5


def measure(postgres: Postgres, rounds: int, folder: Path) -> dict[str, list[Cost]]:
    """Both in turn, round after round; the first round is not counted."""
    exports = Exports(folder / "overhead")
    table = "CREATE TABLE orders (id int PRIMARY KEY, total numeric(10, 2), updated_at timestamptz)"
    exports.database("crm", postgres.url(postgres.fresh_database(table)))
    exports.export("empty", "crm", "orders", {"name": "{run}.csv"})
    home = exports.folder / "prefect"
    prefect = {**QUIET, "PREFECT_HOME": str(home)}
    commands: dict[str, list[str | Path]] = {
        "bare flow": [sys.executable, _BARE],
        "exports run": [Path(sys.executable).with_name("exports"), "run", "empty"],
    }
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    with server(free_port(), prefect, home / "server.log") as api:
        environment = {**exports.environment, **prefect, "PREFECT_API_URL": api}
        for number in range(rounds + 1):
            for name, command in commands.items():
                cost = cost_of(command, environment)
                if number:
                    found[name].append(cost)
    return found


def show(found: dict[str, list[Cost]]) -> None:
    """Print the medians."""
    print("\n### A run of an empty table, whole process\n")
    print("| process | runs | median s | CPU s | peak MB |\n|---|---|---|---|---|")
    for name, costs in found.items():
        cells = [str(len(costs)), f"{_seconds(costs):.2f}", f"{median(cost.cpu_seconds for cost in costs):.2f}"]
        print(f"| {name} | {' | '.join(cells)} | {max(cost.peak_mb for cost in costs):.0f} |", flush=True)


def verdict(found: dict[str, list[Cost]]) -> Verdict:
    """How much more a run may cost than the least there is."""
    ratio = _seconds(found["exports run"]) / _seconds(found["bare flow"])
    return Verdict("exports run of an empty table against a bare flow of two tasks", ratio, most=_MOST)


def _seconds(costs: list[Cost]) -> float:
    return median(cost.process_seconds for cost in costs)
