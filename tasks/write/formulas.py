"""Cells that a spreadsheet would take for a formula: https://owasp.org/www-community/attacks/CSV_Injection"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from tasks.rows.columns import Kind

#: How a text begins that is taken for one.
BEGINS = "^[=+\\-@\t\r\n＝＋－＠]"
# What a column of numbers or times holds may begin with a sign; SQLite lets it hold other things besides.
_NUMBER = r"^-?([0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?|[Ii]nfinity)$"


def formulas(cells: pa.Array, kind: Kind) -> pa.Array:
    """Per cell whether it begins as a formula does; NULL for NULL. In text columns `-1` does, in others not."""
    found = pc.match_substring_regex(cells, BEGINS)
    if kind in ("text", "other") or not pc.any(found).as_py():
        return found
    return pc.and_not(found, pc.match_substring_regex(cells, _NUMBER))


def escaped(cells: pa.Array, kind: Kind) -> pa.Array:
    """The cells, with an apostrophe before each that begins as a formula does."""
    found = formulas(cells, kind)
    if not pc.any(found).as_py():
        return cells
    return pc.if_else(found, pc.binary_join_element_wise("'", cells, ""), cells)
