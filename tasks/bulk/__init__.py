"""The databases' own bulk paths: faster than rows through Python, and taken only where they give the same."""

from tasks.bulk.choose import open_bulk
from tasks.bulk.contract import Inexact
from tasks.bulk.copy_out import Lines, open_lines

__all__ = ["Inexact", "Lines", "open_bulk", "open_lines"]
