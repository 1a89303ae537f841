"""What a transform is given, and what becomes of what it gives: the same bytes where it left a value alone."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from custom_modules import CustomModules, customised
from plain_run import run_plainly
from postgres_server import Postgres
from sources import NO_SECRETS, an_export, between, sqlite_file
from test_paths import CELLS, TYPES
from workshop import Workshop

from catalog.connections import Database
from catalog.errors import Code, ExportError
from catalog.windows import Window
from flows.custom_code import transform_of
from tasks.extract import extract
from tasks.rows.columns import Column
from tasks.source.postgres import with_moments

FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)

SHAPES = {
    "as it came": "return batch",
    "copied": "return batch.copy()",
    "taken apart": "import pandas as pd\n    return pd.DataFrame({name: batch[name] for name in batch.columns})",
    "another column changed": "batch['mine'] = 1\n    return batch.drop(columns=['mine'])",
}
#: Per format, the types of `CELLS` whose values it cannot hold all.
UNHELD = {"csv": set(), "jsonl": set(), "parquet": {"date", "timestamp", "timestamptz", "time"}}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", UNHELD)
def test_what_is_left_alone_gives_the_very_bytes_of_the_standard_equivalent_on_postgresql(
    postgres: Postgres,
    custom_modules: CustomModules,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    shape: str,
) -> None:
    cells = {name: values for name, values in CELLS.items() if name not in UNHELD[kind]}
    database = postgres.fresh_database(
        *TYPES, "CREATE TABLE t (id integer, stamp timestamptz, d date, t time, at timestamp)"
    )
    with postgres.connect(database) as connection:
        for index, name in enumerate(cells):
            connection.execute(f"ALTER TABLE t ADD c{index} {name}")
        for row in range(max(len(values) for values in cells.values())):
            given = [values[row] if row < len(values) else None for values in cells.values()]
            marks = ", ".join(f"%s::text::{name}" for name in cells)
            moments = "'2026-01-01 08:00:00.5+02', '2026-02-28', '23:59:59.25', '2026-01-01 10:00:00'"
            connection.execute(f"INSERT INTO t VALUES ({row}, {moments}, {marks})", given)
    one, two = both(postgres.url(database), kind, "at", shape, custom_modules, tmp_path, monkeypatch)
    assert one == two


SQLITE = """CREATE TABLE t (id INTEGER, word TEXT, price NUMERIC(10,2), weight REAL, data BLOB, free, at DATETIME);
INSERT INTO t VALUES
 (1, 'a,"b"', 10.5, 0.1, x'00ff', 1, '2026-01-01 08:00:00'), (2, '', 3, 1e300, NULL, 2, '2026-01-01 08:00:01'),
 (9007199254740993, NULL, NULL, NULL, x'', NULL, '2026-01-01 08:00:02'),
 (-1, 'two' || char(10) || 'lines', 99999999.99, 2, x'22', 4, '2026-01-01 08:00:03');"""


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "xlsx"])
def test_what_is_left_alone_gives_the_very_bytes_of_the_standard_equivalent_on_sqlite(
    custom_modules: CustomModules, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, shape: str
) -> None:
    one, two = both(sqlite_file(tmp_path, SQLITE), kind, "at", shape, custom_modules, tmp_path, monkeypatch)
    assert one == two


def both(
    url: str,
    kind: str,
    cursor: str,
    shape: str,
    modules: CustomModules,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[bytes, bytes]:
    """The file of an export whose function changes nothing, and that of its standard equivalent."""
    name = f"same_{uuid.uuid4().hex[:8]}"
    modules.write(name, f"def same(batch):\n    {SHAPES[shape]}\n")
    file = {"name": f"t.{kind}", "format": kind}
    custom = an_export(
        type="incremental_custom",
        cursor={"column": cursor, "lag": "0s", "lookback": "0s"},
        transform=f"{name}:same",
        file=file,
    )
    assert custom.standard_equivalent is not None
    found = []
    for export in (custom, custom.standard_equivalent):
        monkeypatch.setenv("EXPORTS_SPOOL", str(folder / uuid.uuid4().hex))
        window = Window(
            uuid.uuid4().hex, "t", 0, "backfill", between(None, FEBRUARY), FEBRUARY, "hash", "run", "", file["name"]
        )
        result = extract(export, window, NO_SECRETS, load=lambda _: Database(url=url), transform=transform_of(export))
        assert result.rows > 1
        found.append(result.files[0].path.read_bytes())
    return found[0], found[1]


def test_a_function_is_given_exact_values(
    postgres: Postgres, workshop: Workshop, custom_modules: CustomModules, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = postgres.fresh_database(
        "CREATE TABLE orders (id bigint, flag boolean, price numeric(10,2), weight double precision, data bytea,"
        " day date, at timestamptz, forever timestamp, note text)",
        "INSERT INTO orders VALUES (9007199254740993, true, 1.10, 'NaN', '\\x00ff', '2026-01-02',"
        " '2026-01-01 08:00+02', 'infinity', NULL)",
    )
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    name = f"looks_{workshop.suffix}"
    custom_modules.write(
        name,
        """
        def look(batch):
            made = batch[["id"]].copy()
            made["seen"] = [[repr(value) for value in row] for row in batch.itertuples(index=False)]
            made["dtypes"] = ",".join(sorted({str(kind) for kind in batch.dtypes}))
            return made
        """,
    )
    cursor = {"column": "at", "lag": "0s", "lookback": "0s"}
    file = {"name": "seen.jsonl", "format": "jsonl"}
    keys = {"type": "incremental_custom", "transform": f"{name}:look", "column_order": None}
    run_plainly(workshop, workshop.incremental(**{**keys, "cursor": cursor, "file": file}), FEBRUARY)
    (row,) = map(json.loads, workshop.text("seen.jsonl").splitlines())
    assert row["dtypes"] == "object" and row["id"] == 9007199254740993
    assert row["seen"] == [
        "9007199254740993",
        "True",
        "Decimal('1.10')",
        "nan",
        "b'\\x00\\xff'",
        "datetime.date(2026, 1, 2)",
        "datetime.datetime(2026, 1, 1, 6, 0, tzinfo=datetime.timezone.utc)",
        "'infinity'",
        "None",
    ]


def test_missing_values_are_null_and_nested_ones_json(workshop: Workshop, custom_modules: CustomModules) -> None:
    name = f"nests_{workshop.suffix}"
    custom_modules.write(
        name,
        """
        import decimal
        import numpy as np
        import pandas as pd

        def nest(batch):
            batch["gone"] = pd.Series([1.0, np.nan, 3.5])
            batch["mixed"] = pd.Series([np.nan, pd.NA, "x"], dtype=object)
            batch["day"] = pd.to_datetime(["2026-01-01 10:00", None, "2026-01-02 00:00"])
            batch["count"] = np.arange(len(batch))
            batch["nested"] = [{"a": [1, None, np.int64(2)], "d": decimal.Decimal("1.10")}, None, [pd.Timestamp(0)]]
            return batch[["gone", "mixed", "day", "count", "nested"]]
        """,
    )
    workshop.sqlite()
    file = {"name": "n.jsonl", "format": "jsonl"}
    run_plainly(
        workshop, workshop.incremental(type="incremental_custom", transform=f"{name}:nest", file=file), FEBRUARY
    )
    assert [json.loads(line) for line in workshop.text("n.jsonl").splitlines()] == [
        {
            "gone": 1,
            "mixed": None,
            "day": "2026-01-01 10:00:00",
            "count": 0,
            "nested": {"a": [1, None, 2], "d": "1.10"},
        },
        {"gone": None, "mixed": None, "day": None, "count": 1, "nested": None},
        {"gone": 3.5, "mixed": "x", "day": "2026-01-02 00:00:00", "count": 2, "nested": ["1970-01-01 00:00:00"]},
    ]


CELL = """
import numpy as np
import pandas as pd

