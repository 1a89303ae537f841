"""What is wrong with a definition, found before anything runs; and what a run would do, shown without doing it.

Neither needs Prefect, unless a connection refers to one of its Secret blocks.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from catalog.check import check_catalog
from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.load import Catalog
from catalog.naming import NameFields, fill_part, render, render_folder
from catalog.problem import Problem, problem_from
from catalog.windows import Bounds, instant, next_bounds
from catalog.yaml_file import line_of, shown
from deployments.custom_refusals import refuse_custom
from flows.custom_code import refuse_broken, transform_of
from flows.report import secret_block
from tasks.allotting import frontier_of
from tasks.beginning import beginning
from tasks.connect import Source, open_source
from tasks.extract import reshape_of
from tasks.ledger import Ledger
from tasks.notify import refuse_unknown
from tasks.pgp import verify_keys
from tasks.source.frontier import settle
from tasks.source.indexes import lacks_cursor_index
from tasks.source.lookback import key_columns
from tasks.source.read import preview as preview_rows
from tasks.source.read import source_columns, verify

#: Without these the database cannot be asked, or not at this moment, which says nothing about the definition.
_NOT_ASKED = {
    Code.SOURCE_UNREACHABLE,
    Code.SOURCE_AUTH,
    Code.SECRET_MISSING,
    Code.DRIVER_MISSING,
    Code.SOURCE_CONFLICT,
    Code.FRONTIER_HELD,
    Code.FRONTIER_PREPARED,
}


def check(
    catalog: Catalog, ids: Iterable[str] | None = None, *, activating: bool = False, edited: Path | None = None
) -> list[Problem]:
    """Everything wrong with the catalog, or with the exports named: the YAML, then tables and columns.

    A database that cannot be asked is a warning. `activating` turns the warnings that only matter for a live export
    into errors. `edited` is the file of the one export named, where its text is not the catalog's yet.
    """
    wanted = set(ids) if ids is not None else None
    problems = check_catalog(catalog, datetime.now(UTC), activating=activating, ids=wanted)
    for export in catalog.exports.values():
        if wanted is None or export.id in wanted:
            path = edited or catalog.path_of(export.id)
            problems += [_placed(path, problem) for problem in _ask(catalog, export)]
    return [problem for problem in problems if wanted is None or problem.export in wanted]


def _placed(path: Path, problem: Problem) -> Problem:
    """The finding with its place in the YAML, which a database cannot know."""
    if problem.file is not None:
        return problem
    return replace(problem, file=shown(path), line=line_of(path, problem.key.split(".")) if problem.key else None)


def _ask(catalog: Catalog, export: Export) -> list[Problem]:
    problems: list[Problem] = []
    try:
        refuse_broken(export)
        with open_source(export.database, catalog.database_of(export), secret_block) as source:
            if export.type != "custom":
                problems += _ask_for_rows(source, export)
    except ExportError as error:
        problems.append(_from_outside(error, export))
    if export.file.encryption is not None:
        try:
            verify_keys(export.file.encryption, secret_block, catalog.folder)
        except ExportError as error:
            problems.append(_from_outside(error, export))
    for name in export.targets:
        try:
            catalog.target(name)
        except ExportError as error:
            problems.append(problem_from(error, export.id))
    for url in export.report.to if export.report else ():
        try:
            refuse_unknown(url)
        except ExportError as error:
            problems.append(problem_from(error, export.id))
    return problems


def _from_outside(error: ExportError, export: Export) -> Problem:
    return problem_from(error, export.id, "warning" if error.code in _NOT_ASKED else "error")


def _ask_for_rows(source: Source, export: Export) -> list[Problem]:
    verify(source, export, reshape_of(export, transform_of(export)))
    if export.cursor is not None and export.cursor.looks_back:
        key_columns(source, export, source_columns(source, export))
    if export.cursor is not None and export.cursor.mode != "lag":
        settle(source, export, datetime.now(UTC), None)
    return [problem_from(_unindexed(export), export.id, "warning")] if lacks_cursor_index(source, export) else []


def _unindexed(export: Export) -> ExportError:
    assert export.cursor is not None, "an export without a cursor needs no index"
    column = export.cursor.column
    return ExportError(
        Code.CURSOR_UNINDEXED,
        f"no index of {export.table} begins with the cursor column {column!r} and holds every row, so each run reads "
        "the whole table",
        f"create an index on {export.table} ({column})",
        key="cursor.column",
    )


@dataclass(frozen=True, slots=True)
class Preview:
    """What the next run would do: `columns` are (name, type), `rows` hold canonical text or None.

    `text` is the beginning of the file as `tasks.beginning` shows it, `folder` where below the `targets` it goes.
    """

    sql: str
    since: datetime | None
    until: datetime | None
    files: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str | None, ...], ...]
    text: str
    format: str
    folder: str
    targets: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The preview as `exports preview --json` prints it."""
        return {
            "sql": self.sql,
            "window": {
                "since": self.since.isoformat() if self.since else None,
                "until": self.until.isoformat() if self.until else None,
            },
            "files": list(self.files),
            "columns": [{"name": name, "type": kind} for name, kind in self.columns],
            "rows": [list(row) for row in self.rows],
            "text": self.text,
            "format": self.format,
            "folder": self.folder,
            "targets": list(self.targets),
        }


def _nothing_new(previous: Bounds | None, now: datetime) -> Bounds:
    high, until = (previous.high, previous.until) if previous else (instant(now), now)
    return Bounds(high, high, until, until)


def preview(catalog: Catalog, ledger: Ledger, export: Export, limit: int = 10) -> Preview:
    """The SQL, window, file name and first rows of a run that would start now; nothing is changed.

    Raises ExportError STATUS_REFUSED for a custom export.
    """
    refuse_custom(export, "preview")
    now = datetime.now(UTC)
    asked = export.cursor is not None and export.cursor.mode != "lag"
    going = ledger.going_on(export)
    frontier = frontier_of(export, going.window, now, secret_block) if asked else None
    bounds = next_bounds(export, going.previous, now, frontier) or _nothing_new(going.previous, now)
    fields = NameFields(
        logical_time=now,
        timezone=export.timezone,
        since=bounds.since,
        until=bounds.until,
        export=export.id,
        run_id="0" * 32,
    )
    with open_source(export.database, catalog.database_of(export), secret_block) as source:
        shown = preview_rows(source, export, bounds, limit, reshape_of(export, transform_of(export)))
        text = beginning(source, export, bounds, limit, reshape_of(export, transform_of(export)))
    name = render(export.file.name, fields, key="file.name")
    return Preview(
        sql=shown.sql,
        since=bounds.since,
        until=bounds.until,
        files=tuple(dict.fromkeys(fill_part(name, part) for part in range(1, export.file.partitions + 1))),
        columns=shown.columns,
        rows=shown.rows,
        text=text,
        format=export.file.format,
        folder=render_folder(export.folder, fields),
        targets=export.targets,
    )
