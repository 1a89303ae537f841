"""The steps of a run as Prefect tasks, so that a person can follow them in the dashboard.

Each is a thin task over the plain function of its own module. Nothing is cached or persisted: what was done is
recorded in the ledger alone, and a step that is repeated finds it there.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, Window
from tasks import deliver
from tasks.allotting import allot
from tasks.compared import last_file_of
from tasks.credentials import Lookup
from tasks.deliver import Parcel
from tasks.extract import Extraction, extract_frames
from tasks.extract import extract as extract_window
from tasks.hand_written import Frames, HandWritten, Transform
from tasks.ledger import Allotment, Ledger, Turn
from tasks.partitions import Partitions, RangeRead, Running
from tasks.parts import OnProgress
from tasks.publish import Publisher
from tasks.source.lookback import memory_of

P = ParamSpec("P")
R = TypeVar("R")


def _tried_again(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    error = state.result(raise_on_failure=False)
    return isinstance(error, ExportError) and error.code.tried_again


def _step(name: str, task_run_name: str) -> Callable[[Callable[P, R]], Task[P, R]]:
    return task(
        name=name,
        task_run_name=task_run_name,
        persist_result=False,
        cache_policy=NO_CACHE,
        retry_delay_seconds=exponential_backoff(backoff_factor=2),
        retry_jitter_factor=0.5,
        retry_condition_fn=_tried_again,
    )


@_step(name="allot window", task_run_name="allot window")
def allot_window(
    ledger: Ledger, export: Export, run_id: str, logical_time: datetime, explicit: Bounds | None, lookup: Lookup
) -> Allotment:
    """Fix which rows, under which name, before anything is read."""
    return allot(ledger, export, run_id, logical_time, explicit, lookup)


@_step(name="extract", task_run_name="extract {window.file_name}")
def extract(
    ledger: Ledger,
    turn: Turn,
    export: Export,
    window: Window,
    lookup: Lookup,
    on_progress: OnProgress,
    beside: Callable[..., Running],
    transform: Transform | None,
) -> Extraction:
    """Bring the window's final bytes into the spool. `beside` begins a step that goes on beside others.

    `transform` is the function that the export names, if it names one.
    """
    memory, submit = memory_of(ledger, export, window), partial(beside, read_partition)
    extraction = extract_window(
        export,
        window,
        lookup,
        on_progress,
        memory=memory,
        submit=submit,
        transform=transform,
        last=last_file_of(ledger, export, window),
    )
    turn.record_extracted(window, extraction.files, extraction.findings)
    return extraction


def extraction(rows: Frames) -> Task[..., Extraction]:
    """Makes a step of hand-written rows, which a custom export's flow takes in the place of `extract`.

    `rows` is given the export's open database, read-only and in one snapshot, and yields DataFrames, all of the same
    columns.
    """
    author = HandWritten(f"{rows.__module__.rpartition('.')[2]}:{rows.__name__}", Code.CUSTOM_FAILED)

    @_step(name=rows.__name__, task_run_name=f"{rows.__name__} into {{window.file_name}}")
    def step(
        ledger: Ledger,
        turn: Turn,
        export: Export,
        window: Window,
        lookup: Lookup,
        on_progress: OnProgress,
        beside: Callable[..., Running],
        transform: Transform | None,
    ) -> Extraction:
        last = last_file_of(ledger, export, window)
        extraction = extract_frames(export, window, lookup, on_progress, rows, author, last)
        turn.record_extracted(window, extraction.files, extraction.findings)
        return extraction

    return step


@_step(name="read partition", task_run_name="read partition {number} of {partitions.count}")
def read_partition(partitions: Partitions, number: int) -> RangeRead:
    """Bring one range of the table into the spool. What fails is tried again with all the others, in a new snapshot."""
    return partitions.read(number)


@_step(name="upload", task_run_name="upload {parcel.file.name}")
def upload(ledger: Ledger, turn: Turn, publisher: Publisher, parcel: Parcel) -> Parcel:
    """Bring every byte to the target, under a name that no consumer reads."""
    return deliver.upload(ledger, turn, publisher, parcel)


@_step(name="publish", task_run_name="publish {parcel.file.name}")
def publish(turn: Turn, publisher: Publisher, parcel: Parcel, *, replace: bool) -> None:
    """Give the file its final name, in one step."""
    deliver.publish(turn, publisher, parcel, replace=replace)


@_step(name="commit", task_run_name="commit {parcel.file.name}")
def commit(turn: Turn, parcel: Parcel) -> None:
    """Record that the file is delivered."""
    deliver.commit(turn, parcel)
