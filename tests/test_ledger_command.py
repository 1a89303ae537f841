"""`exports ledger`: what it shows, what a person decides there, and a ledger that is not the newest one."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from ledgers import a_run, spooled
from plain_run import run_plainly
from workshop import Workshop

from catalog.errors import Code, ExportError
from catalog.windows import State, Window
from tasks.ledger import Ledger, Turn

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CURSOR = {"column": "updated_at", "lag": "0s", "lookback": "0s"}
FIELDS = {"window", "low", "high", "state", "files", "run_id", "kind", "error_code"}


def day(number: int) -> datetime:
    return NOON + timedelta(days=number)


def add_order(workshop: Workshop, number: int, at: datetime) -> None:
    with closing(sqlite3.connect(workshop.folder / "crm.sqlite")) as connection, connection:
        connection.execute("INSERT INTO orders VALUES (?, 'new', 1, ?)", (number, f"{at:%Y-%m-%d %H:%M:%S}"))


def ledger_file(workshop: Workshop) -> Path:
    return Path(workshop.ledger.url.removeprefix("sqlite:///"))


@pytest.fixture
def export_id(workshop: Workshop) -> str:
    workshop.sqlite()
    return workshop.incremental(cursor=CURSOR, columns=["id"], file={"name": "orders_{date:%Y%m%d}.csv"})


def test_the_windows_are_shown_with_bounds_files_state_and_run(workshop: Workshop, export_id: str) -> None:
    first = run_plainly(workshop, export_id, NOON)
    workshop.drop.rename(workshop.folder / "away")
    second = a_run()
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, day(1), second)
    newest, oldest = workshop.json("ledger", export_id)
    assert newest.keys() >= FIELDS and oldest.keys() >= FIELDS
    assert (oldest["low"], oldest["high"]) == (None, "2026-03-01T12:00:00.000000+00:00")
    assert (oldest["state"], oldest["run_id"], oldest["kind"]) == ("COMMITTED", first.run_id, "scheduled")
    content = b"id\n1\n2\n3\n"
    (file,) = oldest["files"]
    assert (file["name"], file["path"]) == ("orders_20260301.csv", str(workshop.drop / "orders_20260301.csv"))
    assert (file["rows"], file["bytes"], file["sha256"]) == (3, len(content), hashlib.sha256(content).hexdigest())
    assert oldest["error_code"] is None
    assert (newest["low"], newest["state"], newest["run_id"]) == (oldest["high"], "EXTRACTED", second)
    assert newest["error_code"] == "TARGET_DENIED" and newest["files"][0]["path"] is None
    lines = workshop.run("ledger", export_id).stdout.splitlines()
    assert len(lines) == 2 and oldest["window"][:8] in lines[1] and "TARGET_DENIED" in lines[0]


def test_looking_makes_no_ledger_and_changes_no_byte_of_one(workshop: Workshop, export_id: str) -> None:
    assert workshop.json("ledger", export_id) == [] and not ledger_file(workshop).parent.exists()
    run_plainly(workshop, export_id, NOON)
    before = {path.name: path.read_bytes() for path in ledger_file(workshop).parent.iterdir()}
    assert len(workshop.json("ledger", export_id)) == 1
    assert {path.name: path.read_bytes() for path in ledger_file(workshop).parent.iterdir()} == before
    assert workshop.json("ledger", "nonsense", exit_code=1)["error"]["code"] == "EXPORT_UNKNOWN"


def in_state(workshop: Workshop, state: State) -> tuple[str, Window]:
    """An export with one window in that state: its extracted file has the rows of nobody."""
    workshop.sqlite()
    export_id = workshop.export() if state is State.SUPERSEDED else workshop.incremental(cursor=CURSOR)
    run_id = a_run()
    window = workshop.allot(export_id, run_id, NOON)

    def bring(turn: Turn) -> None:
        if state in (State.PLANNED, State.ABANDONED):
            return
        if state is State.SUPERSEDED:
            turn.supersede(window)
            return
        files = [] if state is State.EMPTY else spooled(workshop.folder / "spooled", window, b"id\n1\n")
        turn.record_extracted(window, files)
        if state in (State.EMPTY, State.EXTRACTED):
            return
        (delivery,) = workshop.ledger.deliveries(window.id)
        turn.record_publishing(delivery, ".temp", "/drop/o.csv", "file:///drop")
        if state is State.AMBIGUOUS:
            turn.record_ambiguous(delivery)
        if state is State.COMMITTED:
            turn.record_committed(delivery)

    with workshop.ledger.take_turn(export_id, run_id) as turn:
        bring(turn)
    if state is State.ABANDONED:
        workshop.run("ledger", export_id, "--resolve", window.id, "abandon", "--yes")
    found = workshop.ledger.window_of_run(run_id)
    assert found is not None and found.state is state
    return export_id, found


AFTER = {
    "sent": {State.EXTRACTED: "COMMITTED", State.PUBLISHING: "COMMITTED", State.AMBIGUOUS: "COMMITTED"},
    "again": {
        State.EXTRACTED: "EXTRACTED",
        State.PUBLISHING: "EXTRACTED",
        State.AMBIGUOUS: "EXTRACTED",
        State.ABANDONED: "PLANNED",
    },
    "abandon": {
        State.PLANNED: "ABANDONED",
        State.EXTRACTED: "ABANDONED",
        State.PUBLISHING: "ABANDONED",
        State.AMBIGUOUS: "ABANDONED",
    },
}


@pytest.mark.parametrize("decision", AFTER)
@pytest.mark.parametrize("state", State)
def test_a_window_is_resolved_where_there_is_something_to_decide(
    workshop: Workshop, state: State, decision: str
) -> None:
    export_id, window = in_state(workshop, state)
    after = AFTER[decision].get(state)
    words = ["ledger", export_id, "--resolve", window.id[:8], decision, "--yes"]
    if after is not None:
        (entry,) = workshop.json(*words)
        assert (entry["window"], entry["state"], entry["error_code"]) == (window.id, after, None)
    else:
        error = workshop.json(*words, exit_code=3)["error"]
        assert error["code"] == "STATUS_REFUSED" and state.value in error["message"] and decision in error["message"]
        assert workshop.json("ledger", export_id)[0]["state"] == state.value


def test_a_window_that_is_to_be_sent_again_is_sent_by_the_next_run(workshop: Workshop, export_id: str) -> None:
    workshop.drop.rename(workshop.folder / "away")
    with pytest.raises(ExportError):
        run_plainly(workshop, export_id, NOON)
    (workshop.folder / "away").rename(workshop.drop)
    (window,) = workshop.ledger.windows(export_id)
    workshop.run("ledger", export_id, "--resolve", window.id, "abandon", "--yes")
    run_plainly(workshop, export_id, day(1))
    assert list(workshop.files()) == ["orders_20260302.csv"], "what is given up is not sent"
    workshop.run("ledger", export_id, "--resolve", window.id, "again")
    run_plainly(workshop, export_id, day(2))
    assert workshop.text("orders_20260301.csv") == "id\n1\n2\n3\n"


def test_a_decision_needs_a_window_a_word_and_a_yes(workshop: Workshop, export_id: str) -> None:
    run_plainly(workshop, export_id, NOON)
    (entry,) = workshop.json("ledger", export_id)
    for unknown in ("ffffffff", ""):
        error = workshop.json("ledger", export_id, "--resolve", unknown, "sent", exit_code=1)["error"]
        assert error["code"] == "EXPORT_UNKNOWN" and "exports ledger" in error["hint"]
    workshop.run("ledger", export_id, "--resolve", entry["window"], "perhaps", exit_code=2)
    for words in (["--resolve", entry["window"], "abandon"], ["--restart", "now"]):
        assert "--yes" in workshop.run("ledger", export_id, *words, exit_code=2).stderr
    workshop.run("ledger", export_id, "--accept", "--restart", "now", "--yes", exit_code=2)
    bad = workshop.json("ledger", export_id, "--restart", "soon", "--yes", exit_code=1)["error"]
    assert bad["code"] == "DEFINITION_INVALID" and "`start`, `now`, or a moment" in bad["hint"]
    assert workshop.json("ledger", export_id) == [entry]


def test_a_new_beginning_says_what_is_still_open(workshop: Workshop, export_id: str) -> None:
    assert workshop.run("ledger", export_id).stderr == f"{export_id} has no windows yet\n"
    workshop.allot(export_id, a_run(), NOON)
    said = workshop.run("ledger", export_id, "--restart", "2026-03-02", "--yes").stderr
    assert "begins at 2026-03-02T00:00:00" in said and "1 open windows are delivered before it" in said
    run_plainly(workshop, export_id, day(2))
    assert [workshop.text(name) for name in workshop.files()] == ["id\n1\n2\n3\n", "id\n"]


def test_a_run_at_work_keeps_a_person_from_deciding(workshop: Workshop, export_id: str) -> None:
    window = workshop.allot(export_id, a_run(), NOON)
    with workshop.ledger.take_turn(export_id, a_run()):
        for words in (["--resolve", window.id, "abandon"], ["--accept"]):
            error = workshop.json("ledger", export_id, *words, "--yes", exit_code=1)["error"]
            assert error["code"] == "EXPORT_BUSY"


@pytest.fixture
def old_copy(workshop: Workshop, export_id: str) -> str:
    """An export whose ledger is a copy from before its last two runs."""
    run_plainly(workshop, export_id, NOON)
    shutil.copy(ledger_file(workshop), workshop.folder / "copy")
    for number in (1, 2):
        add_order(workshop, 3 + number, day(number) - timedelta(hours=1))
        run_plainly(workshop, export_id, day(number))
    shutil.copy(workshop.folder / "copy", ledger_file(workshop))
    add_order(workshop, 6, day(3) - timedelta(hours=1))
    return export_id


@pytest.fixture
def lost(workshop: Workshop, export_id: str) -> str:
    """An export whose ledger is gone."""
    run_plainly(workshop, export_id, NOON)
    ledger_file(workshop).unlink()
    workshop.ledger = Ledger(workshop.ledger.url)
    add_order(workshop, 4, day(3) - timedelta(hours=1))
    return export_id


def refused_as_old(workshop: Workshop, export_id: str, run_id: str | None = None) -> None:
    before = workshop.files()
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, day(3), run_id)
    assert caught.value.code is Code.LEDGER_OLD and not caught.value.code.relaunchable
    assert "--accept" in str(caught.value.hint) and "--restart" in str(caught.value.hint)
    assert workshop.files() == before


def test_an_old_copy_of_the_ledger_is_refused_until_it_is_accepted(workshop: Workshop, old_copy: str) -> None:
    for _ in range(2):
        refused_as_old(workshop, old_copy)
    workshop.run("ledger", old_copy, "--accept")
    run_plainly(workshop, old_copy, day(4))
    assert workshop.text("orders_20260305.csv") == "id\n4\n5\n6\n", "it goes on from the copy's watermark"
    run_plainly(workshop, old_copy, day(5))


@pytest.mark.parametrize(
    ("since", "rows"),
    [("start", "1\n2\n3\n4\n5\n6\n"), ("now", None), ("2026-03-03T12:00", "6\n"), ("2026-03-02T12:00:00Z", "5\n6\n")],
)
def test_an_export_with_an_old_ledger_begins_anew_where_a_person_says(
    workshop: Workshop, old_copy: str, since: str, rows: str | None
) -> None:
    refused_as_old(workshop, old_copy)
    before = workshop.files()
    workshop.run("ledger", old_copy, "--restart", since, "--yes")
    later = day(4) if rows else datetime.now(UTC) + timedelta(seconds=1)
    run_plainly(workshop, old_copy, later)
    fresh = workshop.files().keys() - before.keys()
    assert [workshop.text(name) for name in fresh] == [f"id\n{rows or ''}"]


@pytest.mark.parametrize("since", ["2026-03-01T12:00", "start"])
def test_a_lost_ledger_does_not_send_everything_again_unasked(workshop: Workshop, lost: str, since: str) -> None:
    for _ in range(2):
        refused_as_old(workshop, lost)
    workshop.run("ledger", lost, "--restart", since, "--yes")
    run_plainly(workshop, lost, day(4))
    assert workshop.text("orders_20260305.csv") == ("id\n1\n2\n3\n4\n" if since == "start" else "id\n4\n")
    assert len(workshop.files()) == 2
