"""What the ledger is told it keeps, in the legal order alone; and what stands against it is said clearly."""

from __future__ import annotations

import socket
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from ledgers import (
    a_run,
    allotted,
    as_turn,
    full,
    hour,
    incremental,
    record_committed,
    record_extracted,
    record_publishing,
    spooled,
)
from postgres_server import Postgres
from sqlalchemy import insert, inspect, text

from catalog.errors import Code, ExportError
from catalog.windows import State, Window
from tasks.ledger import Delivery, Ledger, tables
from tasks.ledger.connection import reading, writing


def committed(ledger: Ledger, window: Window, delivery: Delivery, run_id: str) -> None:
    record_publishing(ledger, delivery, f"/drop/{window.id}/{delivery.part}")
    record_committed(ledger, delivery, run_id)


def delivered(ledger: Ledger, window: Window, folder: Path, run_id: str) -> None:
    record_extracted(ledger, window, spooled(folder, window, b"id\n1\n"))
    for delivery in ledger.deliveries(window.id):
        committed(ledger, window, delivery, run_id)


def test_looking_makes_nothing(ledger: Ledger, tmp_path: Path) -> None:
    single = [ledger.definition("0" * 64), ledger.newest("orders"), ledger.window_of_run("run")]
    many = [ledger.windows("orders"), ledger.outstanding("orders"), ledger.deliveries("w"), ledger.extracted("w")]
    assert single == [None] * 3 and [list(found) for found in many] == [[]] * 4
    assert ledger.delivered_by_run("run") == ledger.delivered_of_window("w") == []
    assert ledger.settled_by("run") is None
    assert not (tmp_path / "state").exists()
    if ledger.engine.dialect.name == "postgresql":
        assert inspect(ledger.engine).get_table_names() == []


def test_a_definition_is_kept_under_its_hash(ledger: Ledger) -> None:
    export = incremental(where="country = 'BE'")
    assert ledger.register(export) == ledger.register(export) == export.hash
    assert ledger.definition(export.hash) == export
    assert ledger.definition(incremental().hash) is None


def test_a_window_goes_from_planned_to_committed(ledger: Ledger, tmp_path: Path) -> None:
    window = allotted(ledger, incremental(), hour(0))
    (planned,) = ledger.deliveries(window.id)
    assert (planned.target, planned.part, planned.state) == ("drop", 1, State.PLANNED)
    files = spooled(tmp_path / "spool", window, b"id\n1\n")
    record_extracted(ledger, window, files)
    assert ledger.extracted(window.id) == files and state_of(ledger, window) is State.EXTRACTED
    (delivery,) = ledger.deliveries(window.id)
    record_publishing(ledger, delivery)
    (delivery,) = ledger.deliveries(window.id)
    assert (delivery.state, delivery.temp_name, delivery.path, delivery.target_identity) == (
        State.PUBLISHING,
        ".temp",
        "/drop/o.csv",
        "file:///drop",
    )
    assert ledger.outstanding("orders")[0].state is State.PUBLISHING and ledger.delivered_of_window(window.id) == []
    record_committed(ledger, delivery, window.run_id)
    assert ledger.outstanding("orders") == [] and state_of(ledger, window) is State.COMMITTED
    (file,) = ledger.delivered_of_window(window.id)
    assert (file.name, file.path, file.target, file.rows, file.bytes) == (
        window.file_name,
        "/drop/o.csv",
        "drop",
        3,
        5,
    )
    assert (file.sha256, file.since, file.until) == (files[0].sha256, None, window.bounds.until)


def state_of(ledger: Ledger, window: Window) -> State:
    found = ledger.window_of_run(window.run_id)
    assert found is not None
    return found.state


def test_a_window_is_as_far_as_its_slowest_part(ledger: Ledger, tmp_path: Path) -> None:
    own, other = a_run(), a_run()
    window = allotted(ledger, incremental(file={"name": "o_{part}.csv", "max_rows": 3}), hour(0), own)
    record_extracted(ledger, window, spooled(tmp_path, window, b"1", b"2", b"3"))
    first, second, third = ledger.deliveries(window.id)
    assert [first.part, second.part, third.part] == [1, 2, 3]
    committed(ledger, window, first, own)
    committed(ledger, window, third, own)
    assert state_of(ledger, window) is State.EXTRACTED and ledger.settled_by(own) is None
    committed(ledger, window, second, other)
    assert state_of(ledger, window) is State.COMMITTED and ledger.settled_by(own) == other
    assert [file.name for file in ledger.delivered_by_run(own)] == ["o_1.csv", "o_3.csv"]
    assert [file.name for file in ledger.delivered_by_run(other)] == ["o_2.csv"]


