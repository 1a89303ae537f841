"""The targets of exports tried for real, each once, however many exports use it; and all that `check` finds."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass, replace

from catalog.connections import Target
from catalog.definition import Export
from catalog.errors import ExportError
from catalog.load import Catalog
from catalog.problem import Problem, problem_from
from deployments.checking import check
from flows.report import secret_block
from tasks.publish import open_publisher
from tasks.publish.probe import Trial, probe


@dataclass(frozen=True, slots=True)
class TriedTarget:
    """A target, the steps it was to be tried in, and what ended them, as a finding about the first export on it."""

    target: str
    steps: tuple[str, ...]
    problem: Problem | None


def check_and_try(
    catalog: Catalog, ids: Collection[str] | None, *, connect: bool
) -> tuple[list[Problem], list[TriedTarget]]:
    """What `check` finds in the catalog or in the exports named; with `connect` their targets are tried besides.

    What ended a trial is among the problems. Raises ExportError EXPORT_UNKNOWN for an id that is none.
    """
    for export_id in ids or ():
        catalog.require(export_id)
    tried = _try_targets(catalog, ids) if connect else []
    return [*check(catalog, ids), *(each.problem for each in tried if each.problem)], tried


def _try_targets(catalog: Catalog, ids: Collection[str] | None) -> list[TriedTarget]:
    """Drop a tiny hidden file on each target of the catalog's exports, or of those named, and take it away again."""
    wanted = set(ids) if ids is not None else set(catalog.exports)
    first: dict[str, Export] = {}
    for export in catalog.exports.values():
        if export.id in wanted:
            for name in export.targets:
                first.setdefault(name, export)
    # One that the catalog does not hold, or not without a mistake, is a finding of `check` already.
    return [_tried(name, catalog.targets[name], export) for name, export in first.items() if name in catalog.targets]


def _tried(name: str, target: Target, export: Export) -> TriedTarget:
    try:
        with closing(open_publisher(name, target, secret_block)) as publisher:
            trial = probe(publisher)
    except ExportError as error:
        trial = Trial((), error)
    if trial.error is None:
        return TriedTarget(name, trial.steps, None)
    problem = problem_from(trial.error, export.id)
    where = f"target {name}: {trial.failed_step}: " if trial.failed_step else f"target {name}: "
    message = where + problem.message.removeprefix(f"target {name}: ")
    return TriedTarget(name, trial.steps, replace(problem, message=message, step=trial.failed_step))
