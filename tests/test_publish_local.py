"""The contract of a publisher, on every one there is; then what is the local folder's own."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from catalog.connections import Target
from catalog.errors import Code, ExportError
from tasks.publish import Publisher, open_publisher
from tasks.publish.contract import temp_name
from tasks.publish.local import LocalPublisher

CONTENT = b"id\n1\n" * 100_000
TEMP, NAME = temp_name("orders.csv", "w1"), "orders.csv"


def no_secrets(name: str) -> str:
    raise AssertionError(f"nobody asked for {name}")


def same_disk(tmp_path: Path) -> LocalPublisher:
    (tmp_path / "drop").mkdir()
    return LocalPublisher(tmp_path / "drop")


def no_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalPublisher:
    # As FAT, and most network shares, answer.
    def refused(source: object, target: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refused)
    return same_disk(tmp_path)


def no_rename_to_a_free_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalPublisher:
    # As on NFS, and on systems that have no such call.
    def refused(source: object, target: object) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr("tasks.publish.no_clobber._rename", refused)
    return same_disk(tmp_path)


@pytest.fixture(params=["same disk", "no hard links", "no rename to a free name", "another disk"])
def publisher(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LocalPublisher]:
    """Every publisher, on an empty target. Another protocol's goes here."""
    if request.param == "same disk":
        yield same_disk(tmp_path)
    elif request.param == "no hard links":
        yield no_hard_links(tmp_path, monkeypatch)
    elif request.param == "no rename to a free name":
        yield no_rename_to_a_free_name(tmp_path, monkeypatch)
    else:
        yield LocalPublisher(request.getfixturevalue("small_disk"))


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "spool_file"
    path.touch(mode=0o600)
    path.write_bytes(CONTENT)
    return path


def content(publisher: Publisher, folder: str, name: str) -> tuple[int, str] | None:
    found = publisher.stat(folder, name)
    return (found.size, found.sha256()) if found else None


