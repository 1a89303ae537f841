"""The peers: which are installed, and how each writes the table into one local file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from peer_libraries import PEERS
from postgres_server import BIN, Postgres
from table import name_of

#: A format as the report names it: that of the file, and its compression.
PLAIN, GZIP, JSON_LINES, PARQUET = "csv", "csv gzip", "jsonl", "parquet"

Command = list[str]


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to write the table: `command(rows, file)` does it. A slow one runs once, whatever the rounds are."""

    name: str
    source: str
    format: str
    command: Callable[[int, Path], Command]
    environment: dict[str, str] = field(default_factory=dict)
    slow: bool = False


def installed(server: Postgres, sqlite: Callable[[int], Path], environment: Path) -> list[Peer]:
    """Every peer that this machine, or the virtual environment of the peers, has. `sqlite` says where each file is."""
    python = environment / "bin" / "python"
    return [
        *_psql(server),
        *_sqlite3(sqlite),
        *_sling(server, environment),
        *_libraries(server, python if python.exists() else Path(sys.executable)),
    ]


def _psql(server: Postgres) -> Iterator[Peer]:
    address = ["-h", "127.0.0.1", "-p", str(server.port), "-U", server.user, "-X", "-q", "postgres"]
    secret = {"PGPASSWORD": server.password}
    psql = [str(BIN / "psql"), *address]

    def csv(rows: int, file: Path) -> Command:
        return [*psql, "-c", rf"\copy (SELECT * FROM {name_of(rows)}) TO '{file}' (FORMAT csv, HEADER)"]

    def gzip(rows: int, file: Path) -> Command:
        copy = rf"\copy (SELECT * FROM {name_of(rows)}) TO STDOUT (FORMAT csv, HEADER)"
        return ["sh", "-c", f'{" ".join(psql)} -c "{copy}" | gzip -6 > {file}']

    yield Peer(r"psql \copy", "postgresql", PLAIN, csv, secret)
    if shutil.which("gzip"):
        yield Peer(r"psql \copy, gzip -6", "postgresql", GZIP, gzip, secret)


def _sqlite3(path_of: Callable[[int], Path]) -> Iterator[Peer]:
    def csv(rows: int, file: Path) -> Command:
        query = f"SELECT * FROM {name_of(rows)}"
        return ["sh", "-c", f"sqlite3 -csv -header -newline '\n' {path_of(rows)} '{query}' > {file}"]

    if shutil.which("sqlite3"):
        yield Peer("sqlite3 -csv", "sqlite", PLAIN, csv)


def _sling(server: Postgres, environment: Path) -> Iterator[Peer]:
    places = [*environment.glob("lib/python*/site-packages"), *map(Path, sys.path)]
    bundled = [found for place in places for found in place.glob("sling_linux_amd64/bin/sling-linux-amd64")]
    binary = next(map(str, bundled), None) or shutil.which("sling-linux-amd64")
    uri = f"{_uri(server)}?sslmode=disable"

    def csv(rows: int, file: Path) -> Command:
        assert binary is not None
        return [
            binary,
            "run",
            "--src-conn",
            "SOURCE",
            "--src-stream",
            f"public.{name_of(rows)}",
            "--tgt-object",
            f"file://{file}",
        ]

    if binary:
        yield Peer("Sling", "postgresql", PLAIN, csv, {"SOURCE": uri, "SLING_DISABLE_TELEMETRY": "true"}, slow=True)


def _libraries(server: Postgres, python: Path) -> Iterator[Peer]:
    script = Path(__file__).with_name("peer_libraries.py")
    answer = subprocess.run([python, script], check=True, capture_output=True, text=True)

    def command_of(name: str, form: str) -> Callable[[int, Path], Command]:
        return lambda rows, file: [str(python), str(script), name, form, _uri(server), name_of(rows), str(file)]

    for name in json.loads(answer.stdout):
        for form in PEERS[name][1]:
            yield Peer(name, "postgresql", form, command_of(name, form), slow=name not in ("DuckDB", "ADBC"))


def _uri(server: Postgres) -> str:
    return f"postgresql://{server.user}:{server.password}@127.0.0.1:{server.port}/postgres"
