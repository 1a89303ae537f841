"""`target: [a, b]`: extracted once, and delivered to each target with a state of its own."""

import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from plain_run import run_plainly
from workshop import Workshop

from catalog.errors import Code, ExportError
from tasks import deliver, extract

FIRST = datetime(2026, 2, 1, tzinfo=UTC)
DAY = timedelta(days=1)
BOTH = ["drop", "partner"]


class Partner:
    """A second target, which can be away."""

    def __init__(self, workshop: Workshop) -> None:
        self.folder = workshop.folder / "partner"
        workshop.target("partner", str(self.folder))

    def come(self) -> None:
        self.folder.mkdir()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def partner(workshop: Workshop) -> Partner:
    return Partner(workshop)


@pytest.fixture
def source(workshop: Workshop) -> Path:
    return workshop.sqlite()


def failing_run(workshop: Workshop, export_id: str, at: datetime, run_id: str | None = None) -> ExportError:
    with pytest.raises(ExportError) as caught:
        run_plainly(workshop, export_id, at, run_id)
    return caught.value


def states(workshop: Workshop, export_id: str) -> list[dict[str, str]]:
    """Of each window, the oldest first, the state by target."""
    entries = workshop.json("ledger", export_id)
    return [{found["target"]: found["state"] for found in entry["targets"]} for entry in reversed(entries)]


def add_row(source: Path, number: int, at: datetime) -> None:
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("INSERT INTO orders VALUES (?, 'new', 1, ?)", (number, f"{at:%Y-%m-%d %H:%M:%S}"))


