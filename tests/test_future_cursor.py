"""Rows whose cursor lies in the future are in no file before their time: each run tells of them."""

from __future__ import annotations

from datetime import UTC, datetime

from plain_run import run_plainly
from workshop import Workshop

from flows.report import notes

TYPO = "UPDATE orders SET updated_at = '2099-01-03 08:00:00' WHERE id = 3"


def test_a_row_of_the_future_is_told_of_until_its_time_comes(workshop: Workshop) -> None:
    workshop.sqlite()
    workshop.sqlite(script=TYPO)
    export_id = workshop.incremental(columns=["id"], file={"name": "orders_{date:%Y}.csv"})
    first = run_plainly(workshop, export_id, datetime.now(UTC))
    assert [content.decode() for content in workshop.files().values()] == ["id\n1\n2\n"]
    (warning,) = first.told.warnings
    assert warning.startswith("CURSOR_IN_FUTURE: 1 rows") and "up to 2099-01-03 08:00:00," in warning
    assert notes(workshop.ledger, first.run_id) == [warning]
    then = run_plainly(workshop, export_id, datetime(2099, 2, 1, tzinfo=UTC))
    assert workshop.text("orders_2099.csv") == "id\n3\n"
    assert then.told.warnings == [] == notes(workshop.ledger, then.run_id)
