"""The project's side: a catalog of the benchmark's own, and what one run of an export in it costs."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import yaml
from measure import Cost, cost_of

#: What the servers of the tests know their user by.
_PASSWORD = "secret"
OURS = Path(__file__).with_name("ours.py")


class Exports:
    """Writes definitions, and runs each in a process of its own; what was delivered is removed again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drop = folder / "drop"
        self.drop.mkdir(parents=True)
        self.environment = {
            "EXPORTS_CATALOG": str(folder / "catalog"),
            "EXPORTS_LEDGER": f"sqlite:///{folder / 'ledger.sqlite'}",
            "EXPORTS_SPOOL": str(folder / "spool"),
            "BENCH_PASSWORD": _PASSWORD,
        }
        (folder / "catalog" / "exports").mkdir(parents=True)
        self.write("targets", "drop", url=str(self.drop))

    def write(self, kind: str, stem: str, /, **keys: Any) -> None:
        """One file of the catalog."""
        path = self.folder / "catalog" / kind / f"{stem}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(keys, sort_keys=False))

    def database(self, name: str, url: str) -> None:
        """A database of the catalog; a catalog refers to a password, and never holds it."""
        self.write("databases", name, url=url.replace(f":{_PASSWORD}@", ":{{ $BENCH_PASSWORD }}@"))

    def export(self, export_id: str, database: str, table: str, file: dict[str, Any], **keys: Any) -> None:
        """A definition: everything in the table, but for the keys given."""
        content = {"name": export_id, "type": "periodic_full", "database": database, "table": table}
        self.write("exports", export_id, **{**content, "file": file, "target": "drop", **keys})

    def run(self, export_id: str) -> Cost:
        """One run. Raises CommandFailed when it fails."""
        try:
            return cost_of([sys.executable, OURS, export_id], self.environment)
        finally:
            shutil.rmtree(self.drop)
            self.drop.mkdir()