class Loud:
    def __str__(self):
        return 1 / 0

def cell(batch):
    made = batch[["id"]].copy()
    made["cell"] = pd.Series([{cell}] * len(made), index=made.index, dtype=object)
    return made
"""


def transform_to(cell: str, workshop: Workshop, custom_modules: CustomModules, **keys: Any) -> str:
    """An export all whose rows have what that Python gives in their second column."""
    name = f"cell_{workshop.suffix}"
    custom_modules.write(name, CELL.replace("{cell}", cell))
    workshop.sqlite()
    return workshop.incremental(type="incremental_custom", transform=f"{name}:cell", **keys)


MOMENTS = "np.array(['2026-01-02T03:04:05.5', 'NaT'], dtype='datetime64[{unit}]')"
NESTED = {
    "moments": (MOMENTS.format(unit="ns"), ["2026-01-02 03:04:05.5", None]),
    "moments in two dimensions": (MOMENTS.format(unit="ns") + ".reshape(2, 1)", [["2026-01-02 03:04:05.5"], [None]]),
    "moments within": ("{'at': " + MOMENTS.format(unit="us") + "}", {"at": ["2026-01-02 03:04:05.5", None]}),
    "no number of 32 bits": ("np.float32('nan')", None),
    "no number in a list": ("[float('nan'), 1.5, {'a': np.float32('nan')}]", [None, 1.5, {"a": None}]),
    "no number in an array": ("np.array([np.nan, 2])", [None, 2]),
    "spans of time": ("np.array([90_000_000_000], dtype='timedelta64[ns]')", ["PT1M30S"]),
}


@pytest.mark.parametrize("name", NESTED)
def test_what_an_array_or_a_list_holds_is_written_as_it_would_be_by_itself(
    workshop: Workshop, custom_modules: CustomModules, name: str
) -> None:
    cell, expected = NESTED[name]
    export_id = transform_to(cell, workshop, custom_modules, file={"name": "n.jsonl", "format": "jsonl"})
    run_plainly(workshop, export_id, FEBRUARY)
    assert json.loads(workshop.text("n.jsonl").splitlines()[0])["cell"] == expected


UNHELD_CELLS = {
    "a set": ("{'a', 'b'}", "TypeError"),
    "a set in a list": ("[frozenset('ab')]", "TypeError"),
    "a text that fails": ("Loud()", "ZeroDivisionError"),
    "a text that fails in a list": ("[Loud()]", "ZeroDivisionError"),
}


@pytest.mark.parametrize("name", UNHELD_CELLS)
def test_a_value_that_cannot_be_written_is_said_so(
    workshop: Workshop, custom_modules: CustomModules, name: str
) -> None:
    cell, said = UNHELD_CELLS[name]
    export_id = transform_to(cell, workshop, custom_modules)
    error = workshop.json("preview", export_id, exit_code=1)["error"]
    assert error["code"] == "TRANSFORM_FAILED"
    assert f"column 'cell' that no file can hold exactly ({said})" in error["message"]


def test_a_value_of_another_class_is_written_as_it_calls_itself(
    workshop: Workshop, custom_modules: CustomModules
) -> None:
    cell = "__import__('uuid').UUID(int=1)"
    export_id = transform_to(f"[{cell}, {cell}.bytes]", workshop, custom_modules, file={"name": "n.csv"})
    rows = workshop.json("preview", export_id)["rows"]
    uuid_text = "00000000-0000-0000-0000-000000000001"
    assert json.loads(rows[0][1]) == [uuid_text, "\\x" + "00" * 15 + "01"]


def test_parquet_keeps_the_types_of_columns_that_stay_and_takes_new_ones_from_their_values(
    workshop: Workshop, module: str
) -> None:
    file = {"name": "o.parquet", "format": "parquet"}
    run_plainly(workshop, customised(workshop, module, file=file), FEBRUARY)
    schema = pq.read_schema(workshop.drop / "o.parquet")
    assert dict(zip(schema.names, schema.types, strict=True)) == {
        "id": pa.int64(),
        "length": pa.int64(),
        "customer": pa.string(),
        "total": pa.decimal128(10, 2),
        "updated_at": pa.timestamp("us"),
    }


@pytest.mark.parametrize("first", ["no rows", "no values"])
def test_a_new_column_is_what_it_is_whatever_the_first_batch_holds(
    workshop: Workshop, custom_modules: CustomModules, first: str
) -> None:
    rows, dtype = ("made[made['id'] > 10_000]", "object") if first == "no rows" else ("made", "Int64")
    custom_modules.write(
        f"m_{workshop.suffix}",
        f"""
        import pandas as pd

        def late(batch):
            made = batch[["id"]].copy()
            double = [None if each <= 10_000 else 2 * each for each in batch["id"]]
            made["double"] = pd.Series(double, dtype="{dtype}")
            return {rows}
        """,
    )
    workshop.sqlite(script=MANY)
    file = {"name": "n.jsonl", "format": "jsonl"}
    keys = {"type": "incremental_custom", "transform": f"m_{workshop.suffix}:late", "file": file}
    run_plainly(workshop, workshop.incremental(**keys), FEBRUARY)
    assert json.loads(workshop.text("n.jsonl").splitlines()[-1]) == {"id": 10_001, "double": 20_002}


MANY = """CREATE TABLE orders (id INTEGER PRIMARY KEY, updated_at DATETIME);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10001)
INSERT INTO orders SELECT i, '2026-01-01 08:00:00' FROM n;"""


def test_a_column_of_another_type_than_the_tables_needs_another_name(
    workshop: Workshop, custom_modules: CustomModules
) -> None:
    custom_modules.write(
        f"m_{workshop.suffix}", "def f(batch):\n    batch['id'] = ['x' for _ in batch['id']]\n    return batch\n"
    )
    workshop.sqlite()
    file = {"name": "o.parquet", "format": "parquet"}
    export_id = workshop.incremental(type="incremental_custom", transform=f"m_{workshop.suffix}:f", file=file)
    with pytest.raises(ExportError) as raised:
        run_plainly(workshop, export_id, FEBRUARY)
    assert raised.value.code is Code.VALUE_UNENCODABLE and "another name" in (raised.value.hint or "")


def test_a_text_of_the_server_becomes_a_moment_only_where_that_gives_the_same_text() -> None:
    column = Column("at", "timestamp", "temporal", pa.timestamp("us"))
    texts = ["2026-01-01 08:00:00.5", "2026-01-01 08:00:00.50", "2026-01-01T08:00:00", "infinity", None]
    given = with_moments([[each] for each in texts], [column])
    assert [row[0] for row in given] == [datetime(2026, 1, 1, 8, 0, 0, 500_000), *texts[1:]]
