"""What only the whole catalog shows: names that collide, between exports and between the runs of one."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

from catalog.definition import Export
from catalog.errors import Code
from catalog.load import Catalog
from catalog.naming import NameFields, fill_part, render, render_folder
from catalog.problem import Problem, Severity
from catalog.schedule import left_out_by_prefect, occurrences
from catalog.yaml_file import line_of, shown

#: How far ahead, and over how many runs, a schedule is played through.
_HORIZON = timedelta(days=400)
_MOST_RUNS = 400
_HAS_RUN = re.compile(r"\{run\b")
_FIELD = re.compile(r"\{[^}]*\}")


def check_catalog(
    catalog: Catalog, now: datetime, *, activating: bool, ids: Collection[str] | None = None
) -> list[Problem]:
    """Every problem of the catalog as a whole, with those of single files first; `ids` limits it to these exports.

    Two exports on one path, and a schedule finer than its date pattern, are warnings, or errors when `activating`.
    """
    severity: Severity = "error" if activating else "warning"
    wanted = catalog.exports.keys() if ids is None else set(ids)
    problems = [problem for problem in catalog.problems if ids is None or problem.export in wanted]
    problems += _same_names(catalog, wanted)
    problems += _same_paths(catalog, wanted, now, severity)
    for export in catalog.exports.values():
        if export.id in wanted:
            problems += _own_collisions(catalog, export, now, severity)
            problems += _unclear_moment(catalog, export, now)
            problems += _left_out(catalog, export)
    return problems


def _same_names(catalog: Catalog, wanted: Collection[str]) -> Iterator[Problem]:
    for export, other in _twins(catalog, wanted, lambda export: [export.name.casefold()]):
        message = f"exports/{export.id}.yaml and exports/{other.id}.yaml have the same name {export.name!r}"
        hint = "give each export a name of its own"
        yield _found(catalog, export, "name", "error", Code.DEFINITION_DUPLICATE, message, hint)


def _same_paths(catalog: Catalog, wanted: Collection[str], now: datetime, severity: Severity) -> Iterator[Problem]:
    def paths(export: Export) -> list[Hashable]:
        # Two targets of one URL are one place; a one shot without a target drops into the common downloads.
        known = [catalog.targets.get(name) for name in export.targets]
        places = [target.url if target else name for target, name in zip(known, export.targets, strict=True)]
        file = (export.id,) if _has_run(export) else _resolved(export, now, now, now - timedelta(days=1))
        return [(place, *file) for place in places or ["downloads"]]

    for export, other in _twins(catalog, wanted, paths):
        folder, name = _resolved(export, now, now, now - timedelta(days=1))
        whole = f"{folder}/{name}" if folder else name
        where = ", ".join(export.targets) or "downloads"
        if export is other:
            message, key = f"two of the targets {where} are one place, which would get {whole} twice", "target"
            hint = "name the place once"
        else:
            message, key = f"{export.id} and {other.id} write the same file {whole} on {where}", "file"
            hint = "put {export} into one of the names, or give one another folder"
        yield _found(catalog, export, key, severity, Code.DEFINITION_DUPLICATE, message, hint)


def _twins(
    catalog: Catalog, wanted: Collection[str], keys: Callable[[Export], Iterable[Hashable]]
) -> Iterator[tuple[Export, Export]]:
    """Pairs of exports that share a key; an export that has one twice is its own twin. Each pair comes once."""
    groups: dict[Hashable, list[Export]] = defaultdict(list)
    for export in catalog.exports.values():
        for key in keys(export):
            groups[key].append(export)
    found: dict[tuple[str, str], tuple[Export, Export]] = {}
    for group in groups.values():
        for index, export in enumerate(group):
            if len(group) > 1 and export.id in wanted:
                other = group[index - 1]
                found.setdefault((export.id, other.id), (export, other))
    yield from found.values()


def _own_collisions(catalog: Catalog, export: Export, now: datetime, severity: Severity) -> Iterator[Problem]:
    # A periodic full export may replace its own earlier file of the same name.
    if export.cursor is None or export.schedule is None or export.schedule.cron is None or _has_run(export):
        return
    patterns = (export.file.name, *export.folder.split("/"))
    varying = tuple("x" + "".join(_FIELD.findall(pattern)) for pattern in patterns if "{" in pattern)
    pair = _first_collision(varying, export.schedule.cron, export.timezone, export.cursor.lag, now)
    if pair is not None:
        earlier, later = pair
        _, name = _resolved(export, later, later, later - timedelta(days=1))
        message = f"the runs of {_shown(earlier)} and {_shown(later)} would both write {name}"
        yield _found(catalog, export, "file", severity, Code.NAME_NOT_UNIQUE, message, _finer(earlier, later))


@lru_cache(maxsize=1024)
def _first_collision(
    patterns: tuple[str, ...], cron: str, timezone: ZoneInfo, lag: timedelta, now: datetime
) -> tuple[datetime, datetime] | None:
    """Two runs for which all `patterns` give the same. Most exports of a catalog share their dates and schedules."""
    seen: dict[tuple[str, ...], datetime] = {}
    for times in _played(cron, timezone, now):
        since: datetime | None = None
        for moment in times:
            until = moment.astimezone(UTC) - lag
            fields = NameFields(moment, timezone, since or until - timedelta(days=1), until, "export", "0" * 32)
            since = until
            earlier = seen.setdefault(tuple(render(part, fields, key="file.name") for part in patterns), moment)
            if earlier.timestamp() != moment.timestamp():
                return earlier, moment
    return None


def _finer(earlier: datetime, moment: datetime) -> str:
    if f"{earlier:%Y%m%d%H%M}" == f"{moment:%Y%m%d%H%M}":
        return "the clock goes back between them: add %z, as {date:%Y%m%dT%H%M%z}, or use {run}, or timezone: UTC"
    return "use a finer date, as {date:%Y%m%dT%H%M}, or {run}"


def _played(cron: str, timezone: ZoneInfo, now: datetime) -> Iterator[Iterable[datetime]]:
    """The next runs, and those around the hours that come twice: too far ahead for a schedule by the minute."""
    end = now + _HORIZON
    yield takewhile(lambda time: time < end, islice(occurrences(cron, timezone, now), _MOST_RUNS))
    for turn in _turns_back(timezone, now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)):
        last = turn + timedelta(hours=3)
        yield takewhile(lambda time, last=last: time < last, occurrences(cron, timezone, turn - timedelta(hours=3)))  # type: ignore[misc]


@lru_cache(maxsize=64)
def _turns_back(timezone: ZoneInfo, start: datetime) -> tuple[datetime, ...]:
    """The hours (UTC) within the horizon in which the zone's clocks have gone back."""
    hours = (start + timedelta(hours=number) for number in range(int(_HORIZON / timedelta(hours=1))))
    offsets = [(hour, hour.astimezone(timezone).utcoffset() or timedelta()) for hour in hours]
    return tuple(hour for (_, before), (hour, after) in pairwise(offsets) if after < before)


