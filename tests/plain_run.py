"""A run's story without Prefect: the same steps as plain functions, for tests of what a run delivers."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from workshop import Workshop

from catalog.definition import Export
from catalog.windows import Bounds
from flows.story import Means, Story
from tasks.ledger import Allotment

_THREADS = ThreadPoolExecutor(8)


class _Silent:
    def __call__(self, rows: int, size: int) -> None:
        pass

    def finish(self) -> None:
        pass


@dataclass
class Told:
    """What a run said while it ran."""

    names: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    buried: list[str] = field(default_factory=list)


def means(told: Told) -> Means:
    def plain(step: Any, export: Export) -> Callable[..., Any]:
        function: Callable[..., Any] = step.fn
        return function

    return Means(
        step=plain,
        beside=lambda step, *arguments: _THREADS.submit(step.fn, *arguments),
        name=told.names.append,
        tell=told.lines.append,
        warn=told.warnings.append,
        bury=told.buried.append,
        lookup=_no_blocks,
        progress=lambda export, name, rows: _Silent(),
    )


def _no_blocks(name: str) -> str:
    raise AssertionError(f"no test of this kind has a Secret block {name}")


@dataclass
class Ran:
    """One run: its id, what was allotted and what it said."""

    run_id: str
    allotment: Allotment
    told: Told


def run_plainly(
    workshop: Workshop, export_id: str, at: datetime, run_id: str | None = None, explicit: Bounds | None = None
) -> Ran:
    """Deliver the export with its YAML's definition as a run whose logical time is `at`."""
    export = workshop.load(export_id)
    workshop.ledger.register(export)
    run_id, told = run_id or str(uuid.uuid4()), Told()
    allotment = Story(export, workshop.ledger, run_id, at, means(told)).deliver(explicit)
    return Ran(run_id, allotment, told)
