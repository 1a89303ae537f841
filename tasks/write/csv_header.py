"""The first line of a csv file.

In plain Python: for the first Python text that Arrow is given it imports pandas, a fifth of a second, which an export
without rows, or one whose lines PostgreSQL writes, never needs.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence

from catalog.errors import Code, ExportError
from catalog.file import CsvOptions
from tasks.write.formulas import BEGINS


def header_line(names: Sequence[str], options: CsvOptions, needs_quotes: str) -> str:
    """The names as the options want to see them; `needs_quotes` finds what cannot stand without.

    Raises ExportError VALUE_UNENCODABLE for a name that the options forbid, or the encoding has no characters for.
    """
    return options.delimiter.join(_cell(name, options, needs_quotes) for name in names) + options.line_end


def _cell(name: str, options: CsvOptions, needs_quotes: str) -> str:
    text = name
    if re.search(BEGINS, name):
        if options.formulas == "reject":
            raise _refused(
                name,
                "the text begins as a formula does, and `formulas: reject` forbids that",
                "use `formulas: escape`, or clean the value in a `query`",
            )
        if options.formulas == "escape":
            text = f"'{name}"
    if options.unencodable == "fail":
        try:
            codecs.encode(text, options.encoding)
        except UnicodeEncodeError:
            raise _refused(
                name,
                f"a character cannot be written in {options.encoding}",
                "use `encoding: utf-8`, or clean the value in a `query`",
            ) from None
    has_to_be_quoted = re.search(needs_quotes, text) is not None
    if options.quote == "none":
        if has_to_be_quoted:
            raise _refused(
                name,
                "the text needs quotes, and `quote: none` forbids them",
                "use `quote: minimal`, or another delimiter or null text",
            )
        return text
    if options.quote == "minimal" and not has_to_be_quoted:
        return text
    doubled = text.replace('"', '""')
    return f'"{doubled}"'


def _refused(name: str, why: str, hint: str) -> ExportError:
    return ExportError(Code.VALUE_UNENCODABLE, f"the header, column {name!r}: {why}", hint)