def of(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("folder", ["", "in", "in/2026"])
def test_a_file_is_whole_under_its_temp_name_and_then_under_its_own(
    publisher: Publisher, local: Path, folder: str
) -> None:
    publisher.check()
    publisher.put(local, folder, TEMP)
    assert content(publisher, folder, TEMP) == of(CONTENT) and publisher.stat(folder, NAME) is None
    publisher.publish(folder, TEMP, NAME, replace=False)
    assert publisher.stat(folder, TEMP) is None and content(publisher, folder, NAME) == of(CONTENT)


def test_an_upload_begins_anew_over_what_was_left(publisher: Publisher, local: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"left behind")
    publisher.put(tmp_path / "other", "", TEMP)
    publisher.put(local, "", TEMP)
    assert content(publisher, "", TEMP) == of(CONTENT)
    assert (tmp_path / "other").read_bytes() == b"left behind"


def test_publishing_never_takes_the_place_of_another_file(publisher: Publisher, local: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"other")
    publisher.put(tmp_path / "other", "", temp_name(NAME, "w0"))
    publisher.publish("", temp_name(NAME, "w0"), NAME, replace=False)
    publisher.put(local, "", TEMP)
    with pytest.raises(ExportError) as caught:
        publisher.publish("", TEMP, NAME, replace=False)
    assert caught.value.code is Code.FILE_EXISTS and publisher.address("", NAME) in caught.value.message
    assert "5 bytes, of 20" in caught.value.message and "conflict: replace" in str(caught.value.hint)
    assert content(publisher, "", NAME) == of(b"other") and content(publisher, "", TEMP) == of(CONTENT)
    publisher.publish("", TEMP, NAME, replace=True)
    assert content(publisher, "", NAME) == of(CONTENT) and publisher.stat("", TEMP) is None


def test_replacing_what_is_not_there_is_publishing(publisher: Publisher, local: Path) -> None:
    publisher.put(local, "", TEMP)
    publisher.publish("", TEMP, NAME, replace=True)
    assert content(publisher, "", NAME) == of(CONTENT) and publisher.stat("", TEMP) is None


def test_removing_is_done_once(publisher: Publisher, local: Path) -> None:
    publisher.put(local, "", TEMP)
    for _ in range(2):
        publisher.remove("", TEMP)
        assert publisher.stat("", TEMP) is None


def test_a_folder_that_is_not_there_is_denied(publisher: Publisher, local: Path) -> None:
    with pytest.raises(ExportError) as caught:
        publisher.check("in")
    assert caught.value.code is Code.TARGET_DENIED and publisher.stat("in", NAME) is None
    publisher.put(local, "in", TEMP)
    publisher.check("in")


def test_a_full_target_is_said_and_keeps_nothing_of_the_file(small_disk: Path, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(2_000_000))
    with pytest.raises(ExportError) as caught:
        LocalPublisher(small_disk).put(tmp_path / "big", "in", TEMP)
    assert caught.value.code is Code.TARGET_FULL and TEMP in caught.value.message
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []


def test_the_root_is_never_made(tmp_path: Path, local: Path) -> None:
    publisher = LocalPublisher(tmp_path / "unmounted")
    for use in (publisher.check, lambda: publisher.put(local, "in", TEMP)):
        with pytest.raises(ExportError) as caught:
            use()
        assert caught.value.code is Code.TARGET_DENIED
        assert str(tmp_path / "unmounted") in caught.value.message and "relaunch" in str(caught.value.hint)
    assert not (tmp_path / "unmounted").exists()


def test_a_root_that_is_a_file(tmp_path: Path, local: Path) -> None:
    with pytest.raises(ExportError, match=r"TARGET_DENIED: .*Not a directory"):
        LocalPublisher(local).check()


def test_on_the_spools_own_disk_the_temp_is_a_link(tmp_path: Path, local: Path) -> None:
    publisher = same_disk(tmp_path)
    publisher.put(local, "", TEMP)
    assert (tmp_path / "drop" / TEMP).samefile(local)


def test_a_published_file_can_be_read_by_whom_the_umask_lets(publisher: LocalPublisher, local: Path) -> None:
    before = os.umask(0o027)
    try:
        publisher.put(local, "", TEMP)
    finally:
        os.umask(before)
    publisher.publish("", TEMP, NAME, replace=False)
    assert stat.S_IMODE(Path(publisher.address("", NAME)).stat().st_mode) == 0o640


def test_replacing_a_file_by_another_name_of_itself_leaves_one(tmp_path: Path, local: Path) -> None:
    publisher = same_disk(tmp_path)
    publisher.put(local, "", TEMP)
    os.link(tmp_path / "drop" / TEMP, tmp_path / "drop" / NAME)
    publisher.publish("", TEMP, NAME, replace=True)
    assert [path.name for path in (tmp_path / "drop").iterdir()] == [NAME]


def test_a_dangling_link_is_something_that_is_there(publisher: LocalPublisher, local: Path) -> None:
    final = Path(publisher.address("", NAME))
    final.symlink_to("nowhere")
    publisher.put(local, "", TEMP)
    with pytest.raises(ExportError, match="FILE_EXISTS"):
        publisher.publish("", TEMP, NAME, replace=False)
    assert final.is_symlink()


def test_a_file_that_is_taken_while_it_is_looked_at(tmp_path: Path, local: Path) -> None:
    publisher = same_disk(tmp_path)
    publisher.put(local, "", TEMP)
    found = publisher.stat("", TEMP)
    publisher.remove("", TEMP)
    assert found is not None
    with pytest.raises(ExportError) as caught:
        found.sha256()
    assert caught.value.code.tried_again


@pytest.mark.parametrize(
    "form", ["{path}", "file://{path}", "local://{path}", "{{{{ $DROP }}}}", "drop", "file://drop"]
)
def test_every_way_to_write_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    (tmp_path / "catalog").mkdir()
    monkeypatch.setenv("EXPORTS_CATALOG", str(tmp_path / "catalog"))
    monkeypatch.setenv("DROP", str(tmp_path / "drop"))
    publisher = open_publisher("drop", Target(url=form.format(path=tmp_path / "drop")), no_secrets)
    assert publisher.identity == (tmp_path / "drop").as_uri() and publisher.promise == "exactly once"
    assert publisher.address("in", NAME) == str(tmp_path / "drop" / "in" / NAME)


@pytest.mark.parametrize("url", ["sftp://me:hunter2@host/drop", "s3://bucket/folder", "memory://x", "nope://x"])
def test_a_protocol_nobody_serves_is_named(url: str) -> None:
    with pytest.raises(ExportError) as caught:
        open_publisher("partner", Target(url=url), no_secrets)
    assert caught.value.code is Code.TARGET_UNSUPPORTED and url.split(":")[0] in caught.value.message
    assert "file" in str(caught.value.hint) and "hunter2" not in caught.value.message
