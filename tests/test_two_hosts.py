"""Two worker hosts with one PostgreSQL ledger: what one leaves behind the other delivers, once."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from ledgers import a_run
from plain_run import Ran, run_plainly
from postgres_server import Postgres, running
from worker_hosts import Point, stopped_host
from workshop import Workshop

from catalog.windows import State
from tasks.ledger import Ledger

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAME = "orders_20260301T120000000000.csv"
CURSOR = {"column": "updated_at", "lag": "0s", "lookback": "0s"}


@pytest.fixture
def database(postgres: Postgres) -> str:
    return postgres.fresh_database()


@pytest.fixture
def export_id(workshop: Workshop, postgres: Postgres, database: str, monkeypatch: pytest.MonkeyPatch) -> str:
    share(workshop, postgres.url(database), monkeypatch)
    workshop.sqlite()
    return workshop.incremental(cursor=CURSOR, columns=["id"])


def share(workshop: Workshop, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.ledger = Ledger(url)
    monkeypatch.setenv("EXPORTS_LEDGER", url)


def the_other_host_takes_over(workshop: Workshop, export_id: str, dead: str) -> Ran:
    """The next day's run here, which delivers the dead one's window and says whose it was."""
    ran = run_plainly(workshop, export_id, NOON + timedelta(days=1))
    assert ran.told.buried == [dead] and any(dead in warning for warning in ran.told.warnings)
    assert [window.state for window in workshop.ledger.windows(export_id)] == [State.COMMITTED] * 2
    files = workshop.ledger.delivered_by_run(ran.run_id)
    assert [file.rows for file in files] == [3, 0] and workshop.text(NAME) == "id\n1\n2\n3\n"
    assert len(workshop.files()) == 2, "no temp file is left"
    assert workshop.ledger.attempts_of_run(dead)[0].error_code == "PROCESS_VANISHED"
    return ran


@pytest.mark.parametrize("point", ["record_extracted", "record_publishing"])
def test_a_host_finishes_what_a_dead_one_began_without_its_spool(
    workshop: Workshop, export_id: str, point: Point
) -> None:
    dead = a_run()
    with stopped_host(workshop, export_id, dead, NOON, after=point, ledger=workshop.ledger.url) as host:
        host.dies()
    (window,) = workshop.ledger.windows(export_id)
    assert window.state is (State.EXTRACTED if point == "record_extracted" else State.PUBLISHING)
    (workshop.folder / "spool_of_first_host").rename(workshop.folder / "out_of_reach")
    the_other_host_takes_over(workshop, export_id, dead)


def test_a_manifest_that_a_dead_host_had_not_sent_is_made_again_in_the_others_own_spool(
    workshop: Workshop, export_id: str
) -> None:
    file = {"name": "orders_{date:%Y%m%dT%H%M%S%f}.csv", "manifest": True}
    workshop.incremental(export_id, cursor=CURSOR, columns=["id"], file=file)
    dead = a_run()
    with stopped_host(workshop, export_id, dead, NOON, after="record_publishing", ledger=workshop.ledger.url) as host:
        host.dies()
    spool_of_the_dead = workshop.folder / "spool_of_first_host"
    spool_of_the_dead.rename(workshop.folder / "out_of_reach")
    run_plainly(workshop, export_id, NOON + timedelta(days=1))
    assert {NAME, f"{NAME}.manifest.json"} <= set(workshop.files()) and not spool_of_the_dead.exists()


def test_a_run_tells_of_every_dead_run_that_could_not_tell_of_another(workshop: Workshop, export_id: str) -> None:
    first, second = a_run(), a_run()
    for day, dead in enumerate((first, second)):
        at = NOON + timedelta(days=day)
        with stopped_host(workshop, export_id, dead, at, after="record_publishing", ledger=workshop.ledger.url) as host:
            host.dies()
    ran = run_plainly(workshop, export_id, NOON + timedelta(days=2))
    assert ran.told.buried == [second, first]
    assert run_plainly(workshop, export_id, NOON + timedelta(days=3)).told.buried == []


def lock_is_taken_from(run_id: str, postgres: Postgres, database: str) -> None:
    """End the session that holds the run's lock, as the server does when it hears nothing more of a client."""
    with postgres.connect(database) as server:
        ended = server.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_locks JOIN pg_stat_activity USING (pid) "
            "WHERE locktype = 'advisory' AND application_name LIKE %s",
            [f"exports {run_id}%"],
        ).fetchall()
    assert ended == [(True,)]