def test_each_gets_the_same_bytes_of_one_extraction(
    workshop: Workshop, source: Path, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner.come()
    reads: list[str] = []
    opened = extract.open_source

    def counted(name: str, *others: Any) -> Any:
        reads.append(name)
        return opened(name, *others)

    monkeypatch.setattr(extract, "open_source", counted)
    export_id = workshop.export(target=BOTH)
    run_plainly(workshop, export_id, FIRST)
    assert len(reads) == 1
    assert (workshop.drop / "orders.csv").read_bytes() == (partner.folder / "orders.csv").read_bytes()
    assert states(workshop, export_id) == [{"drop": "committed", "partner": "committed"}]


def test_a_target_that_is_away_keeps_the_others_from_nothing_and_a_relaunch_does_the_rest(
    workshop: Workshop, source: Path, partner: Partner
) -> None:
    export_id = workshop.export(target=BOTH)
    run_id = "0" * 8 + "-0000-4000-8000-" + "0" * 12
    error = failing_run(workshop, export_id, FIRST, run_id)
    assert error.code is Code.TARGET_DENIED and "partner" in error.message
    assert states(workshop, export_id) == [{"drop": "committed", "partner": "extracted"}]
    delivered = (workshop.drop / "orders.csv").stat()
    partner.come()
    source.unlink()
    run_plainly(workshop, export_id, FIRST, run_id)
    again = (workshop.drop / "orders.csv").stat()
    assert (again.st_mtime_ns, again.st_ino) == (delivered.st_mtime_ns, delivered.st_ino)
    assert partner.names() == ["orders.csv"]


def test_it_blocks_only_itself_over_several_windows(workshop: Workshop, source: Path, partner: Partner) -> None:
    export_id = workshop.incremental(target=["partner", "drop"])
    for number in range(3):
        at = FIRST + number * DAY
        add_row(source, 10 + number, at - timedelta(hours=1))
        failing_run(workshop, export_id, at)
    assert states(workshop, export_id) == [{"drop": "committed", "partner": "extracted"}] * 3
    partner.come()
    ran = run_plainly(workshop, export_id, FIRST + 3 * DAY)
    delivered = workshop.ledger.delivered_by_run(ran.run_id)
    to_partner = [file.name for file in delivered if file.target == "partner"]
    assert to_partner == sorted(to_partner) and len(to_partner) == 4, "the oldest first"
    assert partner.names() == sorted(path.name for path in workshop.drop.iterdir())


def test_both_being_away_is_told_of_both(workshop: Workshop, source: Path, partner: Partner) -> None:
    shutil.rmtree(workshop.drop)
    error = failing_run(workshop, workshop.export(target=BOTH), FIRST)
    assert str(workshop.drop) in error.message and f"partner: {Code.TARGET_DENIED}" in error.message


def lost_spool(workshop: Workshop, export_id: str) -> None:
    window = workshop.ledger.windows(export_id)[0]
    for file in workshop.ledger.extracted(window.id):
        file.path.unlink()


def test_without_its_spool_the_rest_is_read_again_when_that_gives_the_same_bytes(
    workshop: Workshop, source: Path, partner: Partner
) -> None:
    export_id = workshop.incremental(target=BOTH)
    failing_run(workshop, export_id, FIRST)
    lost_spool(workshop, export_id)
    partner.come()
    run_plainly(workshop, export_id, FIRST + DAY)
    (name,) = [name for name in partner.names() if name.startswith("orders_20260201")]
    assert (partner.folder / name).read_bytes() == (workshop.drop / name).read_bytes()


def test_other_bytes_than_one_of_them_has_are_sent_to_nobody_without_a_word(
    workshop: Workshop, source: Path, partner: Partner
) -> None:
    export_id = workshop.incremental(target=BOTH)
    failing_run(workshop, export_id, FIRST)
    lost_spool(workshop, export_id)
    partner.come()
    with closing(sqlite3.connect(source)) as connection, connection:
        connection.execute("UPDATE orders SET total = 99 WHERE id = 1")
    error = failing_run(workshop, export_id, FIRST + DAY)
    assert error.code is Code.PUBLICATION_UNKNOWN
    assert partner.names() == []


def test_what_a_target_may_have_published_is_not_sent_to_it_again(
    workshop: Workshop, source: Path, partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    partner.come()
    export_id = workshop.incremental(target=BOTH)

    def dies(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying, pytest.raises(KeyboardInterrupt):
        dying.setattr(deliver, "commit", dies)
        run_plainly(workshop, export_id, FIRST)
    assert states(workshop, export_id) == [{"drop": "publishing", "partner": "extracted"}]
    # It was renamed, and its consumer takes it before the next run, which does not find what was extracted.
    (taken,) = workshop.drop.iterdir()
    taken.unlink()
    lost_spool(workshop, export_id)
    run_plainly(workshop, export_id, FIRST + DAY)
    assert not taken.exists() and taken.name in partner.names()
    assert states(workshop, export_id)[0] == {"drop": "committed", "partner": "committed"}


def test_a_person_decides_for_one_target_alone(workshop: Workshop, source: Path, partner: Partner) -> None:
    export_id = workshop.incremental(target=BOTH)
    failing_run(workshop, export_id, FIRST)
    window = workshop.ledger.windows(export_id)[0].id[:8]
    refused = workshop.json("ledger", export_id, "--resolve", window, "sent", "--target", "drop", exit_code=3)
    assert refused["error"]["code"] == "STATUS_REFUSED"
    unknown = workshop.json("ledger", export_id, "--resolve", window, "sent", "--target", "nobody", exit_code=3)
    assert "nobody" in unknown["error"]["message"]
    workshop.run("ledger", export_id, "--resolve", window, "abandon", "--target", "partner", "--yes")
    assert states(workshop, export_id) == [{"drop": "committed", "partner": "abandoned"}]
    workshop.run("ledger", export_id, "--resolve", window, "again", "--target", "partner")
    partner.come()
    run_plainly(workshop, export_id, FIRST + DAY)
    assert states(workshop, export_id)[0] == {"drop": "committed", "partner": "committed"}


def test_a_target_that_was_given_up_before_anything_was_read_stays_so(
    workshop: Workshop, source: Path, partner: Partner
) -> None:
    partner.come()
    export_id = workshop.incremental(target=BOTH)
    window = workshop.allot(export_id, "0" * 8 + "-0000-4000-8000-" + "0" * 12, FIRST)
    workshop.run("ledger", export_id, "--resolve", window.id, "abandon", "--target", "partner", "--yes")
    run_plainly(workshop, export_id, FIRST + DAY)
    assert states(workshop, export_id) == [
        {"drop": "committed", "partner": "abandoned"},
        {"drop": "committed", "partner": "committed"},
    ]
    assert len(list(workshop.drop.iterdir())) == 2 and len(partner.names()) == 1


def test_the_report_counts_each_row_once_and_says_how_far_each_target_is(prefect: Workshop) -> None:
    prefect.sqlite()
    folder = prefect.folder / "partner"
    prefect.target("partner", str(folder))
    export_id = prefect.export(target=BOTH)
    report = prefect.json("run", export_id, exit_code=1)
    assert report["targets"] == [
        {"target": "drop", "state": "committed"},
        {"target": "partner", "state": "extracted"},
    ]
    assert report["error_code"] == "TARGET_DENIED" and report["relaunchable"]
    assert (report["rows"], [file["target"] for file in report["files"]]) == (3, ["drop"])
    folder.mkdir()
    report = prefect.json("run", export_id)
    # The partner gets the first run's file too.
    assert [file["target"] for file in report["files"]] == ["partner", "drop", "partner"]
    assert report["rows"] == 6 and report["message"].endswith("to partner, drop")


@pytest.mark.parametrize(("targets", "word"), [([], "target"), (["drop", "drop"], "twice"), (["drop", "dorp"], "dorp")])
def test_a_list_that_makes_no_sense_is_refused(workshop: Workshop, targets: list[str], word: str) -> None:
    workshop.sqlite()
    export_id = workshop.export(target=targets)
    (problem,) = workshop.json("check", export_id, exit_code=1)
    assert problem["code"] == "DEFINITION_INVALID" and word in problem["message"] + problem["key"]


def test_two_names_of_one_place_are_found(workshop: Workshop) -> None:
    workshop.sqlite()
    workshop.target("again", str(workshop.drop))
    export_id = workshop.export(target=["drop", "again"])
    (problem,) = workshop.json("check", export_id)
    assert (problem["severity"], problem["code"], problem["key"]) == ("warning", "DEFINITION_DUPLICATE", "target")
