"""Reading ahead: the next batches are read by one thread while the last is written by another."""

from __future__ import annotations

from collections.abc import Generator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

T = TypeVar("T")

#: Batches that wait to be written, at most. A writer of parquet takes nothing while it compresses a row group: so many
#: keep the one that reads at work meanwhile, and cost little memory.
_DEPTH = 10


class _Ended:
    """The last thing in the queue: the end, or what ended it."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


def read_ahead(items: Generator[T, None, None]) -> Generator[T, None, None]:
    """The same items; `items` runs in a thread of its own, which has ended when this generator is closed."""
    queue: Queue[T | _Ended] = Queue(_DEPTH)
    abandoned = Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for item in items:
                queue.put(item)
                if abandoned.is_set():
                    break
        except BaseException as raised:
            # Raised again where the items are taken.
            error = raised
        finally:
            items.close()
            queue.put(_Ended(error))

    thread = Thread(target=work, name="read ahead", daemon=True)
    thread.start()
    ended = False
    try:
        while not isinstance(item := queue.get(), _Ended):
            yield item
        ended = True
        if item.error is not None:
            raise item.error
    finally:
        abandoned.set()
        while not ended:
            ended = isinstance(queue.get(), _Ended)
        thread.join()
