"""A disk that is full where it hurts: what is said, that nothing is half there, and that room is all it takes."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from ledgers import a_run, hour
from mortal import Life
from plain_run import run_plainly
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import State
from tasks.ledger import Ledger

ROWS = 40_000
TABLE = f"""
CREATE TABLE orders (id INTEGER PRIMARY KEY, payload TEXT, updated_at DATETIME);
WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n WHERE id < {ROWS})
INSERT INTO orders SELECT id, 'row ' || id, '2026-01-01 08:00:00' FROM n;
"""


def fill(filler: Path) -> None:
    """Leave no room at all on the file's disk."""
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(512))


def stopped(workshop: Workshop, export_id: str, run_id: str | None = None) -> ExportError:
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, hour(0), run_id)
    assert caught.value.code.relaunchable
    return caught.value


def delivered_once(workshop: Workshop, export_id: str) -> None:
    """The next run delivers what the failed one could not, and its own window."""
    run_plainly(workshop, export_id, hour(0) + timedelta(hours=1))
    windows = workshop.ledger.windows(export_id)
    assert {window.state for window in windows} == {State.COMMITTED}
    rows = [row for content in workshop.files().values() for row in content.decode().splitlines()[1:]]
    assert rows == [f"{number},row {number},2026-01-01 08:00:00" for number in range(1, ROWS + 1)]


@pytest.fixture
def full_workshop(workshop: Workshop) -> Workshop:
    workshop.sqlite(script=TABLE)
    return workshop


def test_a_spool_that_fills_up(full_workshop: Workshop, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTS_SPOOL", str(small_disk / "spool"))
    export_id = full_workshop.incremental(cursor={"lookback": "0s"})
    error = stopped(full_workshop, export_id)
    assert error.code is Code.SPOOL_FULL and str(small_disk) in error.message
    assert full_workshop.files() == {}
    assert [path for path in (small_disk / "spool" / export_id).rglob("*") if path.is_file()] == []
    monkeypatch.setenv("EXPORTS_SPOOL", str(full_workshop.folder / "larger"))
    delivered_once(full_workshop, export_id)


def test_a_target_that_fills_up(full_workshop: Workshop, small_disk: Path) -> None:
    full_workshop.target("drop", str(small_disk))
    export_id = full_workshop.incremental(cursor={"lookback": "0s"})
    error = stopped(full_workshop, export_id)
    assert error.code is Code.TARGET_FULL and str(small_disk) in error.message
    assert list(small_disk.iterdir()) == []
    full_workshop.target("drop", str(full_workshop.drop))
    delivered_once(full_workshop, export_id)


@pytest.mark.parametrize("commits", range(6), ids=lambda number: f"after {number} commits")
def test_a_ledger_that_fills_up_during_a_run(full_workshop: Workshop, small_disk: Path, commits: int) -> None:
    full_workshop.ledger = Ledger(f"sqlite:///{small_disk / 'ledger.sqlite'}")
    export_id = full_workshop.incremental(cursor={"lookback": "0s"})
    full_workshop.ledger.register(full_workshop.load(export_id))
    filler = small_disk / "filler"

    def fill_in_time() -> None:
        if not filler.exists() and sum(write.startswith("commit") for write in life.writes) == commits:
            fill(filler)

    run_id = a_run()
    with Life(small_disk, None, lambda: None, fill_in_time) as life:
        error = stopped(full_workshop, export_id, run_id)
    assert error.code is Code.LEDGER_UNREACHABLE and "not full" in str(error.hint)
    assert not [name for name, content in full_workshop.files().items() if name[0] != "." and len(content) < ROWS]
    filler.unlink()
    run_plainly(full_workshop, export_id, hour(0), run_id)
    delivered_once(full_workshop, export_id)
