"""What must not be done once for every definition."""

import zoneinfo

import pytest
from sources import an_export

import deployments.workspace  # noqa: F401 - every command comes through there
from deployments.compile import compile_export
from deployments.project import load_project


def test_the_machines_time_zones_are_not_walked_for_every_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    walks = []

    def walked() -> set[str]:
        walks.append(1)
        return zoneinfo.available_timezones()

    monkeypatch.setattr("prefect.types._datetime.available_timezones", walked)
    schedule = {"cron": "0 2 * * *", "timezone": "Europe/Brussels"}
    for name in ("a", "b", "c"):
        compile_export(an_export(id=name, schedule=schedule), None, load_project())
    assert len(walks) <= 1
