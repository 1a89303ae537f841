"""The manifest: it comes last, says what there is, and is made again when only it was lost."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from unittest import mock

import pytest
from ledgers import a_run
from plain_run import run_plainly
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import Window
from tasks.publish.local import LocalPublisher

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
FILES = {"orders_20260301_1.csv": b"id\n1\n2\n", "orders_20260301_2.csv": b"id\n3\n"}
MANIFEST = "orders_20260301_1.csv.manifest.json"


@pytest.fixture
def database(workshop: Workshop) -> Path:
    return workshop.sqlite()


@pytest.fixture
def export_id(workshop: Workshop, database: Path) -> str:
    file = {"name": "orders_{date:%Y%m%d}_{part}.csv", "max_rows": 2, "manifest": True}
    return workshop.incremental(columns=["id"], file=file)


def test_the_manifest_says_what_there_is(workshop: Workshop, export_id: str) -> None:
    ran = run_plainly(workshop, export_id, NOON)
    found = workshop.files()
    content = json.loads(found.pop(MANIFEST))
    assert found == FILES
    assert content["files"] == [
        {"name": name, "rows": rows, "bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
        for (name, text), rows in zip(FILES.items(), (2, 1), strict=True)
    ]
    assert content["window"] == {"since": None, "until": NOON.isoformat()} and content["export"] == export_id
    assert (content["rows"], content["bytes"], content["run_id"]) == (3, sum(map(len, FILES.values())), ran.run_id)
    delivered = workshop.ledger.delivered_by_run(ran.run_id)
    assert [file.name for file in delivered] == list(FILES), "a report counts the files of data"
    (entry,) = workshop.json("ledger", export_id)
    assert [file["name"] for file in entry["files"]] == [*FILES, MANIFEST]


def test_the_manifest_comes_last(workshop: Workshop, export_id: str) -> None:
    (workshop.drop / MANIFEST).write_text("somebody else's")
    run_id = a_run()
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON, run_id)
    assert caught.value.code is Code.FILE_EXISTS and MANIFEST in caught.value.message
    assert FILES.items() <= workshop.files().items()
    (workshop.drop / MANIFEST).unlink()
    run_plainly(workshop, export_id, NOON, run_id)
    assert workshop.files().keys() == {*FILES, MANIFEST}


def fails_at(workshop: Workshop, export_id: str, run_id: str, name: str) -> Window:
    """A run whose target has no room for the file of that name; what was uploaded before is there, and hidden."""
    put = LocalPublisher.put

    def without_room(self: LocalPublisher, local: Path, folder: str, temp_name: str) -> None:
        if temp_name.startswith(f".{name}."):
            raise ExportError(Code.TARGET_FULL, "no room", "make room")
        put(self, local, folder, temp_name)

    with mock.patch.object(LocalPublisher, "put", without_room), pytest.raises(ExportError, match="TARGET_FULL"):
        run_plainly(workshop, export_id, NOON, run_id)
    assert all(found.startswith(".") for found in workshop.files())
    window = workshop.ledger.window_of_run(run_id)
    assert window is not None
    return window


def test_a_manifest_that_only_the_spool_lost_is_made_again(workshop: Workshop, database: Path, export_id: str) -> None:
    run_id = a_run()
    window = fails_at(workshop, export_id, run_id, MANIFEST)
    *_, manifest = workshop.ledger.extracted(window.id)
    manifest.path.unlink()
    database.unlink()
    run_plainly(workshop, export_id, NOON, run_id)
    assert workshop.files().keys() == {*FILES, MANIFEST}
    assert hashlib.sha256(workshop.files()[MANIFEST]).hexdigest() == manifest.sha256


def test_a_part_that_the_spool_lost_is_read_again_with_the_others(workshop: Workshop, export_id: str) -> None:
    """None of them is published before the last one is uploaded, so nobody has seen the others yet."""
    run_id = a_run()
    window = fails_at(workshop, export_id, run_id, "orders_20260301_2.csv")
    workshop.ledger.extracted(window.id)[1].path.unlink()
    workshop.sqlite(script="UPDATE orders SET id = id + 10;")
    run_plainly(workshop, export_id, NOON, run_id)
    assert workshop.files().keys() == {*FILES, MANIFEST}
    assert [workshop.text(name) for name in FILES] == ["id\n11\n12\n", "id\n13\n"]


def test_nothing_delivered_has_no_manifest(workshop: Workshop, database: Path) -> None:
    file = {"name": "orders_{date:%Y%m%d}.csv", "manifest": True}
    skipping = workshop.incremental(where="id > 9", file={**file, "empty": "skip"})
    run_plainly(workshop, skipping, NOON)
    assert workshop.files() == {}
    header = workshop.incremental(workshop.id("header"), where="id > 9", columns=["id"], file=file)
    run_plainly(workshop, header, NOON)
    content = json.loads(workshop.files()["orders_20260301.csv.manifest.json"])
    assert content["rows"] == 0 and [file["bytes"] for file in content["files"]] == [3]
