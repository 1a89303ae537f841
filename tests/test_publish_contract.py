"""What every publisher promises, on every one there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from publishers import CONTENT, NAME, Place, content, of, uploaded

from catalog.errors import Code, ExportError
from tasks.publish import Publisher
from tasks.publish.contract import temp_name


@pytest.mark.parametrize("folder", ["", "in", "in/2026"])
def test_a_file_is_whole_under_its_temp_name_and_then_under_its_own(
    publisher: Publisher, place: Place, spool_file: Path, folder: str
) -> None:
    publisher.check()
    temp = uploaded(publisher, spool_file, folder)
    found = publisher.stat(folder, temp)
    assert found is not None and found.size == len(CONTENT) and publisher.stat(folder, NAME) is None
    publisher.publish(folder, temp, NAME, replace=False)
    assert publisher.stat(folder, temp) is None and content(publisher, folder, NAME) == of(CONTENT)
    assert place.files() == {f"{folder}/{NAME}".lstrip("/"): CONTENT}


@pytest.mark.parametrize("size", [0, 1, 32 * 1024, 8 * 1024 * 1024, 20_000_001])
def test_every_byte_of_any_number_of_them_arrives(
    publisher: Publisher, place: Place, tmp_path: Path, size: int
) -> None:
    data = (b"0123456789abcdef!" * (size // 17 + 1))[:size]
    (tmp_path / "file").write_bytes(data)
    temp = uploaded(publisher, tmp_path / "file")
    found = publisher.stat("", temp)
    assert found is not None and found.size == size
    publisher.publish("", temp, NAME, replace=False)
    assert place.files() == {NAME: data} and content(publisher, "", NAME) == of(data)


def test_any_character_that_a_name_may_have(publisher: Publisher, place: Place, spool_file: Path) -> None:
    name = "Données d'été, 100 % (Ω).csv"
    temp = uploaded(publisher, spool_file, "in été", name)
    publisher.publish("in été", temp, name, replace=False)
    assert content(publisher, "in été", name) == of(CONTENT) and place.files() == {f"in été/{name}": CONTENT}


def test_an_upload_is_its_own_whatever_another_one_left(
    publisher: Publisher, place: Place, spool_file: Path, tmp_path: Path
) -> None:
    """Of the same file by a run that died, or of another one that is to have the same name."""
    (tmp_path / "other").write_bytes(CONTENT * 2)
    left = uploaded(publisher, tmp_path / "other", upload="left")
    temp = uploaded(publisher, spool_file)
    found = publisher.stat("", temp)
    assert left != temp and found is not None and found.size == len(CONTENT)
    publisher.publish("", temp, NAME, replace=False)
    assert content(publisher, "", NAME) == of(CONTENT)
    publisher.remove("", left)
    assert publisher.stat("", left) is None and place.files() == {NAME: CONTENT}


def test_publishing_never_takes_the_place_of_another_file(publisher: Publisher, place: Place, spool_file: Path) -> None:
    place.write(NAME, b"other")
    temp = uploaded(publisher, spool_file)
    with pytest.raises(ExportError) as caught:
        publisher.publish("", temp, NAME, replace=False)
    assert caught.value.code is Code.FILE_EXISTS and publisher.address("", NAME) in caught.value.message
    assert "5 bytes, of 20" in caught.value.message and "conflict: replace" in str(caught.value.hint)
    assert content(publisher, "", NAME) == of(b"other") and publisher.stat("", temp) is not None
    publisher.publish("", temp, NAME, replace=True)
    assert place.files() == {NAME: CONTENT}


def test_replacing_what_is_not_there_is_publishing(publisher: Publisher, place: Place, spool_file: Path) -> None:
    publisher.publish("", uploaded(publisher, spool_file), NAME, replace=True)
    assert place.files() == {NAME: CONTENT}


def test_a_temp_that_is_gone_cannot_be_published(publisher: Publisher, place: Place) -> None:
    temp = publisher.begin("", NAME, temp_name(NAME, "w1", "u1"))
    publisher.remove("", temp)
    with pytest.raises(ExportError) as caught:
        publisher.publish("", temp, NAME, replace=False)
    assert caught.value.code is Code.TARGET_DENIED and place.files() == {}


def test_removing_is_done_once(publisher: Publisher, place: Place, spool_file: Path) -> None:
    temp = uploaded(publisher, spool_file)
    place.write("other", b"other")
    for name in (temp, "other"):
        for _ in range(2):
            publisher.remove("", name)
            assert publisher.stat("", name) is None
    assert place.files() == {}


def test_what_nobody_made_is_denied_and_never_made(place: Place, spool_file: Path) -> None:
    """A root that is an unmounted disk, or a bucket that was deleted."""
    with closing(place.publisher_nowhere()) as publisher:
        for use in (publisher.check, lambda: uploaded(publisher, spool_file, "in")):
            with pytest.raises(ExportError) as caught:
                use()
            assert caught.value.code is Code.TARGET_DENIED
            assert "unmounted" in caught.value.message and "relaunch" in str(caught.value.hint)
    assert place.files() == {}


def test_a_file_that_is_taken_while_it_is_looked_at(publisher: Publisher, spool_file: Path) -> None:
    publisher.publish("", uploaded(publisher, spool_file), NAME, replace=False)
    found = publisher.stat("", NAME)
    publisher.remove("", NAME)
    assert found is not None
    with pytest.raises(ExportError) as caught:
        found.sha256()
    assert caught.value.code.tried_again


def test_a_closed_publisher_opens_again(publisher: Publisher, place: Place, spool_file: Path) -> None:
    publisher.close()
    temp = uploaded(publisher, spool_file)
    publisher.close()
    publisher.close()
    publisher.publish("", temp, NAME, replace=False)
    assert place.files() == {NAME: CONTENT}


def test_one_place_has_one_identity(place: Place) -> None:
    one, same, other = (place.publisher(name) for name in ("drop", "drop", "other"))
    assert one.identity == same.identity != other.identity
    assert one.address("in", NAME) == other.address("in", NAME).replace("/other/", "/drop/")
    assert one.address("in", NAME).endswith(f"/drop/in/{NAME}")
    assert one.promise == place.promise
