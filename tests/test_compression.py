"""Compressed files: readable by everybody's tools, the same bytes however they came, and a full disk is an OSError."""

import csv
import gzip
import io
import random
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import zstandard
from written import OneWay, written

from tasks.rows.columns import column_of
from tasks.write import blocks, compress_zip, compress_zstd, parallel_deflate
from tasks.write.compress_gzip import GzipStream
from tasks.write.compress_zip import ZipStream
from tasks.write.compress_zstd import ZstdStream
from tasks.write.contract import Stream

STREAMS: dict[str, Callable[[Any], Stream]] = {
    "gzip": GzipStream,
    "zip": lambda sink: ZipStream(sink, "données.csv"),
    "zstd": ZstdStream,
}
BLOCK = blocks.BLOCK
SIZES = [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 12345]


def content_of(size: int) -> bytes:
    """Half text that repeats and half noise."""
    chance = random.Random(size)
    return b"".join(b"row %d,%d;" % (chance.randrange(50), chance.getrandbits(64)) for _ in range(size // 16 + 1))[
        :size
    ]


def compressed(kind: str, content: bytes, step: int) -> bytes:
    sink = OneWay()
    stream = STREAMS[kind](sink)
    for start in range(0, len(content), step):
        stream.write(memoryview(content)[start : start + step])
    stream.close()
    return bytes(sink.content)


def unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        (member,) = archive.infolist()
        assert member.filename == "données.csv" and member.date_time == (1980, 1, 1, 0, 0, 0)
        return archive.read(member)


READERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zip": unzipped,
    "zstd": lambda content: zstandard.ZstdDecompressor().decompressobj().decompress(content),
}


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("size", SIZES)
def test_every_byte_comes_back(kind: str, size: int) -> None:
    content = content_of(size)
    assert READERS[kind](compressed(kind, content, 70_000)) == content


@pytest.mark.parametrize("kind", STREAMS)
def test_the_bytes_depend_neither_on_the_writes_nor_on_the_cores(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of(20 * BLOCK + 77)
    first = compressed(kind, content, len(content))
    for cores in (1, 2, 7):
        for module in (parallel_deflate, compress_zstd):
            monkeypatch.setattr(module, "CORES", cores)
        for step in (10_007, BLOCK, 3 * BLOCK + 1):
            assert compressed(kind, content, step) == first, (cores, step)


def test_gzip_is_one_member_without_time_and_name(tmp_path: Path) -> None:
    content = content_of(3 * BLOCK)
    path = tmp_path / "a.gz"
    path.write_bytes(compressed("gzip", content, BLOCK))
    assert path.read_bytes()[3:9] == bytes(6) and gzip.decompress(path.read_bytes()) == content
    program = shutil.which("gzip")
    assert program, "gzip is a part of every system that this runs on"
    assert subprocess.run([program, "-dc", path], capture_output=True, check=True).stdout == content
    assert subprocess.run([program, "-t", path], capture_output=True).stderr == b""


def test_blocks_know_what_came_before_them() -> None:
    noise = random.Random(1).randbytes(20_000)
    assert len(compressed("gzip", noise * 500, BLOCK)) < 2 * len(compressed("gzip", noise, BLOCK)) + 200_000


@pytest.mark.parametrize("kind", ["gzip", "zip"])
def test_no_more_is_held_than_the_cores_need(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_deflate, "CORES", 2)
    sink = OneWay()
    stream = STREAMS[kind](sink)
    noise = random.Random(1).randbytes(BLOCK)
    for written_blocks in range(1, 30):
        stream.write(noise)
        assert len(sink.content) >= (written_blocks - 5) * BLOCK
    stream.close()


def test_a_zip_is_sound_to_other_readers_and_beyond_32_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    content = content_of(BLOCK + 5)
    small = compressed("zip", content, BLOCK)
    monkeypatch.setattr(compress_zip, "_LARGE", 1000)
    large = compressed("zip", content, BLOCK)
    for archive in (small, large):
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            assert opened.testzip() is None
            assert opened.infolist()[0].file_size == len(content)
    assert len(large) - len(small) == 8 + 20 + 56 + 20


@pytest.mark.parametrize("kind", STREAMS)
@pytest.mark.parametrize("room", [0, 3, 100_000, 3 * BLOCK])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_an_os_error_and_leaves_no_thread(kind: str, room: int) -> None:
    threads = set(threading.enumerate())
    sink = OneWay(room)
    noise = random.Random(1).randbytes(8 * BLOCK)
    with pytest.raises(OSError, match="No space left"):
        stream = STREAMS[kind](sink)
        # The sink takes nothing more once it has refused: what has failed is not ended as if it had not.
        with closing(stream):
            for _ in range(8):
                stream.write(noise)
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize("kind", STREAMS)
def test_a_disk_that_is_full_at_the_very_end_is_an_os_error(kind: str) -> None:
    whole = compressed(kind, b"row\n" * 100, 1000)
    stream = STREAMS[kind](OneWay(len(whole) - 1))
    stream.write(b"row\n" * 100)
    with pytest.raises(OSError, match="No space left"):
        stream.close()


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize("kind", STREAMS)
def test_every_line_format_takes_every_compression(form: str, kind: str) -> None:
    columns = [column_of("n", "bigint"), column_of("t", "text")]
    rows = [(str(number), f"ü {number}") for number in range(1000)]
    plain = written(columns, rows, format=form)
    content = written(columns, rows, name="données.csv.zip", format=form, compression=kind)
    assert READERS[kind](content) == plain
    if form == "csv":
        assert list(csv.reader(io.StringIO(plain.decode())))[1:] == [list(row) for row in rows]


@pytest.mark.parametrize("kind", STREAMS)
def test_threads_do_not_outlive_the_file(kind: str) -> None:
    threads = set(threading.enumerate())
    compressed(kind, content_of(5 * BLOCK), BLOCK)
    assert set(threading.enumerate()) <= threads
