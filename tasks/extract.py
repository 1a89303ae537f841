"""One window out of the database into the spool: the final bytes of every part, whole and counted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from catalog.connections import Database
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.load import load_database
from catalog.naming import fill_part
from catalog.windows import Window
from tasks.bulk import Inexact, Lines, open_bulk, open_lines
from tasks.clock import refuse_unsettled
from tasks.columns import Column
from tasks.connect import Source, open_source
from tasks.credentials import Lookup
from tasks.durable import flush_folder
from tasks.hashed_file import HashedFile, create
from tasks.ledger import Extracted, Findings
from tasks.ledger.memory import Memory
from tasks.lookback import Lookback
from tasks.read import Begun, LateRows, Rows, begin_reading, open_rows
from tasks.relation import Identity, relation_of
from tasks.replaced import refuse_other
from tasks.spool import folder_of, spool_error, write_manifest
from tasks.write import FORMS, CsvWriter, Writer, open_writer

#: Told how many rows and bytes are written, about once a second.
OnProgress = Callable[[int, int], None]
_PROGRESS_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was extracted: the parts in order (none when there is nothing to deliver), and what was found beside.

    `read_anew` is why a bulk path gave up, where one did: the rows took longer, and are the same.
    """

    files: tuple[Extracted, ...]
    rows: int
    findings: Findings
    read_anew: str | None = None


def extract(
    export: Export,
    window: Window,
    lookup: Lookup,
    on_progress: OnProgress = lambda rows, size: None,
    load: Callable[[str], Database] = load_database,
    memory: Memory | None = None,
) -> Extraction:
    """Read the window's rows and write its parts into the window's own folder of the spool.

    With `memory`, rows that came after earlier windows were read are among them. The manifest, if one is asked for, is
    the last part.
    Raises ExportError for whatever stands against it; then nothing is left in the spool.
    """
    folder = folder_of(window)
    parts = _Parts(export, window.file_name, folder, on_progress)
    try:
        with open_source(export.database, load(export.database), lookup) as source:
            if export.cursor is not None and export.cursor.mode == "lag":
                refuse_unsettled(source, window.bounds)
            if window.source is not None:
                # Between allotting and reading lies what made a run fail: a restore, a failover.
                refuse_other(export, Identity.from_text(window.source), relation_of(source, export).identity)
            begun = begin_reading(source, export, window.bounds)
            late = None
            if memory is not None:
                late = Lookback(source, export, window.bounds, begun.source_columns, memory)
            late_rows = late.late_rows() if late else None
            files = parts.read(source, begun, late_rows)
            nulls = begun.null_cursors
            findings = late.findings(parts.rows, nulls, window.id) if late else Findings(null_cursors=nulls)
        if export.file.manifest and files:
            files = (*files, write_manifest(window, files, folder))
    except BaseException:
        for leftover in folder.iterdir():
            leftover.unlink()
        raise
    return Extraction(files, parts.rows, findings, parts.read_anew)


