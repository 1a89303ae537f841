"""Modes `xid` and `guarded` from end to end: what `check` finds, what `preview` shows, what runs deliver."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from plain_run import run_plainly
from postgres_server import Postgres
from workshop import Workshop

QUERY = "SELECT id, updated_at AT TIME ZONE 'UTC' AS updated_at FROM orders"
CURSORS: dict[str, dict[str, Any]] = {
    "xid": {"cursor": {"mode": "xid"}},
    "xid8": {"cursor": {"mode": "xid", "column": "changed"}},
    "guarded": {"cursor": {"mode": "guarded", "column": "updated_at"}},
    "query": {"cursor": {"mode": "guarded", "column": "updated_at"}, "table": None, "query": QUERY},
}
TABLE = """CREATE TABLE orders (id int PRIMARY KEY, updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
                                changed xid8 NOT NULL DEFAULT pg_current_xact_id())"""
INDEXES = ["CREATE INDEX ON orders (updated_at)", "CREATE INDEX ON orders (changed)"]


@pytest.fixture
def orders(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    database = postgres.fresh_database(TABLE, *INDEXES, "CREATE VIEW latest AS SELECT * FROM orders")
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    workshop.database("crm", postgres.url(database, password="{{ $CRM_PASSWORD }}"))
    with postgres.connect(database) as connection:
        yield connection


def delivered(workshop: Workshop) -> list[int]:
    return sorted(
        int(line.split(",")[0]) for text in workshop.files().values() for line in text.decode().splitlines()[1:]
    )


@pytest.mark.parametrize("mode", CURSORS)
def test_what_check_passes_runs_deliver_once(workshop: Workshop, orders: psycopg.Connection, mode: str) -> None:
    file = {"name": "orders_{date:%Y%m%dT%H%M%S%f}.csv", "empty": "skip"}
    export_id = workshop.export(type="incremental", file=file, **CURSORS[mode])
    orders.execute("INSERT INTO orders VALUES (1), (2)")
    assert workshop.json("check", export_id) == []

    def deliver_until(expected: list[int]) -> None:
        def is_there() -> bool:
            run_plainly(workshop, export_id, datetime.now(UTC))
            return delivered(workshop) == expected

        workshop.wait_for(is_there, seconds=20)

    deliver_until([1, 2])
    orders.execute("INSERT INTO orders VALUES (3)")
    deliver_until([1, 2, 3])
    shown = workshop.json("preview", export_id)
    assert shown["rows"] == [] and shown["window"]["since"] is not None
    orders.execute("INSERT INTO orders VALUES (4)")
    workshop.wait_for(lambda: [row[0] for row in workshop.json("preview", export_id)["rows"]] == ["4"], seconds=20)


def test_check_finds_what_a_run_would_meet(workshop: Workshop, orders: psycopg.Connection, postgres: Postgres) -> None:
    view = workshop.export("of_view", type="incremental", table="latest", folder="v", cursor={"mode": "xid"})
    guarded = workshop.export("held", type="incremental", cursor={**CURSORS["guarded"]["cursor"], "max_hold": "0s"})
    assert [(found["code"], found["severity"]) for found in workshop.json("check", view, exit_code=1)] == [
        ("XID_UNSUPPORTED", "error")
    ]
    orders.execute("BEGIN")

    def held() -> list[tuple[str, str]]:
        found = workshop.json("check", guarded, exit_code=None)
        return [(problem["code"], problem["severity"]) for problem in found]

    # The transaction will end: nothing is wrong with the definition.
    assert workshop.wait_for(held, seconds=20) == [("FRONTIER_HELD", "warning")]
    orders.execute("COMMIT")
    orders.execute(f"CREATE ROLE r_{orders.info.dbname} LOGIN PASSWORD 'secret'")
    orders.execute(f"GRANT SELECT ON orders TO r_{orders.info.dbname}")
    url = postgres.url(orders.info.dbname, f"r_{orders.info.dbname}", password="{{ $CRM_PASSWORD }}")
    workshop.database("crm", url)
    (problem,) = workshop.json("check", guarded, exit_code=1)
    assert problem["code"] == "SOURCE_PRIVILEGE" and problem["hint"].startswith("GRANT pg_read_all_stats TO r_")
