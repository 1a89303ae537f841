"""What is the local folder's own; what it shares with every publisher is in test_publish_contract."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from publishers import NAME, TEMP

from catalog.connections import Target
from catalog.errors import Code, ExportError
from tasks.publish import open_publisher
from tasks.publish.local import LocalPublisher


def no_secrets(name: str) -> str:
    raise AssertionError(f"nobody asked for {name}")


def test_a_root_that_is_a_file(spool_file: Path) -> None:
    with pytest.raises(ExportError, match=r"TARGET_DENIED: .*Not a directory"):
        LocalPublisher(spool_file).check()


def test_on_the_spools_own_disk_the_temp_is_a_link(drop: Path, spool_file: Path) -> None:
    LocalPublisher(drop).put(spool_file, "", TEMP)
    assert (drop / TEMP).samefile(spool_file)


@pytest.mark.parametrize("disk", ["drop", "small_disk"])
def test_a_published_file_can_be_read_by_whom_the_umask_lets(
    request: pytest.FixtureRequest, disk: str, spool_file: Path
) -> None:
    publisher = LocalPublisher(request.getfixturevalue(disk))
    before = os.umask(0o027)
    try:
        publisher.put(spool_file, "", TEMP)
    finally:
        os.umask(before)
    publisher.publish("", TEMP, NAME, replace=False)
    assert stat.S_IMODE(Path(publisher.address("", NAME)).stat().st_mode) == 0o640


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


@pytest.mark.parametrize("url", ["dav://me:hunter2@host/drop", "memory://x", "nope://x"])
def test_a_protocol_nobody_serves_is_named(url: str) -> None:
    with pytest.raises(ExportError) as caught:
        open_publisher("partner", Target(url=url), no_secrets)
    assert caught.value.code is Code.TARGET_UNSUPPORTED and url.split(":")[0] in caught.value.message
    assert "a local folder" in str(caught.value.hint) and "hunter2" not in caught.value.message
