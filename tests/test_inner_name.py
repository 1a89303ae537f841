"""A zip has one name, and what it holds another."""

from __future__ import annotations

import io
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest
from plain_run import run_plainly
from workshop import Workshop

from catalog.windows import Bounds, instant

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def held(workshop: Workshop) -> dict[str, dict[str, bytes]]:
    found = {}
    for name, content in workshop.files().items():
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found[name] = {member: archive.read(member) for member in archive.namelist()}
    return found


@pytest.mark.parametrize(
    "file, expected",
    [
        ({"name": "o.csv.zip"}, {"o.csv.zip": {"o.csv": b"id\n1\n2\n3\n"}}),
        ({"name": "o_{part}.csv.zip", "max_rows": 5}, {"o_1.csv.zip": {"o_1.csv": b"id\n1\n2\n3\n"}}),
        (
            {"name": "o_{date:%Y%m%d}.zip", "inner_name": "{export}-{until:%H}.txt"},
            {"o_20260301.zip": {"ID-12.txt": b"id\n1\n2\n3\n"}},
        ),
        (
            {"name": "o_{part}.data", "inner_name": "rows {part:02d}.csv.zip", "max_rows": 2},
            {"o_1.data": {"rows 01.csv.zip": b"id\n1\n2\n"}, "o_2.data": {"rows 02.csv.zip": b"id\n3\n"}},
        ),
    ],
)
def test_what_the_zip_holds(workshop: Workshop, file: dict[str, Any], expected: dict[str, dict[str, bytes]]) -> None:
    workshop.sqlite()
    export_id = workshop.incremental(columns=["id"], file={**file, "compression": "zip"})
    run_plainly(workshop, export_id, NOON)
    for members in expected.values():
        for name in list(members):
            members[name.replace("ID", export_id)] = members.pop(name)
    assert held(workshop) == expected


def test_a_backfill_has_a_name_of_its_own_and_the_inner_one_as_ever(workshop: Workshop) -> None:
    workshop.sqlite()
    file = {"name": "o.zip", "inner_name": "orders.csv", "compression": "zip"}
    low, high = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    span = Bounds(instant(low), instant(high), low, high)
    ran = run_plainly(workshop, workshop.incremental(columns=["id"], file=file), NOON, explicit=span)
    assert held(workshop) == {f"o_backfill_{ran.run_id[:8]}.zip": {"orders.csv": b"id\n2\n"}}
