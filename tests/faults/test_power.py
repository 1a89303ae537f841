"""The proofs can see: each planted bug is found, or the proof that missed it is worth nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from plants import PLANTS
from proofs import proven
from test_protocol_model import Drop, model_stage

from tasks import deliver
from tasks.publish import local

#: Each by the proof that finds it soonest; `make soak` looks for all of them with every proof that can.
TRIED = ["publish_before_record", "link_then_unlink"]
DRAWN = ["witness_off", "committed_before_published"]
RACED = ["naive_watermark", "unsettled_bound"]
#: By what the struck uploads find of them.
STRUCK = {"put_in_place": "truncated", "never_tidied": "leftovers"}


def test_every_plant_is_looked_for() -> None:
    assert sorted(PLANTS) == sorted([*TRIED, *DRAWN, *RACED, *STRUCK])


@pytest.mark.parametrize("plant", TRIED)
def test_the_crash_points_find_a_broken_protocol(plant: str) -> None:
    assert proven("crash_points.py", "--plant", plant)["wrong"]


@pytest.mark.parametrize("plant", RACED)
def test_the_soak_finds_an_unsettled_watermark(plant: str) -> None:
    summary = proven("soak.py", "--plant", plant, "--kills", "240", "--seed", "1")
    assert summary["lost"] > 0


@pytest.mark.parametrize(
    ("plant", "found", "target"),
    [
        *((plant, found, "sftp") for plant, found in STRUCK.items()),
        ("committed_before_published", "wrong successes", "file"),
    ],
)
def test_the_struck_uploads_find_a_broken_publisher(plant: str, found: str, target: str) -> None:
    summary = proven("upload_faults.py", "--plant", plant, "--target", target, "--seed", "1")
    assert summary["figures"][found] > 0


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Drop]]:
    for module, name in ((deliver, "publish"), (deliver, "upload"), (deliver, "commit")):
        monkeypatch.setattr(module, name, getattr(module, name))
    monkeypatch.setattr(local, "rename_to_free_name", local.rename_to_free_name)
    with model_stage():
        yield Drop


@pytest.mark.parametrize("plant", DRAWN)
def test_the_model_finds_a_broken_protocol(model: type[Drop], plant: str) -> None:
    PLANTS[plant]()
    budget = settings(max_examples=200, stateful_step_count=10, database=None, derandomize=True, phases=["generate"])
    with pytest.raises(AssertionError):
        run_state_machine_as_test(model, settings=budget)
