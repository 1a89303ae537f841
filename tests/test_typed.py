"""Python values into Arrow arrays, for drivers whose databases the tests do not run."""

from datetime import time, timedelta

import pyarrow as pa
import pytest

from catalog.errors import Code, ExportError
from tasks.rows.columns import column_of
from tasks.rows.typed import to_array


def test_mysqls_time_is_a_time_of_day_within_a_day() -> None:
    array = to_array([timedelta(hours=12, minutes=30), None], column_of("t", "TIME"), 0)
    assert array.type == pa.time64("us") and array.to_pylist() == [time(12, 30), None]


@pytest.mark.parametrize("span", [timedelta(hours=-1), timedelta(days=1)])
def test_a_span_beyond_a_day_is_no_time_of_day(span: timedelta) -> None:
    with pytest.raises(ExportError) as caught:
        to_array([None, span], column_of("t", "TIME"), 10)
    assert caught.value.code is Code.VALUE_UNENCODABLE and "row 12, column 't'" in caught.value.message