def _unclear_moment(catalog: Catalog, export: Export, now: datetime) -> Iterator[Problem]:
    at = export.schedule.at if export.schedule else None
    if at is None:
        return
    moment = export.in_zone(at)
    if moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) != at.replace(tzinfo=None):
        why = f"the moment {at.isoformat()} is skipped in {export.timezone}: the clock goes forward over it"
    elif moment.utcoffset() != moment.replace(fold=1).utcoffset():
        why = f"the moment {at.isoformat()} comes twice in {export.timezone}; the first is taken"
    elif moment < now:
        message, hint = f"the moment {at.isoformat()} has passed", "on activation the export runs at once"
        yield _found(catalog, export, "schedule", "warning", Code.SCHEDULE_INVALID, message, hint)
        return
    else:
        return
    hint = f"write its offset, as {moment.isoformat()}"
    yield _found(catalog, export, "schedule", "warning", Code.SCHEDULE_INVALID, why, hint)


def _left_out(catalog: Catalog, export: Export) -> Iterator[Problem]:
    days = left_out_by_prefect(export.schedule.cron) if export.schedule and export.schedule.cron else []
    if days:
        message = f"Prefect does not start the runs of {' and '.join(sorted({f'{day.day} {day:%B}' for day in days}))}"
        hint = "name no day after the 28th, as in `1-28/5`, or write L for the last one, as in `1,15,L`"
        yield _found(catalog, export, "schedule", "warning", Code.SCHEDULE_INVALID, message, hint)


def _resolved(export: Export, moment: datetime, until: datetime, since: datetime) -> tuple[str, str]:
    fields = NameFields(moment, export.timezone, since, until, export.id, "0" * 32)
    return render_folder(export.folder, fields), fill_part(render(export.file.name, fields, key="file.name"), 1)


def _has_run(export: Export) -> bool:
    """Whether the run's id, which no other run has, is part of the path."""
    return _HAS_RUN.search(export.file.name + export.folder) is not None


def _shown(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"


def _found(
    catalog: Catalog, export: Export, key: str, severity: Severity, code: Code, message: str, hint: str
) -> Problem:
    path = catalog.path_of(export.id)
    return Problem(export.id, severity, code, message, hint, shown(path), line_of(path, [key]), key)