def test_a_host_that_was_frozen_before_it_published_publishes_nothing(
    workshop: Workshop, export_id: str, postgres: Postgres, database: str
) -> None:
    zombie, url = a_run(), workshop.ledger.url
    with stopped_host(workshop, export_id, zombie, NOON, after="record_publishing", ledger=url) as host:
        host.freezes()
        lock_is_taken_from(zombie, postgres, database)
        the_other_host_takes_over(workshop, export_id, zombie)
        before = {path.name: path.stat() for path in workshop.drop.iterdir()}
        assert host.thaws() == "FENCED_OUT"
    assert {path.name: path.stat() for path in workshop.drop.iterdir()} == before
    assert [window.state for window in workshop.ledger.windows(export_id)] == [State.COMMITTED] * 2


def test_a_host_that_was_frozen_before_its_upload_does_not_touch_the_temp_file(
    workshop: Workshop, export_id: str, postgres: Postgres, database: str
) -> None:
    zombie, url = a_run(), workshop.ledger.url
    with stopped_host(workshop, export_id, zombie, NOON, after="record_extracted", ledger=url) as host:
        host.freezes()
        lock_is_taken_from(zombie, postgres, database)
        with workshop.ledger.take_turn(export_id, a_run(), wait_seconds=0):
            assert host.thaws() == "FENCED_OUT"
    assert workshop.files() == {}


@dataclass(frozen=True)
class FarAway:
    """Another machine, as a network namespace: this one is `address` to it."""

    name: str
    address: str

    def within(self) -> list[str]:
        return ["ip", "netns", "exec", self.name]

    def loses_power(self) -> None:
        """Nothing it would send arrives any more, not even an end of its connections."""
        subprocess.run(["ip", "-n", self.name, "link", "set", "far", "down"], check=True)


@pytest.fixture
def far_away() -> Iterator[FarAway]:
    name, near = f"exports{os.getpid()}", f"near{os.getpid()}"
    if shutil.which("ip") is None or subprocess.run(["ip", "netns", "add", name], capture_output=True).returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("a network namespace is needed here: root, and iproute2 (.ci/run installs it)")
        pytest.skip("making a network namespace needs root and iproute2")
    try:
        for command in (
            f"link add {near} type veth peer name far netns {name}",
            f"address add 198.18.77.1/30 dev {near}",
            f"link set {near} up",
            f"-n {name} address add 198.18.77.2/30 dev far",
            f"-n {name} link set far up",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        yield FarAway(name, "198.18.77.1")
    finally:
        subprocess.run(["ip", "link", "delete", near], check=False, capture_output=True)
        subprocess.run(["ip", "netns", "delete", name], check=True)


def test_a_host_that_lost_its_power_holds_the_lock_for_less_than_a_minute(
    workshop: Workshop, far_away: FarAway, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(address=far_away.address) as postgres:
        url = postgres.url(postgres.fresh_database())
        share(workshop, url, monkeypatch)
        workshop.sqlite()
        export_id, dead = workshop.incremental(cursor=CURSOR, columns=["id"]), a_run()
        from_there = url.replace("127.0.0.1", far_away.address)
        with stopped_host(
            workshop, export_id, dead, NOON, after="record_publishing", ledger=from_there, within=far_away.within()
        ) as host:
            far_away.loses_power()
            host.dies()
            began = time.monotonic()
            ran = the_other_host_takes_over(workshop, export_id, dead)
            waited = time.monotonic() - began
    assert any(line.startswith("waiting: ") for line in ran.told.lines), "the server did not notice at once"
    print(f"\nthe lock of a host without power was free after {waited:.1f} s")
    assert waited < 60
