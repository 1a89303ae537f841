"""`exports download`: the bytes that were delivered, or a word on why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sftp_server import SftpServer
from workshop import Workshop


def finished(prefect: Workshop, **keys: Any) -> tuple[str, dict[str, Any]]:
    """A one shot that has run, and its report."""
    prefect.sqlite()
    export_id = prefect.export(type="one_shot", **keys)
    prefect.run("activate", export_id)
    run_id = prefect.json("runs", export_id)[0]["run_id"]
    return export_id, prefect.wait_for(lambda: prefect.ended(export_id, run_id))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    return folder


def test_a_one_shot_without_a_target_is_fetched(prefect: Workshop, prefect_worker: Any, here: Path) -> None:
    export_id, report = finished(prefect, target=None)
    found = prefect.json("download", export_id, "--to", str(here))
    assert found == {"export": export_id, "files": [str(here / "orders.csv")]}
    assert (here / "orders.csv").read_bytes() == Path(report["files"][0]["path"]).read_bytes()
    again = prefect.json("download", export_id, "--to", str(here), exit_code=1)
    assert again["error"]["code"] == "FILE_EXISTS"


def test_every_part_is_fetched_from_a_server(
    prefect: Workshop, prefect_worker: Any, sftp_server: SftpServer, here: Path
) -> None:
    (prefect.folder / "outbox").mkdir()
    keys = sftp_server.keys
    options = {"known_hosts": str(keys.known_hosts), "key_filename": str(keys.plain)}
    prefect.target("drop", sftp_server.url(prefect.folder / "outbox"), options=options)
    export_id, _ = finished(prefect, file={"name": "orders_{part}.csv", "max_rows": 2})
    prefect.run("download", export_id, "--to", str(here))
    dropped = {path.name: path.read_bytes() for path in (prefect.folder / "outbox").iterdir()}
    assert {path.name: path.read_bytes() for path in here.iterdir()} == dropped and len(dropped) == 2


@pytest.mark.parametrize("change", ["taken", "other bytes", "longer"])
def test_what_is_gone_is_said(prefect: Workshop, prefect_worker: Any, here: Path, change: str) -> None:
    export_id, report = finished(prefect)
    path = Path(report["files"][0]["path"])
    if change == "taken":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + (b"x" if change == "other bytes" else b"\nmore"))
    error = prefect.json("download", export_id, "--to", str(here), exit_code=1)["error"]
    assert error["code"] == "FILE_GONE" and not list(here.iterdir())


def test_what_arrived_by_a_persons_word_alone_is_not_there(prefect: Workshop, here: Path) -> None:
    prefect.sqlite()
    export_id = prefect.export(type="one_shot")
    prefect.drop.rmdir()
    prefect.json("run", export_id, exit_code=1)
    prefect.run("ledger", export_id, "--resolve", prefect.ledger.windows(export_id)[0].id, "sent")
    prefect.drop.mkdir()
    error = prefect.json("download", export_id, "--to", str(here), exit_code=1)["error"]
    assert error["code"] == "FILE_GONE" and "orders.csv" in error["message"]


def test_another_target_that_still_has_it_gives_it(prefect: Workshop, prefect_worker: Any, here: Path) -> None:
    (prefect.folder / "second").mkdir()
    prefect.target("second", str(prefect.folder / "second"))
    export_id, _ = finished(prefect, target=["drop", "second"])
    (prefect.drop / "orders.csv").unlink()
    prefect.run("download", export_id, "--to", str(here))
    assert (here / "orders.csv").read_bytes() == (prefect.folder / "second" / "orders.csv").read_bytes()


def test_what_is_no_finished_one_shot_is_refused(prefect: Workshop) -> None:
    prefect.sqlite()
    for keys in ({}, {"type": "one_shot"}):
        error = prefect.json("download", prefect.export(prefect.id(f"e{len(keys)}"), **keys), exit_code=3)["error"]
        assert error["code"] == "STATUS_REFUSED"
