"""Mode `lag`: rows that came after their window was read are found again, once; later ones are counted.

A delivered row is remembered by a hash of its key and its cursor value, so that an update, which moves the cursor, is
a new row. What is remembered is written in the transaction that records the extraction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import inspect

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds, Window, instant
from tasks.connect import Source
from tasks.ledger import Findings, Ledger
from tasks.ledger.memory import Earlier, Memory, memory_before
from tasks.rows.columns import Column
from tasks.rows.values import text_of
from tasks.source.query import CursorRange, count_in_ranges, require_column, select_keys
from tasks.source.read import LateRows, cursor_ranges

_SPANS_A_STATEMENT = 50


def memory_of(ledger: Ledger, export: Export, window: Window) -> Memory | None:
    """What an extraction of the window has to mind; None for an export, or a window, that does not look back."""
    if export.cursor is None or not export.cursor.looks_back or window.kind != "scheduled":
        return None
    return memory_before(ledger.engine, window, export.cursor.looks_back)


def key_columns(source: Source, export: Export, columns: Sequence[Column]) -> tuple[str, ...]:
    """The columns that tell rows apart: `cursor.key`, or the table's primary key.

    Raises ExportError KEY_MISSING when there is neither, COLUMN_MISSING for a column that is not there.
    """
    names = [column.name for column in columns]
    key = export.cursor.key if export.cursor else None
    if key is None and export.table is not None:
        schema, _, name = export.table.rpartition(".")
        key = tuple(inspect(source.connection).get_pk_constraint(name, schema=schema or None)["constrained_columns"])
    if not key:
        what = f"table {export.table}" if export.table else "a query"
        raise ExportError(
            Code.KEY_MISSING,
            f"{what} has no primary key, and without one `cursor.lookback` cannot tell delivered rows from late ones",
            f"name the columns of a unique key with `cursor.key`, as [{', '.join(names[:2])}]; or `lookback: 0s`",
            export=export.id,
            key="cursor.key",
        )
    for name in key:
        require_column(name, names, "cursor.key")
    return key


def _keyed_by(export: Export, columns: Sequence[Column], key: Sequence[str]) -> str:
    """What hashes and counts depend on beside the rows: the filter, and key and cursor with their types."""
    assert export.cursor is not None and export.cursor.column is not None, "mode lag has a cursor column"
    kinds = {column.name: str(column.arrow) for column in columns}
    require_column(export.cursor.column, list(kinds), "cursor.column")
    hashed = [[name, kinds[name]] for name in (*key, export.cursor.column)]
    return json.dumps([export.where, hashed], ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class _Zones:
    """Where late rows are looked for, `[low - lookback, low)`, and from where delivered rows are remembered."""

    late_from: str | None
    keyed_from: str


def _zones(bounds: Bounds, looks_back: timedelta, known_from: str | None) -> _Zones:
    assert bounds.high is not None, "an incremental window has an upper bound"
    remembered = _before(bounds.high, looks_back)
    if bounds.low is None:
        return _Zones(None, remembered)
    late_from = bounds.low if known_from is None else max(known_from, _before(bounds.low, looks_back))
    return _Zones(late_from, max(remembered, min(late_from, bounds.low)))


def _before(bound: str, span: timedelta) -> str:
    return instant(datetime.fromisoformat(bound) - span)


class Lookback:
    """The late rows of one window, found in the transaction that reads it."""

    def __init__(
        self, source: Source, export: Export, bounds: Bounds, columns: Sequence[Column], memory: Memory
    ) -> None:
        assert export.cursor is not None, "only incremental exports look back"
        self._source, self._export, self._bounds, self._columns, self._memory = source, export, bounds, columns, memory
        self._key = key_columns(source, export, columns)
        self._keyed_by = _keyed_by(export, columns, self._key)
        # Hashes of other columns would make delivered rows look late, and so would rows that the filter left out.
        known_from = memory.known_from if memory.keyed_by == self._keyed_by else None
        self._earlier = [earlier for earlier in memory.earlier if earlier.keyed_by == self._keyed_by]
        self._zones = _zones(bounds, export.cursor.looks_back, known_from)
        # Asked once, for all that is looked at again: each span would cost as much as the window.
        around = Bounds(self._zones.late_from, bounds.high)
        self._ranges = cursor_ranges(source, export, columns, around)
        self._counts: dict[str, int] = {}
        self._late: set[str] = set()
        self._late_rows = 0
        for earlier in self._within_reach():
            found = self._keys(max(earlier.low or "", self._zones.late_from or ""), earlier.high)
            late = [key for key in found if key not in memory.keys]
            if late:
                # Of a window that is read again, the rows it found before are counted already.
                self._counts[earlier.id] = earlier.counted + len([key for key in late if key not in memory.own_keys])
                self._late.update(late)
                self._late_rows += len(late)
        begin = self._zones.keyed_from if bounds.low is None else max(self._zones.keyed_from, bounds.low)
        self._keys_to_come = frozenset(self._keys(begin, bounds.high or ""))

    def late_rows(self) -> LateRows | None:
        """What `open_rows` reads before the window's own rows."""
        if not self._late:
            return None
        span = self._range(self._zones.late_from, self._bounds.low or "")
        return LateRows(span, self._key, lambda cells: _hash(self._memory.salt, cells) in self._late)

    def findings(self, rows: int, window_id: str) -> Findings:
        """What is to be recorded, after `rows` rows were read, late ones among them. Audits older windows when due."""
        counted = {window_id: rows - self._late_rows, **self._counts}
        missed = self._audit(counted) if self._memory.audit_due else 0
        return Findings(
            late=self._late_rows,
            missed=missed,
            keys=self._keys_to_come | self._late,
            keyed_from=self._zones.keyed_from,
            keyed_by=self._keyed_by,
            late_from=self._zones.late_from,
            counted=counted,
            audited=self._memory.audit_due,
        )

    def _within_reach(self) -> list[Earlier]:
        reach = self._zones.late_from
        return [] if reach is None else [known for known in self._earlier if known.keyed and known.high > reach]

    def _audit(self, counted: dict[str, int]) -> int:
        """Count the spans that no lookback reaches any more; returns how many rows they have gained."""
        reach = self._zones.late_from
        older = [earlier for earlier in self._earlier if reach is not None and earlier.high <= reach]
        missed = 0
        for begin in range(0, len(older), _SPANS_A_STATEMENT):
            spans = older[begin : begin + _SPANS_A_STATEMENT]
            ranges = [self._range(earlier.low, earlier.high) for earlier in spans]
            statement = count_in_ranges(self._export, self._columns, ranges)
            for earlier, count in zip(spans, self._source.connection.execute(statement).one(), strict=True):
                counted[earlier.id] = int(count or 0)
                missed += max(0, counted[earlier.id] - earlier.counted)
        return missed

    def _keys(self, low: str, high: str) -> list[str]:
        as_text = self._source.dialect == "postgresql"
        statement = select_keys(self._export, self._columns, self._key, self._range(low, high), as_text=as_text)
        with self._source.connection.execute(statement) as result:
            return [_hash(self._memory.salt, row) for row in result]

    def _range(self, low: str | None, high: str) -> CursorRange:
        return self._ranges(Bounds(low, high))


def _hash(salt: str, cells: Sequence[Any]) -> str:
    """32 hex digits; keyed, since keys may be personal data. Lengths keep two cells from reading as others."""
    texts = [None if cell is None else text_of(cell) for cell in cells]
    joined = "".join("N" if text is None else f"{len(text)}:{text}" for text in texts)
    return hashlib.blake2b(joined.encode(), digest_size=16, key=salt.encode()).hexdigest()
