"""A short share of the proofs that `make soak` runs for hours."""

from __future__ import annotations

import pytest
from drop_targets import TARGETS
from proofs import proven

KILLS = {"local": 300, "sftp": 60, "ftps": 60}
CRASHES = {"local": 60, "sftp": 20, "ftps": 20}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_kills_lose_double_tear_and_invent_nothing(target: str) -> None:
    summary = proven("soak.py", "--kills", str(KILLS[target]), "--target", target, "--seed", "1")
    assert summary["kills"] == KILLS[target] and summary["rows"] > 0
    assert {name: summary[name] for name in ("lost", "doubled", "partial", "phantom", "stopped")} == {
        "lost": 0,
        "doubled": 0,
        "partial": 0,
        "phantom": 0,
        "stopped": 0,
    }
    # The state that matters most is hit often enough to say something.
    assert summary["states"]["PUBLISHING"] >= KILLS[target] / 20


@pytest.mark.parametrize("doubles", [[], ["--doubles"]], ids=["once", "twice"])
@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_death_before_any_write_is_recovered_from(target: str, doubles: list[str]) -> None:
    summary = proven("crash_points.py", "--target", target, "--sample", str(CRASHES[target]), *doubles)
    assert summary["wrong"] == {} and summary["cases"] == CRASHES[target]


def test_a_death_between_parts_and_manifest_is_recovered_from() -> None:
    assert proven("crash_points.py", "--parts", "--sample", "60")["wrong"] == {}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_every_durable_step_is_among_the_crash_points(target: str) -> None:
    """The enumeration finds each step by itself; here it is held against what the protocol is said to write."""
    writes = proven("crash_points.py", "--target", target, "--sample", "0")["writes"]
    kinds = [write.partition(" ")[0] for write in writes]
    commits = [number for number, kind in enumerate(kinds) if kind == "commit"]
    published = next(number for number, write in enumerate(writes) if write.startswith("rename orders_2026"))
    put = next(number for number, write in enumerate(writes) if write.endswith(".part"))
    spooled = writes.index("rename 1")
    # allot, begin the turn < spool < record_extracted, record_uploading < put < record_publishing < publish
    # < record_committed, end the turn.
    assert len([number for number in commits if number < spooled]) == 2
    assert len([number for number in commits if spooled < number < put]) == 2
    assert len([number for number in commits if put < number < published]) == 1
    assert len([number for number in commits if number > published]) == 2
    assert "remove 1" in writes
