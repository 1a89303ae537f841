"""`check`, `plan` and `apply` of ever more definitions, each against a Prefect server of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from export_run import Exports
from measure import Cost, cost_of
from postgres_server import Postgres
from prefect_server import QUIET, free_port
from verdict import Verdict

from manage.server import server

_COMMAND = Path(sys.executable).with_name("exports")
_PLAN_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What the commands cost with so many definitions; `plan` once nothing is to be changed."""

    definitions: int
    check: Cost
    apply: Cost
    plan: Cost


def measure(postgres: Postgres, counts: list[int], folder: Path) -> list[Measured]:
    """All three commands, for every number of definitions."""
    database = postgres.fresh_database(
        "CREATE TABLE orders (id int PRIMARY KEY, total numeric(10, 2), updated_at timestamptz)"
    )
    found = []
    for count in counts:
        exports = Exports(folder / f"definitions_{count}")
        exports.database("crm", postgres.url(database))
        for number in range(count):
            _define(exports, f"orders_{number:04d}")
        home = exports.folder / "prefect"
        prefect = {**QUIET, "PREFECT_HOME": str(home)}
        with server(free_port(), prefect, home / "server.log") as api:
            environment = {**exports.environment, **prefect, "PREFECT_API_URL": api}
            costs = [
                cost_of([_COMMAND, *words], environment) for words in (["check"], ["apply"], ["plan", "--exit-code"])
            ]
        found.append(Measured(count, *costs))
    return found


def _define(exports: Exports, name: str) -> None:
    file = {"name": f"{name}_{{date:%Y%m%d}}.csv"}
    columns = ["id", "total", "updated_at"]
    schedule = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}
    exports.export(name, "crm", "orders", file, columns=columns, schedule=schedule)


def show(found: list[Measured]) -> None:
    """Print the whole processes' seconds."""
    print("\n### Definitions, whole process\n")
    print("| definitions | check s | apply (all new) s | plan (nothing changed) s | plan, peak MB |")
    print("|---|---|---|---|---|")
    for entry in found:
        seconds = [f"{cost.seconds:.1f}" for cost in (entry.check, entry.apply, entry.plan)]
        print(f"| {entry.definitions} | {' | '.join(seconds)} | {entry.plan.peak_mb:.0f} |", flush=True)


def verdicts(found: list[Measured]) -> Iterator[Verdict]:
    """How long `plan` may take, and that it grows no faster than the definitions."""
    last = found[-1]
    yield Verdict(
        f"plan with {last.definitions:,} definitions, none changed", last.plan.seconds, "s", most=_PLAN_SECONDS
    )
    for few, many in pairwise(found):
        growth = many.plan.seconds / few.plan.seconds
        text = f"plan, from {few.definitions:,} to {many.definitions:,} definitions"
        yield Verdict(text, growth, most=many.definitions / few.definitions)
