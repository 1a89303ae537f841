"""Exports in partitions as people see them: check, preview, runs, and their tasks in Prefect."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest
from partitioned import BREAKS, IDS, TABLE
from plain_run import run_plainly
from postgres_server import Postgres
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from workshop import Workshop

from catalog.errors import ExportError
from deployments.prefect_api import prefect_api


@pytest.fixture
def crm(workshop: Workshop, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> str:
    """A PostgreSQL database of the workshop's catalog; returns its name."""
    made = postgres.fresh_database(
        *TABLE, "CREATE VIEW seen AS SELECT * FROM t", "ALTER TABLE t ADD PRIMARY KEY (id)", "ANALYZE t"
    )
    monkeypatch.setenv("CRM_PASSWORD", postgres.password)
    workshop.database("crm", postgres.url(made, password="{{ $CRM_PASSWORD }}"))
    return made


def test_check_and_run_refuse_what_has_no_blocks(workshop: Workshop, crm: str) -> None:
    file = {"name": "o.csv", "partitions": 2}
    view = workshop.export(workshop.id("view"), table="seen", file=file)
    workshop.sqlite("lite")
    lite = workshop.export(workshop.id("lite"), database="lite", file={**file, "name": "l.csv"})
    fine = workshop.export(workshop.id("fine"), table="t", file={**file, "name": "f.csv"})
    found = {problem["export"]: problem for problem in workshop.json("check", exit_code=1)}
    assert fine not in found and {found[one]["code"] for one in (view, lite)} == {"PARTITIONS_UNSUPPORTED"}
    assert "seen is" in found[view]["message"] and "a view" in found[view]["message"]
    assert "no PostgreSQL (sqlite)" in found[lite]["message"] and found[lite]["key"] == "file.partitions"
    for one in (view, lite):
        with pytest.raises(ExportError, match="PARTITIONS_UNSUPPORTED"):
            run_plainly(workshop, one, datetime.now(UTC))
    assert workshop.files() == {}


def test_preview_names_every_part(workshop: Workshop, crm: str) -> None:
    parts = workshop.export(table="t", file={"name": "o_{part}.csv", "partitions": 3})
    assert workshop.json("preview", parts)["files"] == ["o_1.csv", "o_2.csv", "o_3.csv"]


def test_an_incremental_export_brings_new_and_late_rows_once(workshop: Workshop, crm: str, postgres: Postgres) -> None:
    cursor = {"column": "moment", "lag": "0s", "lookback": "1h"}
    file = {"name": "o_{date:%H%M%S}_{part}.csv", "partitions": 3}
    export = workshop.incremental(table="t", columns=["id"], cursor=cursor, file=file)
    run_plainly(workshop, export, datetime(2026, 1, 1, 2, tzinfo=UTC))
    with postgres.connect(crm) as server:
        server.execute("INSERT INTO t (id, moment) VALUES (4000, '2026-01-01 01:59:00Z')")
    run_plainly(workshop, export, datetime(2026, 1, 1, 3, tzinfo=UTC))
    rows = {name: [int(line) for line in content.split()[1:]] for name, content in workshop.files().items()}
    second = [number for name in sorted(rows) if "030000" in name for number in rows[name]]
    assert len(rows) == 6 and second == [4000]
    everything = sorted(number for found in rows.values() for number in found)
    assert everything == [*range(1, 4001)]


#: The first row and the last wait for each other, which readers that take turns would do for ever.
MEETS = """
CREATE FUNCTION held(lock integer) RETURNS boolean LANGUAGE sql AS
    $$ SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = lock::oid) $$;
CREATE FUNCTION meets(id integer) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN
    IF id = 1 THEN
        WHILE NOT held(2) LOOP PERFORM pg_sleep(0.01); END LOOP;
        PERFORM pg_advisory_lock(1);
        WHILE held(2) LOOP PERFORM pg_sleep(0.01); END LOOP;
    ELSIF id = 20000 THEN
        PERFORM pg_advisory_lock(2);
        WHILE NOT held(1) LOOP PERFORM pg_sleep(0.01); END LOOP;
        PERFORM pg_advisory_unlock(2);
    END IF;
    RETURN true; END $$"""


def test_each_range_is_a_task_in_prefect_and_they_run_together(prefect: Workshop, crm: str, postgres: Postgres) -> None:
    with postgres.connect(crm) as server:
        server.execute(MEETS)
    file = {"name": "o_{part}.csv", "partitions": 3, "manifest": True}
    export = prefect.export(table="t", where="meets(id)", file=file)
    report = prefect.json("run", export)
    names = ["o_1.csv", "o_2.csv", "o_3.csv"]
    assert report["rows"] == len(IDS) and [file["name"] for file in report["files"]][:3] == names
    assert [int(line.split(",")[0]) for name in names for line in prefect.text(name).splitlines()[1:]] == IDS
    assert task_runs(report["run_id"]) == {f"read partition {number} of 3": "COMPLETED" for number in (1, 2, 3)}


def test_a_failed_range_fails_the_run_once_and_says_which(prefect: Workshop, crm: str, postgres: Postgres) -> None:
    with postgres.connect(crm) as server:
        server.execute(BREAKS)
    export = prefect.export(table="t", where="fine(id)", file={"name": "o.csv", "partitions": 2}, retries=2)
    report = prefect.json("run", export, exit_code=1)
    assert report["error_code"] == "SQL_ERROR" and "partition 2 of 2: database crm: broken" in report["error_message"]
    assert prefect.files() == {}
    assert task_runs(report["run_id"]) == {f"read partition {number} of 2": "FAILED" for number in (1, 2)}


def task_runs(run_id: str) -> dict[str, str]:
    """The runs of tasks that read a range, and their states."""
    with prefect_api() as client:
        found = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[UUID(run_id)])))
    return {run.name: str(run.state_type and run.state_type.value) for run in found if "partition" in run.name}
