"""stub"""

from datetime import datetime

from catalog.definition import Export
from catalog.windows import Frontier, Window
from tasks.connect import Source


def settle(source: Source, export: Export, logical_time: datetime, previous: Window | None) -> Frontier:
    raise NotImplementedError
