"""A catalog, a ledger, a spool and a target folder of one test's own."""

from __future__ import annotations

import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from catalog.definition import Export
from catalog.load import load_catalog
from catalog.windows import Window
from manage.cli import app
from tasks.ledger import Ledger

Found = TypeVar("Found")
ROWS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, customer TEXT, total NUMERIC(10,2), updated_at DATETIME);
CREATE INDEX by_change ON orders (updated_at);
INSERT INTO orders VALUES (1, 'Anaïs', 10.5, '2026-01-01 08:00:00'), (2, NULL, 20, '2026-01-02 08:00:00'),
                          (3, '', 30.25, '2026-01-03 08:00:00');
"""


class Workshop:
    """Writes YAML as a person would, and runs the command in this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.catalog_folder = folder / "catalog"
        for name in ("exports", "databases", "targets"):
            (self.catalog_folder / name).mkdir(parents=True)
        self.drop = folder / "drop"
        self.drop.mkdir()
        self.ledger = Ledger(f"sqlite:///{folder / 'state' / 'ledger.sqlite'}")
        self.suffix = uuid.uuid4().hex[:8]
        self.target("drop", str(self.drop))

    def id(self, stem: str = "orders") -> str:
        """An id that no other test's export on the same Prefect server has."""
        return f"{stem}_{self.suffix}"

    def target(self, name: str, url: str, **keys: Any) -> None:
        self._write("targets", name, {"url": url, **keys})

    def database(self, name: str, url: str, **keys: Any) -> None:
        self._write("databases", name, {"url": url, **keys})

    def sqlite(self, name: str = "crm", script: str = ROWS) -> Path:
        """A SQLite database of the catalog, filled by the script; again to change it."""
        path = self.folder / f"{name}.sqlite"
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.executescript(script)
        self.database(name, f"sqlite:///{path}")
        return path

    def export(self, export_id: str | None = None, **keys: Any) -> str:
        """Write a definition: a periodic full export of `orders`, but for the keys given. None leaves a key out."""
        export_id = export_id or self.id()
        content = {
            "name": export_id,
            "type": "periodic_full",
            "database": "crm",
            "table": "orders",
            "file": {"name": "orders.csv"},
            "target": "drop",
            **keys,
        }
        self._write("exports", export_id, {key: value for key, value in content.items() if value is not None})
        return export_id

    def incremental(self, export_id: str | None = None, **keys: Any) -> str:
        cursor = {"column": "updated_at", "lag": "0s", **keys.pop("cursor", {})}
        file = {"name": "orders_{date:%Y%m%dT%H%M%S%f}.csv"}
        return self.export(export_id, **{"type": "incremental", "cursor": cursor, "file": file, **keys})

    def _write(self, kind: str, name: str, content: dict[str, Any]) -> None:
        path = self.catalog_folder / kind / f"{name}.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True))

    def load(self, export_id: str) -> Export:
        return load_catalog(self.catalog_folder).export(export_id)

    def allot(self, export_id: str, run_id: str, at: datetime) -> Window:
        export = self.load(export_id)
        self.ledger.register(export)
        window = self.ledger.allot(export, run_id, at).window
        assert window is not None
        return window

    def run(self, *arguments: str, exit_code: int | None = 0) -> Result:
        """The command, in this process; its exit code is asserted unless that is None."""
        result = CliRunner().invoke(app, list(arguments))
        if exit_code is not None:
            assert result.exit_code == exit_code, (result.exit_code, result.stdout, result.stderr, result.exception)
        return result

    def json(self, *arguments: str, exit_code: int | None = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", exit_code=exit_code).stdout)

    def ended(self, export_id: str, run_id: str, attempts: int = 1) -> dict[str, Any] | None:
        """The report of a run that has ended, or None while it has not."""
        result = self.run("report", export_id, "--run", run_id, "--json", exit_code=None)
        report: dict[str, Any] = json.loads(result.stdout)
        done = report.get("status") in ("succeeded", "failed") and report["attempts"] >= attempts
        return report if done else None

    def wait_for(self, look: Callable[[], Found | None], seconds: float = 150) -> Found:
        """What `look` finds, as soon as it finds something."""
        deadline = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < deadline, "what was waited for did not come"
            time.sleep(0.3)
        return found

    def files(self) -> dict[str, bytes]:
        """What stands on the target, hidden files too."""
        return {
            str(path.relative_to(self.drop)): path.read_bytes()
            for path in sorted(self.drop.rglob("*"))
            if path.is_file()
        }

    def text(self, name: str) -> str:
        return (self.drop / name).read_bytes().decode()


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    made = Workshop(tmp_path)
    monkeypatch.setenv("EXPORTS_CATALOG", str(made.catalog_folder))
    monkeypatch.setenv("EXPORTS_LEDGER", made.ledger.url)
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool"))
    return made
