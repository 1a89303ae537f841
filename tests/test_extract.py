"""Into the spool: the final bytes of every part, counted and hashed as they stand, or nothing at all."""

import gzip
import hashlib
import io
import json
import uuid
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow.parquet as pq
import pytest
import zstandard
from sources import NO_SECRETS, an_export, sqlite_file

from catalog.connections import Database
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, Window
from tasks import parts as parts_module
from tasks.extract import Extraction, extract

ROWS = """CREATE TABLE t (id INTEGER, word TEXT);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000)
INSERT INTO t SELECT i, hex(randomblob(32)) FROM n;"""
FORMATS: dict[str, dict[str, Any]] = {
    "csv": {"name": "t_{part:02d}.csv"},
    "gzip": {"name": "t_{part:02d}.csv.gz", "compression": "gzip"},
    "zip": {"name": "t_{part:02d}.csv.zip", "compression": "zip"},
    "zstd": {"name": "t_{part:02d}.csv.zst", "compression": "zstd"},
    "jsonl": {"name": "t_{part:02d}.jsonl", "format": "jsonl"},
    "parquet": {"name": "t_{part:02d}.parquet", "format": "parquet"},
    "xlsx": {"name": "t_{part:02d}.xlsx", "format": "xlsx"},
}


def extracted(
    url: str, spool: Path, monkeypatch: pytest.MonkeyPatch, on_progress: Callable[[int, int], None], **file: Any
) -> Extraction:
    monkeypatch.setenv("EXPORTS_SPOOL", str(spool))
    now, name = datetime.now(UTC), file["name"]
    window = Window(uuid.uuid4().hex, "t", 0, "full", Bounds(), now, "hash", "run", "", name)
    return extract(an_export(file=file), window, NO_SECRETS, on_progress, lambda _: Database(url=url))


def rows_in(path: Path, kind: str) -> list[Any]:
    content = path.read_bytes()
    if kind == "parquet":
        ids: list[int] = pq.read_table(io.BytesIO(content)).column("id").to_pylist()
        return ids
    if kind == "xlsx":
        sheet: Any = openpyxl.load_workbook(io.BytesIO(content), read_only=True).active
        return [row[0] for row in sheet.iter_rows(min_row=2, values_only=True)]
    if kind == "jsonl":
        return [json.loads(line)["id"] for line in content.splitlines()]
    lines = _plain(content, kind).decode().splitlines()
    assert lines[0] == "id,word"
    return [int(line.split(",")[0]) for line in lines[1:]]


def _plain(content: bytes, kind: str) -> bytes:
    if kind == "zip":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = archive.namelist()
            assert name.startswith("t_0") and name.endswith(".csv")
            return archive.read(name)
    if kind == "zstd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(content)
    return gzip.decompress(content) if kind == "gzip" else content


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("max_rows", [9_999, 12_500, 25_000, 30_000])
def test_parts_are_cut_by_rows_and_counted_as_they_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, max_rows: int
) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(parts_module, "PROGRESS_SECONDS", 0)
    result = extracted(
        sqlite_file(tmp_path, ROWS),
        tmp_path / "spool",
        monkeypatch,
        lambda rows, size: told.append((rows, size)),
        **FORMATS[kind],
        max_rows=max_rows,
    )
    assert [file.rows for file in result.files] == [min(max_rows, 25_000 - at) for at in range(0, 25_000, max_rows)]
    assert [file.part for file in result.files] == list(range(1, len(result.files) + 1))
    assert result.files[0].name.startswith("t_01.")
    found: list[int] = []
    for file in result.files:
        content = file.path.read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (file.bytes, file.sha256)
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert file.path.parent.stat().st_mode & 0o777 == 0o700
        found += rows_in(file.path, kind)
    assert found == list(range(1, 25_001))
    assert told == sorted(told) and told[-1][0] == 25_000
    assert {file.path for file in result.files} == set(result.files[0].path.parent.iterdir())


@pytest.mark.parametrize("kind", FORMATS)
def test_rows_stand_nowhere_but_in_the_spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """There they are private, and what a run that died left of them is removed."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there is none"))
    result = extracted(
        sqlite_file(tmp_path, ROWS), tmp_path / "spool", monkeypatch, lambda *_: None, **FORMATS[kind], max_rows=25_000
    )
    assert [file.rows for file in result.files] == [25_000]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_full_spool_leaves_nothing_and_says_where(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with pytest.raises(ExportError, match="MB free") as caught:
        # Incompressible, so that compressed files are larger than the disk too.
        script = ROWS.replace("hex(randomblob(32))", "hex(randomblob(64))")
        extracted(
            sqlite_file(tmp_path, script), small_disk, monkeypatch, lambda *_: None, **FORMATS[kind], max_rows=9000
        )
    assert caught.value.code is Code.SPOOL_FULL and str(small_disk) in caught.value.message
    assert [path for path in small_disk.rglob("*") if path.is_file()] == []
