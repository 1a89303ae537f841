"""Dropping files: one publisher per protocol behind one contract."""

from tasks.publish.choose import open_publisher
from tasks.publish.contract import Publisher, Stat

__all__ = ["Publisher", "Stat", "open_publisher"]
