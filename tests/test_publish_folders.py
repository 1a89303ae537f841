"""What every publisher promises whose target is a folder: links in it, a full disk, a folder that is something else."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from publishers import BLIND_TO_LINKS, CONTENT, NAME, TEMP, Opener, content, files_in, of

from catalog.errors import Code, ExportError
from tasks.publish import Publisher


def test_a_file_is_whole_under_its_temp_name(folder_publisher: Publisher, drop: Path, spool_file: Path) -> None:
    folder_publisher.put(spool_file, "in", TEMP)
    assert content(folder_publisher, "in", TEMP) == of(CONTENT) and files_in(drop) == {f"in/{TEMP}": CONTENT}


def test_an_upload_begins_anew_over_what_was_left(
    folder_publisher: Publisher, spool_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_bytes(b"left behind")
    folder_publisher.put(tmp_path / "other", "", TEMP)
    folder_publisher.put(spool_file, "", TEMP)
    assert content(folder_publisher, "", TEMP) == of(CONTENT)
    assert (tmp_path / "other").read_bytes() == b"left behind"


def test_a_dangling_link_is_something_that_is_there(
    folder_publisher: Publisher, drop: Path, spool_file: Path, request: pytest.FixtureRequest
) -> None:
    (drop / NAME).symlink_to("nowhere")
    folder_publisher.put(spool_file, "", TEMP)
    if request.node.callspec.id in BLIND_TO_LINKS:
        folder_publisher.publish("", TEMP, NAME, replace=False)
        assert files_in(drop) == {NAME: CONTENT}
        return
    with pytest.raises(ExportError, match="FILE_EXISTS"):
        folder_publisher.publish("", TEMP, NAME, replace=False)
    assert (drop / NAME).is_symlink()


def test_replacing_a_file_by_another_name_of_itself_leaves_one(
    folder_publisher: Publisher, drop: Path, spool_file: Path
) -> None:
    folder_publisher.put(spool_file, "", TEMP)
    # Not by Python, which is told in one case that there are no links here.
    subprocess.run(["ln", drop / TEMP, drop / NAME], check=True)
    folder_publisher.publish("", TEMP, NAME, replace=True)
    assert files_in(drop) == {NAME: CONTENT}


def test_a_folder_that_is_not_there_is_denied(folder_publisher: Publisher, drop: Path, spool_file: Path) -> None:
    with pytest.raises(ExportError) as caught:
        folder_publisher.check("in")
    assert caught.value.code is Code.TARGET_DENIED and folder_publisher.stat("in", NAME) is None
    folder_publisher.put(spool_file, "in", TEMP)
    folder_publisher.check("in")
    assert files_in(drop) == {f"in/{TEMP}": CONTENT}


def test_a_folder_that_is_a_file_is_denied(folder_publisher: Publisher, drop: Path, spool_file: Path) -> None:
    (drop / "in").write_bytes(b"a file")
    for use in (lambda: folder_publisher.check("in"), lambda: folder_publisher.put(spool_file, "in", TEMP)):
        with pytest.raises(ExportError) as caught:
            use()
        assert caught.value.code is Code.TARGET_DENIED


def test_a_full_target_is_said_and_keeps_nothing_of_the_file(opener: Opener, small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(2_000_000))
    with closing(opener(small_disk)) as publisher, pytest.raises(ExportError) as caught:
        publisher.put(tmp_path / "big", "in", TEMP)
    assert caught.value.code is Code.TARGET_FULL and TEMP in caught.value.message
    assert files_in(small_disk) == {}


def test_another_disk_than_the_spools(opener: Opener, small_disk: Path, spool_file: Path) -> None:
    with closing(opener(small_disk)) as publisher:
        publisher.put(spool_file, "in", TEMP)
        publisher.publish("in", TEMP, NAME, replace=False)
    assert files_in(small_disk) == {f"in/{NAME}": CONTENT}
