"""One window out of the database into the spool: the final bytes of every part, whole and counted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from catalog.connections import Database
from catalog.definition import Export
from catalog.load import load_database
from catalog.naming import NameFields, render
from catalog.windows import Window
from tasks import spool
from tasks.compared import Compared
from tasks.connect import Source, open_source
from tasks.credentials import Lookup
from tasks.hand_written import Frames, HandWritten, Transform
from tasks.ledger import Extracted, Findings, LastFile
from tasks.ledger.memory import Memory
from tasks.partitions import Partitions, Submit
from tasks.parts import OnProgress, Parts
from tasks.pgp import encrypting
from tasks.rows.batches import Rows, batches_of
from tasks.sidecars import write_sidecars
from tasks.source.clock import refuse_unsettled
from tasks.source.lookback import Lookback
from tasks.source.read import begin_reading
from tasks.source.relation import Identity, relation_of
from tasks.source.replaced import refuse_other
from tasks.write import FORMS

if TYPE_CHECKING:
    from tasks.reshape import Reshape


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
    submit: Submit | None = None,
    transform: Transform | None = None,
    last: LastFile | None = None,
) -> Extraction:
    """Read the window's rows and write its parts into the window's own folder of the spool.

    With `memory`, rows that came after earlier windows were read are among them. `submit` is needed for more than one
    of `file.partitions`, and begins to read one beside others. `transform` is what the export's own names. `last` is
    the file whose columns these are compared with. Checksums, manifest and done marker, where they are asked for, are
    the last parts.
    Raises ExportError for whatever stands against it; then nothing is left in the spool.
    """

    def read(source: Source, database: Database, parts: Parts) -> tuple[tuple[Extracted, ...], Findings]:
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
        reshape = reshape_of(export, transform)
        if export.file.partitions == 1:
            files = parts.read(source, begun, late_rows, reshape)
        else:
            assert submit is not None, "somebody has to begin what is done at the same time"
            files = Partitions(source, export, database, lookup, begun, late_rows, parts).read_all(submit)
        rows_read = reshape.rows_read if reshape else parts.rows
        findings, strays = late.findings(rows_read, window.id) if late else Findings(), begun.strays
        return files, replace(findings, null_cursors=strays.nulls, future=strays.future, latest=strays.latest)

    return _into_spool(export, window, lookup, on_progress, load, read, last)


def reshape_of(export: Export, transform: Transform | None) -> Reshape | None:
    """What is to become of the export's rows, or None where they are written as they were read."""
    if export.type != "incremental_custom":
        return None
    # pandas takes longer to import than a short run takes as a whole.
    from tasks.reshape import Reshape

    assert (transform is None) == (export.transform is None), "what the export names is loaded by whoever reads it"
    return Reshape(export, transform)


def extract_frames(
    export: Export,
    window: Window,
    lookup: Lookup,
    on_progress: OnProgress,
    write: Frames,
    author: HandWritten,
    last: LastFile | None,
) -> Extraction:
    """Write what `write` gives of the export's database into the spool, as `extract` does with a table's rows."""
    from tasks.frames import guarded, rows_of

    form = FORMS[export.file.format]

    def read(source: Source, _: Database, parts: Parts) -> tuple[tuple[Extracted, ...], Findings]:
        columns, rows = rows_of(guarded(write, source, author), {}, author)
        return parts.write_rows(Rows(columns, batches_of(rows, columns, form))), Findings()

    return _into_spool(export, window, lookup, on_progress, load_database, read, last)


def _into_spool(
    export: Export,
    window: Window,
    lookup: Lookup,
    on_progress: OnProgress,
    load: Callable[[str], Database],
    read: Callable[[Source, Database, Parts], tuple[tuple[Extracted, ...], Findings]],
    last: LastFile | None,
) -> Extraction:
    folder, compared = spool.begin(window), Compared(export, last)
    try:
        database = load(export.database)
        with (
            # Beside the window's folder: what a run leaves that dies is swept up by the next one.
            encrypting(export.file.encryption, folder.parent, lookup) as encryptor,
            open_source(export.database, database, lookup) as source,
        ):
            member = _member(export, window)
            parts = Parts(export, window.file_name, member, folder, on_progress, encryptor, on_columns=compared)
            files, findings = read(source, database, parts)
        # An empty file without a header has no columns, whatever the table has.
        if parts.rows or export.file.empty == "header":
            findings = replace(findings, layout=compared.layout, columns_changed=compared.changed)
        files = (*files, *write_sidecars(window, export.file, files, folder))
    except BaseException:
        spool.discard(window)
        raise
    return Extraction(files, parts.rows, findings, parts.read_anew)


def _member(export: Export, window: Window) -> str:
    """What a zip calls what it holds; the window says all there is to it, so it is the same whenever it is read."""
    pattern, bounds = export.file.inner_name, window.bounds
    if pattern is None:
        return export.file.member_of(window.file_name)
    fields = NameFields(
        logical_time=window.logical_time,
        timezone=export.timezone,
        since=bounds.since,
        until=bounds.until,
        export=export.id,
        run_id=window.run_id,
    )
    return render(pattern, fields, key="file.inner_name")
