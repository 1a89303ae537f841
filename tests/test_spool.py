"""The spool: private, whole or not there, and gone after delivery."""

from __future__ import annotations

from pathlib import Path

import pytest
from ledgers import allotted, full, hour, spooled

from catalog.errors import Code, ExportError
from catalog.places import spool_folder
from catalog.windows import Window
from tasks import spool
from tasks.ledger import Ledger


@pytest.fixture
def window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Window:
    monkeypatch.setenv("EXPORTS_SPOOL", str(tmp_path / "spool"))
    return allotted(Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}"), full(), hour(0))


def test_a_window_has_a_private_folder_of_its_own(window: Window, tmp_path: Path) -> None:
    folder = spool.begin(window)
    assert folder == tmp_path / "spool" / "orders" / window.id and folder.stat().st_mode & 0o777 == 0o700


def test_what_an_unfinished_extraction_left_is_removed(window: Window) -> None:
    (spool.begin(window) / "1.tmp").write_bytes(b"half")
    assert list(spool.begin(window).iterdir()) == []


def test_spool_files_stand_as_long_as_every_byte_does(window: Window) -> None:
    files = spooled(spool.begin(window), window, b"id\n1\n", b"id\n2\n")
    assert spool.stands(files) and not spool.stands([])
    files[1].path.write_bytes(b"id\n3\n")
    assert spool.stands(files[:1]) and not spool.stands(files)
    files[1].path.write_bytes(b"id\n2\n\n")
    assert not spool.stands(files)
    files[1].path.unlink()
    assert not spool.stands(files)


def test_delivered_files_leave_the_spool(window: Window, tmp_path: Path) -> None:
    spooled(spool.begin(window), window, b"1")
    for _ in range(2):
        spool.discard(window)
        assert list((tmp_path / "spool" / "orders").iterdir()) == []


def test_a_spool_that_cannot_be_made(window: Window, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("a file")
    with pytest.raises(ExportError) as caught:
        spool.begin(window)
    assert caught.value.code is Code.SPOOL_FULL and str(tmp_path / "spool") in caught.value.message
    assert "Not a directory" in caught.value.message and "EXPORTS_SPOOL" in str(caught.value.hint)


def test_a_spool_without_room(window: Window, small_disk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))
    monkeypatch.setenv("EXPORTS_SPOOL", str(small_disk / "spool"))
    with pytest.raises(OSError) as full_disk, (small_disk / "more").open("wb", buffering=0) as file:
        file.write(bytes(1_000_000))
        file.write(bytes(1))
    error = spool.spool_error(small_disk / "more", full_disk.value)
    assert error.code is Code.SPOOL_FULL and "No space left" in error.message and "(0 MB free)" in error.message


def test_the_sweep_removes_what_is_settled_and_nothing_else(window: Window) -> None:
    ledger_folder, foreign = spool.begin(window), spool_folder() / "other" / "x"
    gone = spool_folder() / "orders" / "settled"
    for folder in (gone, foreign):
        folder.mkdir(parents=True)
        (folder / "1").write_bytes(b"personal data")
    spool.sweep("orders", [window])
    assert ledger_folder.is_dir() and foreign.is_dir() and not gone.exists()
