"""What only the whole catalog shows: names that collide, between exports and between the runs of one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import takewhile

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.load import Catalog, Problem
from catalog.naming import NameFields, render, render_folder
from catalog.schedule import occurrences
from catalog.yaml_file import line_of

#: How far ahead, and over how many runs, a schedule is played through.
_HORIZON = timedelta(days=400)
_MOST_RUNS = 500


def check_catalog(catalog: Catalog, now: datetime, *, activating: bool) -> list[Problem]:
    """Every problem of the catalog as a whole, with those of single files first.

    Two exports on one path, and a schedule finer than its date pattern, are warnings, or errors when `activating`.
    """
    problems = list(catalog.problems)
    problems += _same_names(catalog)
    problems += _same_paths(catalog, now, activating)
    for export in catalog.exports.values():
        problems += _own_collisions(catalog, export, now, activating)
        problems += _moment_gone(catalog, export, now)
    return problems


def _same_names(catalog: Catalog) -> Iterable[Problem]:
    for export, other in _twins(catalog.exports.values(), lambda export: export.name.casefold()):
        yield _found(
            catalog,
            export,
            "name",
            True,
            Code.DEFINITION_DUPLICATE,
            f"exports/{export.id}.yaml and exports/{other.id}.yaml have the same name {export.name!r}",
            "give each export a name of its own",
        )


def _same_paths(catalog: Catalog, now: datetime, activating: bool) -> Iterable[Problem]:
    def path(export: Export) -> object:
        return (export.target, *_resolved(export, now)) if export.target else export.id

    for export, other in _twins(catalog.exports.values(), path):
        folder, name = _resolved(export, now)
        yield _found(
            catalog,
            export,
            "file",
            activating,
            Code.DEFINITION_DUPLICATE,
            f"{export.id} and {other.id} write the same file {folder + '/' if folder else ''}{name} on {export.target}",
            "put {export} into one of the names, or give one another folder",
        )


def _twins(exports: Iterable[Export], key: object) -> Iterable[tuple[Export, Export]]:
    groups: dict[object, list[Export]] = defaultdict(list)
    for export in exports:
        groups[key(export)].append(export)  # type: ignore[operator]
    for group in groups.values():
        for index, export in enumerate(group):
            if len(group) > 1:
                yield export, group[index - 1]


def _own_collisions(catalog: Catalog, export: Export, now: datetime, activating: bool) -> Iterable[Problem]:
    # A periodic full export may replace its own earlier file of the same name.
    if export.type != "incremental" or export.schedule is None or export.schedule.cron is None:
        return
    seen: dict[tuple[str, str], datetime] = {}
    times = occurrences(export.schedule.cron, export.timezone, now)
    for count, moment in enumerate(takewhile(lambda time: time < now + _HORIZON, times)):
        path = _resolved(export, moment)
        if path in seen:
            yield _found(
                catalog,
                export,
                "file",
                activating,
                Code.NAME_NOT_UNIQUE,
                f"the runs of {seen[path]:%Y-%m-%d %H:%M} and {moment:%Y-%m-%d %H:%M %Z} would both write {path[1]}",
                "use a finer date, as {date:%Y%m%dT%H%M}, or {run}",
            )
            return
        seen[path] = moment
        if count >= _MOST_RUNS:
            return


def _moment_gone(catalog: Catalog, export: Export, now: datetime) -> Iterable[Problem]:
    at = export.schedule.at if export.schedule else None
    if at is not None and (at if at.tzinfo else at.replace(tzinfo=export.timezone)) < now:
        yield _found(
            catalog,
            export,
            "schedule",
            False,
            Code.SCHEDULE_INVALID,
            f"the moment {at.isoformat()} has passed",
            "on activation the export runs at once",
        )


def _resolved(export: Export, moment: datetime) -> tuple[str, str]:
    # The run's id and the window differ in every run, so they never collide: a stand-in that differs with time.
    since = moment - timedelta(seconds=1)
    fields = NameFields(moment, export.timezone, since, moment, export.id, f"{int(moment.timestamp()):08x}")
    return render_folder(export.folder, fields), render(export.file.name, fields, key="file.name")


def _found(catalog: Catalog, export: Export, key: str, is_error: bool, code: Code, message: str, hint: str) -> Problem:
    path = catalog.folder / "exports" / f"{export.id}.yaml"
    severity = "error" if is_error else "warning"
    file, line = f"exports/{path.name}", line_of(path, [key])
    return Problem(export.id, severity, code, message, hint, file, line, key)  # type: ignore[arg-type]


def problem_of(export: Export, error: ExportError, *, is_error: bool) -> Problem:
    """An error met while asking a database or target, as a finding about the export."""
    severity = "error" if is_error else "warning"
    return Problem(export.id, severity, error.code, error.message, error.hint, error.file, error.line, error.key)  # type: ignore[arg-type]
