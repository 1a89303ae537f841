"""The ledger as a person sees it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from plain_run import run_plainly
from sqlalchemy import event
from workshop import Workshop

from deployments.ledger_view import ledger_entries

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_many_windows_are_read_with_no_more_statements_than_few(workshop: Workshop) -> None:
    workshop.sqlite()
    export_id = workshop.incremental()
    statements: list[str] = []
    event.listen(workshop.ledger.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))

    def asked() -> int:
        statements.clear()
        entries = ledger_entries(workshop.ledger, export_id)
        assert all(file.name == entry.window.first_name for entry in entries for file, _ in entry.parts)
        assert [len(entry.parts) for entry in entries] == [1] * len(entries)
        return len(statements)

    run_plainly(workshop, export_id, NOON)
    few = asked()
    for number in range(1, 6):
        run_plainly(workshop, export_id, NOON + timedelta(hours=number))
    assert asked() == few