class _Parts:
    def __init__(self, export: Export, name: str, folder: Path, on_progress: OnProgress) -> None:
        self._export, self._file, self._name, self._folder = export, export.file, name, folder
        self._on_progress, self._told = on_progress, time.monotonic()
        self._bytes = 0
        self.rows = 0
        self.read_anew: str | None = None

    def read(self, source: Source, begun: Begun, late: LateRows | None) -> tuple[Extracted, ...]:
        """All parts, by the fastest path that gives exactly these rows."""
        form = FORMS[self._file.format]
        if late is None:
            lines = open_lines(source, self._export, begun)
            if lines is not None:
                with closing(lines.chunks):
                    return self.write_lines(lines)
            bulk = open_bulk(source, self._export, begun, form)
            if bulk is not None:
                try:
                    return self._write_rows(bulk)
                except Inexact as error:
                    self.read_anew = str(error)
                    self._begin_anew()
        return self._write_rows(open_rows(source, self._export, begun, form, late))

    def _write_rows(self, rows: Rows) -> tuple[Extracted, ...]:
        with closing(rows.batches) as batches:
            return self.write(rows.columns, batches)

    def _begin_anew(self) -> None:
        for part in self._folder.iterdir():
            part.unlink()
        self.rows = self._bytes = 0

    def write(self, columns: tuple[Column, ...], batches: Iterator[pa.RecordBatch]) -> tuple[Extracted, ...]:
        """All parts; a part is begun when its first row has come, so that no part is empty."""
        files: list[Extracted] = []
        pending = _sliced(batches, self._file.max_rows)
        first = next(pending, None)
        while first is not None:
            with self._part(len(files) + 1, columns, files) as writer:
                batch: pa.RecordBatch | None = first
                while batch is not None:
                    writer.write(batch)
                    self.rows += batch.num_rows
                    self._tell(files)
                    if self._file.max_rows and self.rows % self._file.max_rows == 0:
                        break
                    batch = next(pending, None)
            first = next(pending, None)
        return tuple(files) if files else self._empty(columns)

    def write_lines(self, lines: Lines) -> tuple[Extracted, ...]:
        """The one part of finished lines, begun when the first of them has come."""
        first = next(lines.chunks, None)
        if first is None:
            return self._empty(lines.columns)
        files: list[Extracted] = []
        with self._part(1, lines.columns, files) as writer:
            assert isinstance(writer, CsvWriter), "finished lines are csv"
            for chunk in chain([first], lines.chunks):
                writer.write_lines(chunk)
                self.rows = lines.rows
                self._tell(files)
        return tuple(files)

    def _empty(self, columns: tuple[Column, ...]) -> tuple[Extracted, ...]:
        files: list[Extracted] = []
        if self._file.empty == "fail":
            raise ExportError(
                Code.EMPTY_RESULT,
                f"export {self._export.id} found no rows, and `file.empty: fail` forbids that",
                "see whether the source was filled; then relaunch",
                export=self._export.id,
            )
        if self._file.empty == "header":
            with self._part(1, columns, files):
                pass
        elif self._file.empty == "zero_bytes":
            with self._sink(1, files, 0):
                pass
        return tuple(files)

    @contextmanager
    def _part(self, part: int, columns: tuple[Column, ...], files: list[Extracted]) -> Iterator[Writer]:
        before = self.rows
        with self._sink(part, files, before) as sink:
            writer = open_writer(self._file, columns, cast(BinaryIO, sink), before, fill_part(self._name, part))
            try:
                yield writer
            finally:
                # A failed part too: a compressor left open would write when it is collected, into a closed file.
                writer.close()

    @contextmanager
    def _sink(self, part: int, files: list[Extracted], before: int) -> Iterator[HashedFile]:
        unfinished, final = self._folder / f"{part}.tmp", self._folder / str(part)
        try:
            with create(unfinished) as sink:
                yield sink
            unfinished.rename(final)
            flush_folder(self._folder)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise spool_error(unfinished, error) from error
        self._bytes += sink.size
        name = fill_part(self._name, part)
        files.append(Extracted(part, name, final, self.rows - before, sink.size, sink.digest.hexdigest()))

    def _tell(self, files: list[Extracted]) -> None:
        now = time.monotonic()
        if now - self._told >= _PROGRESS_SECONDS:
            self._told = now
            written = sum(path.stat().st_size for path in self._folder.iterdir())
            self._on_progress(self.rows, written)


def _sliced(batches: Iterator[pa.RecordBatch], max_rows: int | None) -> Iterator[pa.RecordBatch]:
    """The batches, cut so that none crosses the end of a part."""
    left = max_rows
    for batch in batches:
        while left is not None and batch.num_rows >= left:
            yield batch.slice(0, left)
            batch = batch.slice(left)
            left = max_rows
        if batch.num_rows:
            yield batch
            left = left - batch.num_rows if left is not None else None
