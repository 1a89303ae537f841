"""What goes with the data: checksums that sha256sum reads, and a done marker that comes after everything else."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import UTC, datetime
from unittest import mock

import pytest
from ledgers import a_run
from plain_run import run_plainly
from workshop import Workshop

from catalog.errors import Code, ExportError
from tasks.publish.local import LocalPublisher

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
DATA = ["orders_1.csv", "orders_2.csv"]
CHECKSUMS = [f"{name}.sha256" for name in DATA]
MANIFEST, DONE = "orders_1.csv.manifest.json", "orders_1.csv.done"
IN_ORDER = [*DATA, *CHECKSUMS, MANIFEST, DONE]


@pytest.fixture
def export_id(workshop: Workshop) -> str:
    workshop.sqlite()
    file = {"name": "orders_{part}.csv", "max_rows": 2, "manifest": True, "checksum": "sha256", "done": True}
    return workshop.export(columns=["id"], file=file)


def test_sha256sum_reads_the_checksums(workshop: Workshop, export_id: str) -> None:
    run_plainly(workshop, export_id, NOON)
    command = ["sha256sum", "--check", "--strict", *CHECKSUMS]
    checked = subprocess.run(command, cwd=workshop.drop, capture_output=True, text=True)
    assert checked.stdout == "orders_1.csv: OK\norders_2.csv: OK\n", checked.stderr
    (workshop.drop / DATA[1]).write_bytes(b"other")
    assert subprocess.run(command, cwd=workshop.drop, capture_output=True).returncode == 1


def test_they_come_after_the_data_and_the_marker_last(workshop: Workshop, export_id: str) -> None:
    appeared: list[str] = []
    publish = LocalPublisher.publish

    def noted(self: LocalPublisher, folder: str, temp_name: str, name: str, *, replace: bool) -> None:
        publish(self, folder, temp_name, name, replace=replace)
        appeared.append(name)

    with mock.patch.object(LocalPublisher, "publish", noted):
        run_plainly(workshop, export_id, NOON)
    assert appeared == IN_ORDER
    assert workshop.files()[DONE] == b""


def test_reports_and_manifest_know_the_data_alone(workshop: Workshop, export_id: str) -> None:
    ran = run_plainly(workshop, export_id, NOON)
    assert [file.name for file in workshop.ledger.delivered_by_run(ran.run_id)] == DATA
    assert [file["name"] for file in json.loads(workshop.text(MANIFEST))["files"]] == DATA
    assert any(line == "extracted 3 rows into 2 files" for line in ran.told.lines), ran.told.lines
    (entry,) = workshop.json("ledger", export_id)
    assert [(file["name"], file["state"]) for file in entry["files"]] == [(name, "COMMITTED") for name in IN_ORDER]


def test_those_that_only_the_spool_lost_are_made_again(workshop: Workshop, export_id: str) -> None:
    run_id, put = a_run(), LocalPublisher.put

    def without_room(self: LocalPublisher, local: object, folder: str, temp_name: str) -> None:
        if temp_name.startswith(f".{CHECKSUMS[0]}."):
            raise ExportError(Code.TARGET_FULL, "no room", "make room")
        put(self, local, folder, temp_name)  # type: ignore[arg-type]

    with mock.patch.object(LocalPublisher, "put", without_room), pytest.raises(ExportError, match="TARGET_FULL"):
        run_plainly(workshop, export_id, NOON, run_id)
    window = workshop.ledger.window_of_run(run_id)
    assert window is not None
    extracted = workshop.ledger.extracted(window.id)
    for file in extracted:
        if file.kind != "data":
            file.path.unlink()
    (workshop.folder / "crm.sqlite").unlink()
    run_plainly(workshop, export_id, NOON, run_id)
    found = {name: hashlib.sha256(content).hexdigest() for name, content in workshop.files().items()}
    assert found == {file.name: file.sha256 for file in extracted}


def test_nothing_delivered_has_no_marker(workshop: Workshop) -> None:
    workshop.sqlite()
    file = {"name": "orders.csv", "empty": "skip", "checksum": "sha256", "done": True}
    run_plainly(workshop, workshop.export(where="id > 9", file=file), NOON)
    assert workshop.files() == {}