def test_an_empty_window_is_settled(ledger: Ledger) -> None:
    window = allotted(ledger, incremental(), hour(0))
    record_extracted(ledger, window, [])
    assert state_of(ledger, window) is State.EMPTY
    assert ledger.outstanding("orders") == [] == ledger.delivered_of_window(window.id)


def test_a_window_that_is_read_again_keeps_its_last_parts_alone(ledger: Ledger, tmp_path: Path) -> None:
    window = allotted(ledger, incremental(file={"name": "o_{part}.csv", "max_rows": 3}), hour(0))
    record_extracted(ledger, window, spooled(tmp_path, window, b"1", b"2"))
    again = spooled(tmp_path, window, b"3")
    record_extracted(ledger, window, again)
    assert ledger.extracted(window.id) == again and len(ledger.deliveries(window.id)) == 1


def test_no_state_is_passed_over(ledger: Ledger, tmp_path: Path) -> None:
    window = allotted(ledger, incremental(), hour(0))
    (delivery,) = ledger.deliveries(window.id)
    with pytest.raises(AssertionError):
        record_publishing(ledger, delivery)
    with pytest.raises(AssertionError):
        record_committed(ledger, delivery, "run")
    record_extracted(ledger, window, spooled(tmp_path, window, b"1"))
    with pytest.raises(AssertionError):
        record_committed(ledger, delivery, "run")
    record_publishing(ledger, delivery)
    with pytest.raises(AssertionError):
        record_extracted(ledger, window, [])
    record_committed(ledger, delivery, "run")
    with pytest.raises(AssertionError):
        record_committed(ledger, delivery, "another run")
    with pytest.raises(AssertionError):
        as_turn(ledger, lambda turn: turn.supersede(window))
    assert [file.name for file in ledger.delivered_by_run("run")] == [window.file_name]


def test_outstanding_windows_come_strictly_the_oldest_first(ledger: Ledger, tmp_path: Path) -> None:
    windows = [allotted(ledger, incremental(), hour(number)) for number in range(4)]
    allotted(ledger, incremental("other"), hour(0))
    delivered(ledger, windows[1], tmp_path, "run")
    record_extracted(ledger, windows[3], spooled(tmp_path, windows[3], b"1"))
    assert [window.id for window in ledger.outstanding("orders")] == [windows[n].id for n in (0, 2, 3)]
    assert [window.id for window in ledger.windows("orders", 2)] == [windows[3].id, windows[2].id]


def test_a_run_that_catches_up_has_delivered_the_windows_of_others(ledger: Ledger, tmp_path: Path) -> None:
    runs = [a_run() for _ in range(3)]
    windows = [allotted(ledger, incremental(), hour(number), run) for number, run in enumerate(runs)]
    for window in windows:
        assert ledger.settled_by(window.run_id) is None
        delivered(ledger, window, tmp_path, runs[2])
    assert [file.name for file in ledger.delivered_by_run(runs[2])] == [window.file_name for window in windows]
    assert [file.until for file in ledger.delivered_by_run(runs[2])] == [window.bounds.until for window in windows]
    assert ledger.delivered_by_run(runs[0]) == [] and {ledger.settled_by(run) for run in runs} == {runs[2]}


def test_a_superseded_window_can_be_revived_by_its_own_run(ledger: Ledger) -> None:
    window = allotted(ledger, full(), hour(0))
    as_turn(ledger, lambda turn: turn.supersede(window))
    assert state_of(ledger, window) is State.SUPERSEDED and ledger.outstanding("orders") == []
    as_turn(ledger, lambda turn: turn.revive(window))
    assert ledger.outstanding("orders") == [window]


def test_a_window_with_bounds_is_never_superseded(ledger: Ledger) -> None:
    window = allotted(ledger, incremental(), hour(0))
    with pytest.raises(AssertionError):
        as_turn(ledger, lambda turn: turn.supersede(window))
    assert ledger.outstanding("orders") == [window]


def test_only_a_full_window_has_delivered_a_file_that_may_be_replaced(ledger: Ledger, tmp_path: Path) -> None:
    for export in (full("whole"), incremental("new")):
        window = allotted(ledger, export, hour(0))
        path = f"/drop/{window.id}/1"
        assert not ledger.has_delivered(export.id, "drop", path)
        delivered(ledger, window, tmp_path, "run")
        assert ledger.has_delivered(export.id, "drop", path) is (window.kind == "full")
        assert not ledger.has_delivered("another", "drop", path)
        assert not ledger.has_delivered(export.id, "elsewhere", path)


