"""How an incremental export knows what is new."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from catalog.duration import Duration
from catalog.model import Frozen, Text, invalid
from catalog.schedule import check_moment

_LOOKBACK = timedelta(minutes=15)
_LAG_ONLY = {"lag", "lookback", "key"}
#: What does not apply to each mode.
_FOREIGN = {"lag": {"max_hold"}, "guarded": _LAG_ONLY, "xid": {*_LAG_ONLY, "future"}}


class Cursor(Frozen):
    """How an incremental export knows what is new, and how far its source is settled."""

    column: Text | None = None
    """The column that says when a row was last changed; in mode `xid` none is needed, or one of type xid8."""
    mode: Literal["lag", "guarded", "xid"] = "lag"
    """How the upper bound is chosen; `lag`, or `xid` when no column is named."""
    lag: Duration = timedelta(minutes=1)
    """In mode `lag`, how far the upper bound stays behind the run's logical time, so that slow transactions are in."""
    lookback: Duration | None = None
    """In mode `lag`, how far below the window late rows are looked for; it needs a unique key. Default: 15m."""
    key: tuple[Text, ...] | None = None
    """With `lookback`, the columns that tell rows apart; default: the table's primary key."""
    max_hold: Duration = timedelta(hours=24)
    """How long an open transaction may hold the bound back before runs fail; in modes `xid` and `guarded`."""
    start: datetime | None = None
    """Where the first window begins; without it, at the beginning of the table."""
    nulls: Literal["fail", "skip"] = "fail"
    """What happens to rows whose cursor column is NULL: stop, or leave them out and count them."""
    future: Literal["warn", "fail", "ignore"] = "warn"
    """In modes `lag` and `guarded`, what happens when rows have a cursor in the future, and so are in no file before
    that time: a warning that counts them, a run that fails, or nothing."""

    @model_validator(mode="before")
    @classmethod
    def _mode(cls, given: Any) -> Any:
        if isinstance(given, dict) and not {"mode", "column", *_LAG_ONLY} & set(given):
            return {**given, "mode": "xid"}
        return given

    @field_validator("start")
    @classmethod
    def _start(cls, value: datetime | None) -> datetime | None:
        if value is not None:
            check_moment(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.mode != "xid" and self.column is None:
            raise invalid(f"mode `{self.mode}` needs `column`: the one that says when a row was last changed")
        if self.mode == "xid" and self.start is not None:
            raise invalid("`start` is a moment, and mode `xid` has none: leave it out, or activate with --since now")
        foreign = self.model_fields_set & _FOREIGN[self.mode]
        if foreign:
            raise invalid(f"`{min(foreign)}` does not apply to mode `{self.mode}`")
        if self.lookback and self.lookback < self.lag:
            raise invalid("`lookback` must not be shorter than `lag`")
        if self.key is not None and not self.looks_back:
            raise invalid("`key` is for `lookback`: without one, no row is looked at twice")
        return self

    @property
    def looks_back(self) -> timedelta:
        """How far below its window a run looks for late rows: `lookback`, or 15 minutes, but never less than `lag`."""
        if self.mode != "lag":
            return timedelta()
        return max(_LOOKBACK, self.lag) if self.lookback is None else self.lookback
