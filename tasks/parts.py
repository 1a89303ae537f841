"""The parts of one result in the spool: each written to its end, flushed and hashed as its bytes come."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from itertools import chain
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.naming import fill_part
from tasks.bulk import Inexact, Lines, open_bulk, open_lines
from tasks.connect import Source
from tasks.durable import flush_folder
from tasks.hashed_file import create
from tasks.ledger import Extracted
from tasks.pgp import Encryptor
from tasks.rows.batches import Rows
from tasks.rows.columns import Column
from tasks.source.read import Begun, LateRows, Reshaping, open_rows
from tasks.spool import spool_error
from tasks.write import FORMS, CsvWriter, Writer, open_stream, open_writer

#: Told how many rows and bytes are written, about once a second.
OnProgress = Callable[[int, int], None]
#: Told the columns of the parts before the first of them is written; what it raises stands against them.
OnColumns = Callable[[Sequence[Column]], None]
PROGRESS_SECONDS = 1.0
_BLOCK = 1 << 20


class Parts:
    """Writes parts, numbered from `first`, into a folder of their own.

    `name`, and `member`, what a zip calls what it holds, have their fields filled but for `{part}`.
    `rows` are written so far; `read_anew` is why a bulk path gave up, where one did.
    """

    def __init__(
        self,
        export: Export,
        name: str,
        member: str,
        folder: Path,
        on_progress: OnProgress,
        encryptor: Encryptor | None = None,
        first: int = 1,
        on_columns: OnColumns = lambda columns: None,
    ) -> None:
        self._export, self._file, self._folder, self._encryptor = export, export.file, folder, encryptor
        self._name, self._member = name, member
        self.on_progress, self._told = on_progress, time.monotonic()
        self.on_columns = on_columns
        self._first = first
        self.rows = 0
        self.read_anew: str | None = None

    def read(
        self, source: Source, begun: Begun, late: LateRows | None, reshape: Reshaping | None = None
    ) -> tuple[Extracted, ...]:
        """All parts, by the fastest path that gives exactly these rows, or what `reshape` makes of them."""
        form = FORMS[self._file.format]
        if late is None and reshape is None:
            lines = open_lines(source, self._export, begun)
            if lines is not None:
                with closing(lines.chunks):
                    return self._write_lines(lines)
            bulk = open_bulk(source, self._export, begun, form)
            if bulk is not None:
                try:
                    return self.write_rows(bulk)
                except Inexact as error:
                    self.read_anew = str(error)
                    self._begin_anew()
        return self.write_rows(open_rows(source, self._export, begun, form, late, reshape))

    def write_rows(self, rows: Rows) -> tuple[Extracted, ...]:
        """All parts of rows that are at hand."""
        with closing(rows.batches) as batches:
            return self._write(rows.columns, batches)

    def _begin_anew(self) -> None:
        for part in self._folder.iterdir():
            part.unlink()
        self.rows = 0

    def _write(self, columns: tuple[Column, ...], batches: Iterator[pa.RecordBatch]) -> tuple[Extracted, ...]:
        """All parts; a part is begun when its first row has come, so that no part is empty."""
        files: list[Extracted] = []
        pending = (batch for batch in batches if batch.num_rows)
        left = next(pending, None)
        while left is not None:
            with self._part(self._first + len(files), columns, files) as writer:
                left = self._fill(writer, left, pending)
        return tuple(files) if files else self.empty(columns)

    def _fill(self, writer: Writer, batch: pa.RecordBatch, pending: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        """Write rows until the part is full; returns what is left of its last batch, or the next one."""
        room = self._file.max_rows
        while True:
            offered = batch.slice(0, min(self._offer(batch), room or batch.num_rows))
            taken = writer.write(offered)
            self.rows += taken
            self._tell()
            left = batch.slice(taken) if taken < batch.num_rows else next(pending, None)
            room = room - taken if room is not None else None
            if left is None or room == 0 or taken < offered.num_rows:
                return left
            batch = left

    def _offer(self, batch: pa.RecordBatch) -> int:
        """About as many rows as a part has room for: what a writer leaves is made into text once more."""
        if self._file.max_bytes is None:
            return int(batch.num_rows)
        most: int = self._file.max_bytes * batch.num_rows // max(batch.nbytes, 1)
        return max(1, most)

    def _write_lines(self, lines: Lines) -> tuple[Extracted, ...]:
        """The one part of finished lines, begun when the first of them has come."""
        first = next(lines.chunks, None)
        if first is None:
            return self.empty(lines.columns)
        files: list[Extracted] = []
        with self._part(self._first, lines.columns, files) as writer:
            assert isinstance(writer, CsvWriter), "finished lines are csv"
            for chunk in chain([first], lines.chunks):
                writer.write_lines(chunk)
                self.rows = lines.rows
                self._tell()
        return tuple(files)

    def of_range(self, number: int, on_progress: OnProgress) -> Parts:
        """What writes one range: the part of that number, or a piece of the one file, with or without rows."""
        export = self._export.model_copy(update={"file": self._file.model_copy(update={"empty": "header"})})
        folder = self._folder / f"range {number}"
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise spool_error(folder, error) from error
        kind = Parts if self._file.in_parts else Piece
        return kind(export, self._name, self._member, folder, on_progress, self._encryptor, number)

    def empty(self, columns: tuple[Column, ...] = (), count: int = 1) -> tuple[Extracted, ...]:
        """What stands for no rows: nothing, or so many parts. Raises ExportError EMPTY_RESULT where that is asked."""
        files: list[Extracted] = []
        if self._file.empty == "fail":
            raise ExportError(
                Code.EMPTY_RESULT,
                f"export {self._export.id} found no rows, and `file.empty: fail` forbids that",
                "see whether the source was filled; then relaunch",
                export=self._export.id,
            )
        for part in range(self._first, self._first + count):
            if self._file.empty == "header":
                with self._part(part, columns, files):
                    pass
            elif self._file.empty == "zero_bytes":
                with self._sink(part, files, 0):
                    pass
        return tuple(files)

    def join(self, pieces: Sequence[Path]) -> tuple[Extracted, ...]:
        """One part of what stands in the pieces, in their order; each is gone, with its folder, when it is in."""
        files: list[Extracted] = []
        with self._sink(self._first, files, 0) as sink:
            stream = open_stream(self._file, sink, fill_part(self._member, self._first))
            try:
                for piece in pieces:
                    with piece.open("rb") as content:
                        shutil.copyfileobj(content, stream or sink, _BLOCK)
                    shutil.rmtree(piece.parent)
            finally:
                if stream is not None:
                    stream.close()
        return tuple(files)

    @contextmanager
    def _part(self, part: int, columns: tuple[Column, ...], files: list[Extracted]) -> Iterator[Writer]:
        before = self.rows
        if part == self._first:
            self.on_columns(columns)
        with self._sink(part, files, before) as sink:
            writer = self._writer(columns, sink, before, part)
            try:
                yield writer
            finally:
                # A failed part too: a compressor left open would write when it is collected, into a closed file.
                writer.close()

    def _writer(self, columns: tuple[Column, ...], sink: BinaryIO, before: int, part: int) -> Writer:
        member = fill_part(self._member, part)
        return open_writer(self._file, columns, sink, before, member, scratch=self._folder)

    @contextmanager
    def _sink(self, part: int, files: list[Extracted], before: int) -> Iterator[BinaryIO]:
        unfinished, final = self._folder / f"{part}.tmp", self._folder / str(part)
        name = fill_part(self._name, part)
        try:
            with create(unfinished) as sink, self._encrypted(cast(BinaryIO, sink), name) as encrypted:
                yield encrypted
            unfinished.rename(final)
            flush_folder(self._folder)
        except OSError as error:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise spool_error(unfinished, error) from error
        files.append(Extracted(part, name, final, self.rows - before, sink.size, sink.digest.hexdigest()))

    def _encrypted(self, sink: BinaryIO, name: str) -> AbstractContextManager[BinaryIO]:
        if self._encryptor is None:
            return nullcontext(sink)
        return self._encryptor.into(sink, armored=name.endswith(".asc"))

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            written = sum(path.stat().st_size for path in self._folder.iterdir() if path.is_file())
            self.on_progress(self.rows, written)


class Piece(Parts):
    """A range of a file that is to be joined: not compressed, and neither flushed nor hashed, since it will be gone.

    All but the first go on where another ends: they have neither header nor byte-order mark.
    """

    def _writer(self, columns: tuple[Column, ...], sink: BinaryIO, before: int, part: int) -> Writer:
        plain = self._file.model_copy(update={"compression": "none"})
        return open_writer(plain, columns, sink, before, self._member, goes_on=part > 1)

    @contextmanager
    def _sink(self, part: int, files: list[Extracted], before: int) -> Iterator[BinaryIO]:
        path = self._folder / str(part)
        try:
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                yield file
                size = file.tell()
        except OSError as error:
            raise spool_error(path, error) from error
        files.append(Extracted(part, self._name, path, self.rows - before, size, ""))
