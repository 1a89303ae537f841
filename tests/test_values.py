"""One value, one text: what Python writes is what PostgreSQL would have written."""

import struct
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from postgres_server import Postgres
from sources import opened

from tasks.rows.values import text_of

RANDOM = Random(20261123)
EDGES = [
    1e15,
    1e14,
    123456789012345.0,
    1234567890123456.0,
    9007199254740993.0,
    1e16,
    1e-4,
    1e-5,
    -0.0,
    5e-324,
    0.1 + 0.2,
]


def of_postgres(postgres: Postgres, values: list[Any], kind: str, shown: str = "v") -> list[str]:
    """The server's own texts under the settings of a run."""
    with opened(postgres.url()) as source:
        cursor = source.connection.connection.cursor()
        unnested = f"unnest(%s::{kind}[]) WITH ORDINALITY AS u(v, n)"
        cursor.execute(f"SELECT ({shown})::text FROM {unnested} ORDER BY n", [values])
        return [row[0] for row in cursor.fetchall()]


def test_floats_of_every_size(postgres: Postgres) -> None:
    bits = [RANDOM.getrandbits(64).to_bytes(8, "big") for _ in range(2000)]
    numbers = EDGES + [struct.unpack("d", found)[0] for found in bits]
    numbers += [
        round(RANDOM.uniform(-9e15, 9e15) * 10 ** RANDOM.randrange(-20, 1), RANDOM.randrange(9)) for _ in range(2000)
    ]
    assert [text_of(number) for number in numbers] == of_postgres(postgres, numbers, "float8")


def test_timestamps_with_and_without_a_zone(postgres: Postgres) -> None:
    offsets = [timedelta(microseconds=RANDOM.randrange(10**17) // 10 ** RANDOM.randrange(7)) for _ in range(1000)]
    naive = [datetime(2, 1, 1) + offset * 2 for offset in offsets]
    aware = [moment.replace(tzinfo=timezone(timedelta(minutes=RANDOM.randrange(-720, 840)))) for moment in naive[500:]]
    assert [text_of(moment) for moment in naive] == of_postgres(postgres, naive, "timestamp")
    assert [text_of(moment) for moment in aware] == of_postgres(postgres, aware, "timestamptz")


def test_intervals(postgres: Postgres) -> None:
    counts = [RANDOM.randrange(-(10**12), 10**12) // 10 ** RANDOM.randrange(9) * 10**6 for _ in range(500)]
    counts += [RANDOM.randrange(-(10**14), 10**14) // 10 ** RANDOM.randrange(9) for _ in range(500)]
    # As microseconds, since Python keeps negative days beside positive seconds, and the server would show them so.
    interval = "justify_hours((v || ' microseconds')::interval)"
    assert [text_of(timedelta(microseconds=count)) for count in counts] == of_postgres(
        postgres, [str(count) for count in counts], "text", interval
    )


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (True, "boolean"),
        (-(2**63), "bigint"),
        (Decimal("0.10"), "numeric"),
        (Decimal("1E+3"), "numeric"),
        (Decimal("-0.0000000001"), "numeric"),
        (Decimal("NaN"), "numeric"),
        (Decimal("-Infinity"), "numeric"),
        (date(1, 1, 1), "date"),
        (time(0, 0), "time"),
        (time(23, 59, 59, 120_000), "time"),
        (time(1, 2, 3, tzinfo=timezone(timedelta(hours=-3, minutes=-30))), "timetz"),
        (time(1, 2, 3, tzinfo=UTC), "timetz"),
        (timedelta(), "interval"),
        (timedelta(days=1), "interval"),
        (b"", "bytea"),
        (b"\x00\xffa", "bytea"),
        ("", "text"),
    ],
)
def test_the_rest(postgres: Postgres, value: Any, kind: str) -> None:
    assert [text_of(value)] == of_postgres(postgres, [value], kind)


def test_what_only_other_databases_give() -> None:
    assert text_of(bytearray(b"\x01")) == text_of(memoryview(b"\x01")) == "\\x01"
    assert text_of({"ü": [1, None]}) == '{"ü": [1, null]}'
