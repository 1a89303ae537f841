"""What every publisher promises, on every one there is."""

from __future__ import annotations

import subprocess
from contextlib import closing
from pathlib import Path

import pytest
from publishers import BLIND_TO_LINKS, CONTENT, NAME, TEMP, Opener, content, files_in, of

from catalog.errors import Code, ExportError
from tasks.publish import Publisher
from tasks.publish.contract import temp_name


@pytest.mark.parametrize("folder", ["", "in", "in/2026"])
def test_a_file_is_whole_under_its_temp_name_and_then_under_its_own(
    publisher: Publisher, drop: Path, spool_file: Path, folder: str
) -> None:
    publisher.check()
    publisher.put(spool_file, folder, TEMP)
    assert content(publisher, folder, TEMP) == of(CONTENT) and publisher.stat(folder, NAME) is None
    publisher.publish(folder, TEMP, NAME, replace=False)
    assert publisher.stat(folder, TEMP) is None and content(publisher, folder, NAME) == of(CONTENT)
    assert files_in(drop / folder) == {NAME: CONTENT}


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 5_000_001])
def test_every_byte_of_any_number_of_them_arrives(publisher: Publisher, tmp_path: Path, size: int) -> None:
    data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    (tmp_path / "file").write_bytes(data)
    publisher.put(tmp_path / "file", "", TEMP)
    assert content(publisher, "", TEMP) == of(data)


def test_any_character_that_a_name_may_have(publisher: Publisher, drop: Path, spool_file: Path) -> None:
    name = "Données d'été, 100 % (Ω).csv"
    publisher.put(spool_file, "in été", temp_name(name, "w1", "u1"))
    publisher.publish("in été", temp_name(name, "w1", "u1"), name, replace=False)
    assert content(publisher, "in été", name) == of(CONTENT) and files_in(drop) == {f"in été/{name}": CONTENT}


def test_an_upload_begins_anew_over_what_was_left(publisher: Publisher, spool_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"left behind")
    publisher.put(tmp_path / "other", "", TEMP)
    publisher.put(spool_file, "", TEMP)
    assert content(publisher, "", TEMP) == of(CONTENT)
    assert (tmp_path / "other").read_bytes() == b"left behind"


def test_publishing_never_takes_the_place_of_another_file(
    publisher: Publisher, drop: Path, spool_file: Path, tmp_path: Path
) -> None:
    (drop / NAME).write_bytes(b"other")
    publisher.put(spool_file, "", TEMP)
    with pytest.raises(ExportError) as caught:
        publisher.publish("", TEMP, NAME, replace=False)
    assert caught.value.code is Code.FILE_EXISTS and publisher.address("", NAME) in caught.value.message
    assert "5 bytes, of 20" in caught.value.message and "conflict: replace" in str(caught.value.hint)
    assert content(publisher, "", NAME) == of(b"other") and content(publisher, "", TEMP) == of(CONTENT)
    publisher.publish("", TEMP, NAME, replace=True)
    assert files_in(drop) == {NAME: CONTENT}


def test_a_dangling_link_is_something_that_is_there(
    publisher: Publisher, drop: Path, spool_file: Path, request: pytest.FixtureRequest
) -> None:
    (drop / NAME).symlink_to("nowhere")
    publisher.put(spool_file, "", TEMP)
    if request.node.callspec.id in BLIND_TO_LINKS:
        publisher.publish("", TEMP, NAME, replace=False)
        assert files_in(drop) == {NAME: CONTENT}
        return
    with pytest.raises(ExportError, match="FILE_EXISTS"):
        publisher.publish("", TEMP, NAME, replace=False)
    assert (drop / NAME).is_symlink()


def test_replacing_what_is_not_there_is_publishing(publisher: Publisher, drop: Path, spool_file: Path) -> None:
    publisher.put(spool_file, "", TEMP)
    publisher.publish("", TEMP, NAME, replace=True)
    assert files_in(drop) == {NAME: CONTENT}


def test_replacing_a_file_by_another_name_of_itself_leaves_one(
    publisher: Publisher, drop: Path, spool_file: Path
) -> None:
    publisher.put(spool_file, "", TEMP)
    # Not by Python, which is told in one case that there are no links here.
    subprocess.run(["ln", drop / TEMP, drop / NAME], check=True)
    publisher.publish("", TEMP, NAME, replace=True)
    assert files_in(drop) == {NAME: CONTENT}


def test_a_temp_that_is_gone_cannot_be_published(publisher: Publisher, drop: Path) -> None:
    with pytest.raises(ExportError) as caught:
        publisher.publish("", TEMP, NAME, replace=False)
    assert caught.value.code is Code.TARGET_DENIED and files_in(drop) == {}


def test_removing_is_done_once(publisher: Publisher, spool_file: Path) -> None:
    publisher.put(spool_file, "", TEMP)
    for _ in range(2):
        publisher.remove("", TEMP)
        assert publisher.stat("", TEMP) is None


def test_a_folder_that_is_not_there_is_denied(publisher: Publisher, drop: Path, spool_file: Path) -> None:
    with pytest.raises(ExportError) as caught:
        publisher.check("in")
    assert caught.value.code is Code.TARGET_DENIED and publisher.stat("in", NAME) is None
    publisher.put(spool_file, "in", TEMP)
    publisher.check("in")
    assert files_in(drop) == {f"in/{TEMP}": CONTENT}


def test_a_folder_that_is_a_file_is_denied(publisher: Publisher, drop: Path, spool_file: Path) -> None:
    (drop / "in").write_bytes(b"a file")
    for use in (lambda: publisher.check("in"), lambda: publisher.put(spool_file, "in", TEMP)):
        with pytest.raises(ExportError) as caught:
            use()
        assert caught.value.code is Code.TARGET_DENIED


def test_the_root_is_never_made(opener: Opener, tmp_path: Path, spool_file: Path) -> None:
    with closing(opener(tmp_path / "unmounted")) as publisher:
        for use in (publisher.check, lambda: publisher.put(spool_file, "in", TEMP)):
            with pytest.raises(ExportError) as caught:
                use()
            assert caught.value.code is Code.TARGET_DENIED
            assert "unmounted" in caught.value.message and "relaunch" in str(caught.value.hint)
    assert not (tmp_path / "unmounted").exists()


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


def test_a_file_that_is_taken_while_it_is_looked_at(publisher: Publisher, spool_file: Path) -> None:
    publisher.put(spool_file, "", TEMP)
    found = publisher.stat("", TEMP)
    publisher.remove("", TEMP)
    assert found is not None
    with pytest.raises(ExportError) as caught:
        found.sha256()
    assert caught.value.code.tried_again


def test_a_closed_publisher_opens_again(publisher: Publisher, drop: Path, spool_file: Path) -> None:
    publisher.close()
    publisher.put(spool_file, "", TEMP)
    publisher.close()
    publisher.close()
    publisher.publish("", TEMP, NAME, replace=False)
    assert files_in(drop) == {NAME: CONTENT}


def test_one_place_has_one_identity(opener: Opener, tmp_path: Path) -> None:
    one, same, other = (opener(tmp_path / name) for name in ("drop", "drop", "other"))
    assert one.identity == same.identity != other.identity and one.promise == "exactly once"
    assert one.address("in", NAME) == other.address("in", NAME).replace("/other/", "/drop/")
    assert one.address("in", NAME).endswith(f"/drop/in/{NAME}")
