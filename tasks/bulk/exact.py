"""Arrow arrays of one type into those of another, whole columns at a time: exactly, or Inexact."""

from __future__ import annotations

from binascii import hexlify
from datetime import UTC, date, datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.bulk.contract import Inexact
from tasks.rows.values import text_of

#: Integers beyond it have no float of their own.
_WHOLE_FLOATS = 2**53
#: From here on Arrow writes exponents, and PostgreSQL not yet.
_ARROW_EXPONENTS = 1e10
#: What the path through Python can say: years 1 to 9999, and times before 24:00.
_FIRST, _LAST = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
_DAY_MICROSECONDS = 86_400_000_000
#: The groups of a UUID's digits, the last in two: integers are copied faster than as many bytes.
_GROUPS, _INTEGERS = list("abcdef"), ["u8", "u4", "u4", "u4", "u4", "u8"]
_DIGITS = np.dtype({"names": _GROUPS, "formats": _INTEGERS, "offsets": [0, 8, 12, 16, 20, 24], "itemsize": 32})
_DASHED = np.dtype({"names": _GROUPS, "formats": _INTEGERS, "offsets": [0, 9, 14, 19, 24, 28], "itemsize": 36})


def to_declared(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """The same values in the type that the file gives them.

    Raises Inexact for a value that this type cannot hold, or that only the path through Python can tell.
    """
    if isinstance(array, pa.UuidArray):
        array = _uuid_text(array.storage)
    elif isinstance(array, pa.ExtensionArray):
        # Such as json, which is text that is known to be some.
        array = array.storage
    if pa.types.is_string(kind):
        found = to_text(array)
    elif array.type == kind:
        found = array
    elif pa.types.is_boolean(kind) and pa.types.is_integer(array.type):
        _require(array, 0, 1)
        found = pc.cast(array, kind)
    elif pa.types.is_decimal(kind) or pa.types.is_temporal(kind):
        # A number in a column of dates is one thing to SQLite and another to Arrow.
        if pa.types.is_temporal(kind) and not pa.types.is_string(array.type) and array.null_count < len(array):
            raise Inexact(f"{array.type} in a column of {kind}")
        found = pc.cast(to_text(array), kind)
    else:
        found = pc.cast(array, kind)
    _require_sayable(found)
    return found


def to_text(array: pa.Array) -> pa.Array:
    """The canonical text of each value (`docs/values.md`). Raises Inexact for types it has no rule for."""
    if pa.types.is_string(array.type):
        return array
    if pa.types.is_integer(array.type):
        return pc.cast(array, pa.string())
    if pa.types.is_float64(array.type):
        return _float_text(array)
    raise Inexact(f"no text for {array.type}")


def _float_text(array: pa.Array) -> pa.Array:
    """Where Arrow and the canonical form part (exponents, infinities), the few values are written one by one."""
    size = pc.abs(array)
    common = pc.and_(pc.less(size, _ARROW_EXPONENTS), pc.or_(pc.greater_equal(size, 1e-4), pc.equal(array, 0)))
    # NaN is neither, and minus zero keeps its sign only in Python.
    common = pc.fill_null(pc.and_(common, pc.not_equal(pc.divide(1.0, array), float("-inf"))), True)
    texts = pc.cast(array, pa.string())
    rare = pc.invert(common)
    if not pc.any(rare).as_py():
        return texts
    written = [text_of(value) for value in array.filter(rare).to_pylist()]
    return pc.replace_with_mask(texts, rare, pa.array(written, pa.string()))


def _uuid_text(array: pa.FixedSizeBinaryArray) -> pa.Array:
    """32 digits in five groups, whole columns at a time (RFC 9562, 4)."""
    if len(array) == 0:
        return pa.array([], pa.string())
    held = array.buffers()[1].slice(array.offset * 16, len(array) * 16)
    digits = np.frombuffer(hexlify(held), _DIGITS)
    texts = np.full(len(array) * _DASHED.itemsize, ord("-"), np.uint8)
    for group in _GROUPS:
        texts.view(_DASHED)[group] = digits[group]
    ends = np.arange(0, 36 * len(array) + 1, 36, dtype=np.int32)
    found = pa.StringArray.from_buffers(len(array), pa.py_buffer(ends), pa.py_buffer(texts))
    return found if array.null_count == 0 else pc.if_else(array.is_valid(), found, None)


def require_float_integers(array: pa.Array) -> None:
    """Raises Inexact when an integer may have been rounded on its way into a float."""
    if pa.types.is_floating(array.type):
        _require(array, -_WHOLE_FLOATS + 1, _WHOLE_FLOATS - 1)


def _require(array: pa.Array, low: int, high: int) -> None:
    found = pc.min_max(array).as_py()
    if found["min"] is not None and not (low <= found["min"] and found["max"] <= high):
        raise Inexact(f"values beyond {low} to {high}")


def _require_sayable(array: pa.Array) -> None:
    kind = array.type
    if pa.types.is_date32(kind):
        epoch = date(1970, 1, 1)
        _require(array.view(pa.int32()), (date.min - epoch).days, (date.max - epoch).days)
    elif pa.types.is_timestamp(kind):
        first, last = (_microseconds(moment) for moment in (_FIRST, _LAST))
        _require(array.view(pa.int64()), first, last)
    elif pa.types.is_time64(kind):
        _require(array.view(pa.int64()), 0, _DAY_MICROSECONDS - 1)


def _microseconds(moment: datetime) -> int:
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
