"""Reading PostgreSQL: one snapshot, exact types, and memory that does not grow with the table."""

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from postgres_server import Postgres
from sources import an_export, headed, opened, rows_of

from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.bulk import open_lines
from tasks.source.postgres import psycopg_connection
from tasks.source.read import begin_reading

ROOT = Path(__file__).resolve().parent.parent


def test_all_that_is_read_is_one_moment(postgres: Postgres) -> None:
    made = postgres.fresh_database("CREATE TABLE t AS SELECT generate_series(1, 25000) AS id")
    with opened(postgres.url(made)) as source:
        rows = headed(source, an_export())
        count = next(rows.batches).num_rows
        with postgres.connect(made) as other:
            other.execute("INSERT INTO t SELECT 0")
            other.execute("DELETE FROM t WHERE id > 100")
        assert count + sum(batch.num_rows for batch in rows.batches) == 25_000
        (batch,) = headed(source, an_export(query="SELECT count(*) AS n FROM t")).batches
        assert batch.to_pylist() == [{"n": "25000"}]


@pytest.mark.parametrize("rows", [1, 100_000], ids=["all of it was read", "more is coming"])
def test_a_copy_that_nobody_reads_on_leaves_the_connection_usable(postgres: Postgres, rows: int) -> None:
    made = postgres.fresh_database(f"CREATE TABLE t AS SELECT id, id AS n FROM generate_series(1, {rows}) AS id")
    with opened(postgres.url(made)) as source:
        lines = open_lines(source, an_export(), begin_reading(source, an_export(), Bounds()))
        assert lines is not None and next(lines.chunks).startswith(b"1,1\n")
        lines.chunks.close()
        raw = psycopg_connection(source.connection)
        raw.rollback()
        assert raw.execute("SELECT 'usable'").fetchone() == ("usable",)


def test_settings_of_the_server_do_not_show_in_the_text(postgres: Postgres) -> None:
    query = """SELECT timestamptz '2026-07-01 00:00+02' AS a, interval '1 day 2 hours' AS b, '\\x00ff'::bytea AS c,
                      float8 '0.1' + float8 '0.2' AS d, date '2026-02-28' AS e"""
    made = postgres.fresh_database()
    with postgres.connect() as connection:
        for setting in (
            "timezone='Asia/Tokyo'",
            "datestyle='German'",
            "intervalstyle='postgres_verbose'",
            "bytea_output='escape'",
            "extra_float_digits=-3",
            "client_encoding='latin1'",
        ):
            connection.execute(f"ALTER DATABASE {made} SET {setting}")
    expected = ["2026-06-30 22:00:00+00", "P1DT2H", "\\x00ff", "0.30000000000000004", "2026-02-28"]
    assert rows_of(postgres.url(made), an_export(query=query)) == [expected]


TYPED = {
    "numeric(5,2)": (pa.decimal128(5, 2), "1.5", Decimal("1.50")),
    "numeric(50,3)": (pa.decimal256(50, 3), "9" * 47 + ".125", Decimal("9" * 47 + ".125")),
    "numeric(3,5)": (pa.string(), "0.00123", "0.00123"),
    "numeric(2,-3)": (pa.string(), "12345", "12000"),
    "numeric": (pa.string(), "1." + "0" * 30 + "1", "1." + "0" * 30 + "1"),
    "real": (pa.float32(), "0.1", pa.scalar(0.1, pa.float32()).as_py()),
    "float8": (pa.float64(), "-0.1", -0.1),
    "boolean[]": (pa.string(), "{t,NULL}", "{t,NULL}"),
    "int4range": (pa.string(), "[1,5)", "[1,5)"),
    "jsonb": (pa.string(), '{"a": true}', '{"a": true}'),
    "interval": (pa.string(), "-1 hour", "PT-1H"),
    "timetz": (pa.string(), "10:00+02", "10:00:00+02"),
    "inet": (pa.string(), "::1/128", "::1"),
    '"char"': (pa.string(), "x", "x"),
    "oid": (pa.string(), "4294967295", "4294967295"),
}


@pytest.mark.parametrize("kind", TYPED)
def test_types_are_exact_or_text(postgres: Postgres, kind: str) -> None:
    arrow, given, expected = TYPED[kind]
    made = postgres.fresh_database(f"CREATE TABLE t (v {kind})", f"INSERT INTO t VALUES ('{given}'), (NULL)")
    export = an_export(file={"name": "t.parquet", "format": "parquet"})
    with opened(postgres.url(made)) as source:
        (batch,) = headed(source, export, "typed").batches
    assert batch.schema.field("v").type == arrow and batch.column("v").to_pylist() == [expected, None]


@pytest.mark.parametrize(
    ("kind", "value"),
    [("time", "24:00"), ("date", "infinity"), ("numeric(5,2)", "NaN"), ("timestamptz", "20000-01-01")],
)
def test_what_arrow_cannot_hold_is_named_without_its_value(postgres: Postgres, kind: str, value: str) -> None:
    made = postgres.fresh_database(f"CREATE TABLE t (v {kind})", f"INSERT INTO t VALUES (NULL), ('{value}')")
    with pytest.raises(ExportError, match="row 2, column 'v': the value cannot be held exactly as") as caught:
        rows_of(postgres.url(made), an_export(), form="typed")
    assert caught.value.code is Code.VALUE_UNENCODABLE and value not in caught.value.message


PEAK = """
import resource, sys
sys.path[:0] = sys.argv[3:]
from sources import an_export, headed, opened
with opened(sys.argv[1]) as source:
    query = f"SELECT i, repeat(md5(i::text), 8) AS w FROM generate_series(1, {sys.argv[2]}) i"
    rows = headed(source, an_export(query=query))
    assert sum(batch.num_rows for batch in rows.batches) == int(sys.argv[2])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_memory_does_not_grow_with_the_table(postgres: Postgres) -> None:
    def peak(rows: int) -> int:
        """The most kilobytes that reading so many rows of 260 bytes took."""
        arguments = [sys.executable, "-c", PEAK, postgres.url(), str(rows), str(ROOT), str(ROOT / "tests")]
        return int(subprocess.run(arguments, check=True, capture_output=True, text=True, env=os.environ).stdout)

    assert peak(150_000) - peak(20_000) < 15_000


def test_the_server_sees_who_reads_and_is_left_alone_afterwards(postgres: Postgres) -> None:
    with opened(postgres.url()) as source:
        seen = source.connection.exec_driver_sql(
            "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        assert seen.scalar_one() == "manage-exports"
        with psycopg.connect(postgres.url().replace("+psycopg", "")) as other:
            busy = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'manage-exports'"
            assert (other.execute(busy).fetchone() or (0,))[0] >= 1
