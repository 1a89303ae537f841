"""The databases that hold the table, as URLs of the catalog."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import mariadb_server
from postgres_server import Postgres
from table import can_fill_duckdb, fill_duckdb, fill_mariadb, fill_postgres, fill_sqlite

from catalog.places import ROOT

#: Files of earlier sittings that can be used again, and the virtual environment of the peers.
KEPT = ROOT / ".exports" / "bench"
NAMES = ("postgresql", "sqlite", "mariadb", "duckdb")


class Databases:
    """PostgreSQL, and those of the others that were asked for and are installed here."""

    def __init__(self, postgres: Postgres, names: Sequence[str], folder: Path) -> None:
        self.postgres = postgres
        self._folder = folder
        missing = {
            name
            for name, stands in {"mariadb": mariadb_server.SERVER.exists(), "duckdb": can_fill_duckdb()}.items()
            if not stands
        }
        self._names = [name for name in names if name not in missing]
        for name in missing.intersection(names):
            print(f"{name} is left out: it is not installed here", flush=True)
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if "mariadb" in self._names:
            self._mariadb = self._stack.enter_context(mariadb_server.running())
            self._database = self._mariadb.fresh_database()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def filled(self, rows: int) -> dict[str, str]:
        """Make the table at that size everywhere; returns each database's URL."""
        KEPT.mkdir(parents=True, exist_ok=True)
        fill_postgres(self.postgres, rows)
        return {name: self._fill(name, rows) for name in self._names}

    def _fill(self, name: str, rows: int) -> str:
        if name == "sqlite":
            fill_sqlite(self.postgres, rows, sqlite_file(rows))
            return f"sqlite:///{sqlite_file(rows)}"
        if name == "mariadb":
            fill_mariadb(self.postgres, self._mariadb, self._database, rows, self._folder)
            return self._mariadb.url(self._database)
        if name == "duckdb":
            fill_duckdb(self.postgres, rows, KEPT / f"t_{rows}.duckdb")
            return f"duckdb:///{KEPT / f't_{rows}.duckdb'}"
        return self.postgres.url()


def sqlite_file(rows: int) -> Path:
    """Where the SQLite file with the table of that size stands."""
    return KEPT / f"t_{rows}.sqlite"
