"""Tables, columns and types of names that nobody expects: read as any other, and looked after as any other."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

from catalog.errors import Code, ExportError

#: SQLAlchemy doubles percent signs where a driver takes them for placeholders, and takes colons for its own.
TABLE = '50% of "our" :orders'
QUOTED = '"50% of ""our"" :orders"'
CREATE = f"CREATE TABLE {QUOTED} (id int)"


@pytest.fixture
def made(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A database of the catalog with one table of a thousand rows; returns its name on the server."""
    name = postgres.fresh_database(CREATE, f"INSERT INTO {QUOTED} SELECT generate_series(1, 1000)")
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    workshop.database("crm", postgres.url(name, password="{{ $CRM_PASSWORD }}"))
    return name


def test_partitions(workshop: Workshop, made: str) -> None:
    export_id = workshop.export(table=TABLE, file={"name": "orders.csv", "partitions": 3})
    run_plainly(workshop, export_id, datetime.now(UTC))
    assert workshop.text("orders.csv") == "".join(f"{line}\n" for line in ("id", *range(1, 1001)))


@pytest.mark.parametrize("cursor", [{"mode": "xid"}, {"mode": "guarded", "column": "at"}])
def test_a_table_that_was_replaced_is_noticed(
    workshop: Workshop, postgres: Postgres, made: str, cursor: dict[str, str]
) -> None:
    with postgres.connect(made) as connection:
        connection.execute(f"ALTER TABLE {QUOTED} ADD at timestamptz NOT NULL DEFAULT clock_timestamp()")
        export_id = workshop.export(
            table=TABLE, type="incremental", cursor=cursor, file={"name": "{run}.csv"}, columns=["id"]
        )
        run_plainly(workshop, export_id, datetime.now(UTC))
        connection.execute(f"ALTER TABLE {QUOTED} RENAME TO old; CREATE TABLE {QUOTED} AS SELECT * FROM old")
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, datetime.now(UTC))
    assert caught.value.code is Code.SOURCE_REPLACED and len(workshop.files()) == 1


def test_a_table_that_was_rewritten_is_noticed(workshop: Workshop, postgres: Postgres, made: str) -> None:
    export_id = workshop.export(table=TABLE, type="incremental", cursor={"mode": "xid"}, file={"name": "{run}.csv"})
    run_plainly(workshop, export_id, datetime.now(UTC))
    with postgres.connect(made) as connection:
        connection.execute(f"ALTER TABLE {QUOTED} ALTER id TYPE bigint")
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, datetime.now(UTC))
    assert caught.value.code is Code.SOURCE_REWRITTEN and len(workshop.files()) == 1


@pytest.mark.filterwarnings("error:Did not recognize type")
def test_types_that_are_not_known_are_text_without_a_word(workshop: Workshop, postgres: Postgres, made: str) -> None:
    with postgres.connect(made) as connection:
        connection.execute("CREATE TYPE pair AS (one int, two text)")
        connection.execute("CREATE TABLE places AS SELECT point(1, 2) AS place, (1, 'a')::pair AS pair")
    export_id = workshop.export(table="places")
    assert workshop.json("check", export_id) == []
    run_plainly(workshop, export_id, datetime.now(UTC))
    assert workshop.text("orders.csv") == 'place,pair\n"(1,2)","(1,a)"\n'


@pytest.mark.parametrize("table", ["public.orders", "half.price"])
def test_sqlite_has_no_such_schema(workshop: Workshop, table: str) -> None:
    workshop.sqlite()
    export_id = workshop.export(table=table)
    (problem,) = workshop.json("check", export_id, exit_code=1)
    assert (problem["code"], problem["severity"]) == ("COLUMN_MISSING", "error")
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, datetime.now(UTC))
    assert caught.value.code is Code.COLUMN_MISSING and workshop.files() == {}
