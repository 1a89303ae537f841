"""`exports list` with many definitions and ten times as many past runs, on a Prefect server as anybody starts it."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
import zoneinfo
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

from export_run import Exports
from measure import Cost, cost_of
from postgres_server import Postgres
from prefect_server import QUIET, free_port
from verdict import Verdict

from catalog.definition import Export
from catalog.load import load_catalog
from manage.server import server

_COMMAND = Path(sys.executable).with_name("exports")
_RUNS_EACH = 10
_LIST_SECONDS = 3.0
_FIRST = "orders_0000"


def measure(postgres: Postgres, definitions: int, rounds: int, folder: Path) -> dict[str, list[Cost]]:
    """The commands in turn, round after round; the first round is not counted."""
    table = "CREATE TABLE orders (id int PRIMARY KEY, total numeric(10, 2), updated_at timestamptz)"
    exports = Exports(folder / "listing")
    exports.database("crm", postgres.url(postgres.fresh_database(table)))
    for number in range(definitions):
        name = f"orders_{number:04d}"
        schedule = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}
        exports.export(name, "crm", "orders", {"name": f"{name}_{{date:%Y%m%d}}.csv"}, schedule=schedule)
    home = exports.folder / "prefect"
    # `manage.server` would spare its own server the walk through the system's time zones.
    prefect = {**QUIET, "PREFECT_HOME": str(home), "PYTHONTZPATH": os.pathsep.join(zoneinfo.TZPATH)}
    loop = {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5"}
    commands = {"exports list --json": ["list", "--json"], "exports --help, to start up": ["--help"]}
    found: dict[str, list[Cost]] = {name: [] for name in commands}
    with server(free_port(), {**prefect, **loop}, home / "server.log") as api:
        environment = {**exports.environment, **prefect, "PREFECT_API_URL": api}
        _deploy_first(exports, environment)
        _multiply(exports, home / "prefect.db")
        for number in range(rounds + 1):
            for name, words in commands.items():
                cost = cost_of([_COMMAND, *words], environment)
                if number:
                    found[name].append(cost)
    return found


def _deploy_first(exports: Exports, environment: Mapping[str, str]) -> None:
    """Deploy one export as a person does; the others are made after it."""
    others = exports.folder / "others"
    source = exports.folder / "catalog" / "exports"
    source.rename(others)
    source.mkdir()
    (others / f"{_FIRST}.yaml").rename(source / f"{_FIRST}.yaml")
    cost_of([_COMMAND, "apply", "--activate"], environment)
    for path in others.iterdir():
        path.rename(source / path.name)


def _multiply(exports: Exports, database: Path) -> None:
    """Rows for every other export like those of the first, and past runs: by the API it takes half an hour."""
    catalog = load_catalog(exports.folder / "catalog")
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        connection.row_factory = sqlite3.Row
        first = {table: _row(connection, table, "name = ?", _FIRST) for table in ("flow", "deployment")}
        schedule = _row(connection, "deployment_schedule", "deployment_id = ?", first["deployment"]["id"])
        _wait_for_runs(connection, 1)
        run = _row(connection, "flow_run", "deployment_id = ?", first["deployment"]["id"])
        state = _row(connection, "flow_run_state", "id = ?", run["state_id"])
        with connection:
            for export in catalog.exports.values():
                ids = {row["id"]: str(uuid4()) for row in (first["flow"], first["deployment"], schedule)}
                if export.id == _FIRST:
                    ids = {row_id: row_id for row_id in ids}
                else:
                    _insert(connection, "flow", _like(first["flow"], export, ids))
                    _insert(connection, "deployment", _deployment(first["deployment"], export, ids))
                    _insert(connection, "deployment_schedule", _like(schedule, export, ids))
                for number in range(_RUNS_EACH):
                    _add_ended(connection, run, state, export, ids, number)
        _wait_for_runs(connection, len(catalog.exports))


def _deployment(first: dict[str, Any], export: Export, ids: Mapping[str, str]) -> dict[str, Any]:
    row = _like(first, export, ids)
    tags = [tag for tag in json.loads(row["tags"]) if not tag.startswith("version:")]
    parameters = {"since": None, "until": None, "definition": export.frozen()}
    changed = {"tags": [*tags, f"version:{export.hash[:12]}"], "parameters": parameters}
    return {**row, **{name: json.dumps(value) for name, value in changed.items()}, "version": export.hash}


def _add_ended(
    connection: sqlite3.Connection,
    run: dict[str, Any],
    state: dict[str, Any],
    export: Export,
    ids: Mapping[str, str],
    number: int,
) -> None:
    """A run that ended so many days ago; one in twenty failed."""
    ids = {**ids, run["id"]: str(uuid4()), state["id"]: str(uuid4())}
    place = int(export.id[-4:])
    ended = datetime.now(UTC).replace(tzinfo=None) - timedelta(days=number, seconds=60 + place % 3600)
    kind, name = ("FAILED", "Failed") if (place + number) % 20 == 0 else ("COMPLETED", "Completed")
    began, end = str(ended - timedelta(seconds=20)), str(ended)
    times = {"expected_start_time": began, "start_time": began, "end_time": end, "state_timestamp": end}
    own = {"state_type": kind, "state_name": name, "auto_scheduled": 0, "idempotency_key": str(uuid4())}
    _insert(connection, "flow_run", {**_like(run, export, ids), **times, **own, "next_scheduled_start_time": None})
    _insert(connection, "flow_run_state", {**_like(state, export, ids), "type": kind, "name": name, "timestamp": end})


def _like(row: Mapping[str, Any], export: Export, ids: Mapping[str, str]) -> dict[str, Any]:
    """The row with the export's name and ids in place of the first one's, wherever they stand."""
    made = {}
    for column, value in row.items():
        if isinstance(value, str):
            value = value.replace(_FIRST, export.id)
            for old, new in ids.items():
                value = value.replace(old, new)
        made[column] = value
    return made


def _row(connection: sqlite3.Connection, table: str, where: str, value: str) -> dict[str, Any]:
    return dict(connection.execute(f"SELECT * FROM {table} WHERE {where}", (value,)).fetchone())


def _insert(connection: sqlite3.Connection, table: str, row: Mapping[str, Any]) -> None:
    places = ", ".join("?" * len(row))
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({places})", tuple(row.values()))


def _wait_for_runs(connection: sqlite3.Connection, deployments: int) -> None:
    """Until the scheduler has made the next runs of all: it would work beside what is measured."""
    waiting = "SELECT count(DISTINCT deployment_id) FROM flow_run WHERE state_type = 'SCHEDULED'"
    deadline = time.monotonic() + 600
    while connection.execute(waiting).fetchone()[0] < deployments:
        if time.monotonic() > deadline:
            raise TimeoutError("Prefect's scheduler has not made the runs")
        time.sleep(1)


def show(found: Mapping[str, list[Cost]], definitions: int) -> None:
    """Print the medians."""
    print(f"\n### {definitions:,} definitions and {definitions * _RUNS_EACH:,} past runs, whole process\n")
    print("| process | rounds | median s | user and system CPU s | peak MB |\n|---|---|---|---|---|")
    for name, costs in found.items():
        cells = [str(len(costs)), f"{_seconds(costs):.2f}", f"{median(cost.cpu_seconds for cost in costs):.2f}"]
        print(f"| {name} | {' | '.join(cells)} | {max(cost.peak_mb for cost in costs):.0f} |", flush=True)


def verdicts(found: Mapping[str, list[Cost]], definitions: int) -> Iterator[Verdict]:
    """How long a look at everything may take."""
    text = f"exports list --json, {definitions:,} definitions and {definitions * _RUNS_EACH:,} past runs"
    yield Verdict(text, _seconds(found["exports list --json"]), "s", most=_LIST_SECONDS)


def _seconds(costs: list[Cost]) -> float:
    return median(cost.process_seconds for cost in costs)
