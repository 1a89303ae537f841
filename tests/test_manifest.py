"""The manifest: it comes last, says what there is, and is made again when only it was lost."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from ledgers import a_run
from plain_run import run_plainly
from workshop import Workshop

from catalog.errors import Code, ExportError
from tasks.publish.contract import temp_name

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


def test_a_manifest_that_only_the_spool_lost_is_made_again(workshop: Workshop, database: Path, export_id: str) -> None:
    run_id = a_run()
    window = workshop.allot(export_id, run_id, NOON)
    in_the_way = workshop.drop / temp_name(MANIFEST, window.id)
    in_the_way.mkdir()
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, NOON, run_id)
    assert caught.value.code is Code.TARGET_DENIED and workshop.files() == FILES
    in_the_way.rmdir()
    *_, manifest = workshop.ledger.extracted(window.id)
    manifest.path.unlink()
    database.unlink()
    run_plainly(workshop, export_id, NOON, run_id)
    assert hashlib.sha256(workshop.files()[MANIFEST]).hexdigest() == manifest.sha256


def test_a_part_that_the_spool_lost_and_that_reads_otherwise_now_is_for_a_person(
    workshop: Workshop, export_id: str
) -> None:
    run_id = a_run()
    window = workshop.allot(export_id, run_id, NOON)
    in_the_way = workshop.drop / temp_name("orders_20260301_2.csv", window.id)
    in_the_way.mkdir()
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, NOON, run_id)
    in_the_way.rmdir()
    workshop.ledger.extracted(window.id)[1].path.unlink()
    workshop.sqlite(script="UPDATE orders SET id = 9 WHERE id = 3;")
    for _ in range(2):
        with pytest.raises(ExportError) as caught:
            run_plainly(workshop, export_id, NOON, run_id)
        assert caught.value.code is Code.PUBLICATION_UNKNOWN and list(workshop.files()) == ["orders_20260301_1.csv"]
    (workshop.drop / "orders_20260301_1.csv").unlink()
    workshop.run("ledger", export_id, "--resolve", window.id, "again")
    run_plainly(workshop, export_id, NOON, run_id)
    assert workshop.files().keys() == {*FILES, MANIFEST} and workshop.text("orders_20260301_2.csv") == "id\n9\n"


def test_nothing_delivered_has_no_manifest(workshop: Workshop, database: Path) -> None:
    file = {"name": "orders_{date:%Y%m%d}.csv", "manifest": True}
    skipping = workshop.incremental(where="id > 9", file={**file, "empty": "skip"})
    run_plainly(workshop, skipping, NOON)
    assert workshop.files() == {}
    header = workshop.incremental(workshop.id("header"), where="id > 9", columns=["id"], file=file)
    run_plainly(workshop, header, NOON)
    content = json.loads(workshop.files()["orders_20260301.csv.manifest.json"])
    assert content["rows"] == 0 and [file["bytes"] for file in content["files"]] == [3]