def test_a_ledger_of_a_newer_program_is_refused(ledger: Ledger) -> None:
    ledger.register(incremental())
    with writing(ledger.engine, lock="test") as connection:
        connection.execute(tables.schema_version.delete())
        connection.execute(insert(tables.schema_version).values(version=tables.VERSION + 1))
    for use in (lambda: ledger.windows("orders"), lambda: ledger.register(full())):
        with pytest.raises(ExportError) as caught:
            use()
        assert caught.value.code is Code.LEDGER_VERSION and str(tables.VERSION + 1) in caught.value.message


def refused(url: str) -> ExportError:
    """What is said to one who reads the ledger, which is also what is said to one who writes it."""
    with pytest.raises(ExportError) as reading_it:
        Ledger(url).windows("orders")
    with pytest.raises(ExportError) as writing_it:
        Ledger(url).register(incremental())
    assert reading_it.value.code is writing_it.value.code is Code.LEDGER_UNREACHABLE
    assert reading_it.value.hint and reading_it.value.message == writing_it.value.message
    return reading_it.value


def test_a_server_that_does_not_answer() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        error = refused(f"postgresql+psycopg://me:hunter2@127.0.0.1:{port}/ledger")
    assert f"127.0.0.1:{port}" in error.message and "hunter2" not in error.message + str(error.hint)


def test_a_password_that_is_wrong(postgres: Postgres) -> None:
    url = postgres.url(password="hunter2")
    assert "hunter2" not in refused(url).message
    assert "hunter2" not in refused(url.replace(":hunter2", "") + "?password=hunter2").message


@pytest.mark.parametrize(("right", "reason"), [("CREATE", "permission denied"), ("ALL", "no schema")])
def test_a_user_who_may_not_make_tables(postgres: Postgres, right: str, reason: str) -> None:
    database = postgres.fresh_database(f"REVOKE {right} ON SCHEMA public FROM PUBLIC")
    role = f"guest_{database}"
    with postgres.connect(database) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'secret'")
    with pytest.raises(ExportError) as caught:
        Ledger(postgres.url(database, role)).register(incremental())
    assert caught.value.code is Code.LEDGER_UNREACHABLE and reason in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["nonsense", "mysql://h/db", "sqlite://", "sqlite:///:memory:", "postgresql+nope://h/d", "postgresql://h:port/d"],
)
def test_a_url_that_is_none(url: str) -> None:
    assert "EXPORTS_LEDGER" in refused(url).message


def test_a_file_that_is_no_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"something else entirely" * 100)
    assert str(path) in refused(f"sqlite:///{path}").message
    assert path.read_bytes().startswith(b"something else")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ExportError) as caught:
        Ledger(f"sqlite:///{tmp_path}/state/ledger.sqlite").register(incremental())
    assert caught.value.code is Code.LEDGER_UNREACHABLE and "exists" in caught.value.message.lower()


def test_a_full_disk(small_disk: Path) -> None:
    ledger = Ledger(f"sqlite:///{small_disk}/ledger.sqlite")
    window = allotted(ledger, incremental(), hour(0))
    (small_disk / "filler").touch()
    with pytest.raises(OSError), (small_disk / "filler").open("wb", buffering=0) as filler:
        while True:
            filler.write(bytes(1024))
    with pytest.raises(ExportError) as caught:
        ledger.register(full(where="x" * 100_000))
    assert caught.value.code is Code.LEDGER_UNREACHABLE and "full" in caught.value.message
    (small_disk / "filler").unlink()
    assert ledger.windows("orders") == [window] and ledger.definition(full(where="x" * 100_000).hash) is None


def test_the_file_is_private_and_durable(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'state' / 'ledger.sqlite'}")
    ledger.register(incremental())
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    with reading(ledger.engine) as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in ("synchronous", "journal_mode")}
        assert found == {"synchronous": 2, "journal_mode": "delete"}
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1


def test_a_window_needs_a_registered_definition(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    with pytest.raises(Exception, match="FOREIGN KEY"):
        ledger.allot(incremental(), a_run(), hour(0))
    assert ledger.windows("orders") == []


def test_no_connection_stays_open(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")
    allotted(ledger, incremental(), hour(0))
    ledger.windows("orders")
    # An exclusive lock is free only when nobody else has the file open in a transaction.
    with closing(sqlite3.connect(tmp_path / "ledger.sqlite", timeout=0, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
    assert not list(tmp_path.glob("*-journal"))
