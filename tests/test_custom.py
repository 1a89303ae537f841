"""`type: custom`: the rows are hand-written Python's, and everything else is as for any export."""

from __future__ import annotations

import gc
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from custom_modules import CustomModules
from prefect.client.schemas.objects import FlowRun
from prefect.states import Scheduled
from prefect_server import NIGHTLY, deployment_of, events_of, run_again, status_of
from workshop import Workshop

from deployments.prefect_api import prefect_api
from flows.exports import export_flow

SHIPPED = Path(__file__).parent.parent / "catalog" / "exports" / "customer_360.yaml"
ROWS = """
for orders in frames(source, "SELECT id, customer FROM orders ORDER BY id", rows=2):
    yield orders.assign(half=orders["id"] / 2)
"""
CSV = 'id,customer,half\n1,Anaïs,0.5\n2,,1\n3,"",1.5\n'


def custom(workshop: Workshop, **keys: Any) -> str:
    """A custom export of the catalog; its Python is another matter."""
    return workshop.export(workshop.id("own"), **{"type": "custom", "table": None, "file": {"name": "own.csv"}, **keys})


@pytest.fixture
def own(prefect: Workshop, custom_modules: CustomModules) -> str:
    """A custom export whose flow gives the orders, two at a time."""
    prefect.sqlite()
    custom_modules.flow(prefect.id("own"), ROWS)
    return custom(prefect, schedule=NIGHTLY, data_type="linked_data")


def test_its_rows_are_delivered_recorded_reported_and_announced(prefect: Workshop, own: str) -> None:
    report = prefect.json("run", own)
    assert report["status"] == "succeeded" and report["rows"] == 3
    assert prefect.text("own.csv") == CSV
    (window,) = prefect.json("ledger", own)
    assert window["kind"] == "full" and window["state"].lower() == "committed" and window["run_id"] == report["run_id"]
    assert prefect.json("report", own) == report and prefect.json("runs", own)[0] == report
    (event,) = prefect.wait_for(lambda: events_of(f"export.{own}"))
    assert event["payload"]["run_id"] == report["run_id"]
    with prefect_api() as client:
        names = {task.name for task in client.read_task_runs()}
    assert "rows into own.csv" in names, "the hand-written step is a task of its own name"


def test_it_is_deployed_as_every_export(prefect: Workshop, own: str) -> None:
    plain = prefect.export(prefect.id("plain"), file={"name": "p.csv"})
    assert {entry["change"] for entry in prefect.json("plan")} == {"new"}
    prefect.run("apply")
    assert prefect.json("plan") == []
    deployment, other = deployment_of(own), deployment_of(plain)
    assert deployment.entrypoint == f"flows.exports.{own}" and "type:custom" in deployment.tags
    assert deployment.parameter_openapi_schema == other.parameter_openapi_schema
    assert deployment.parameters == {"since": None, "until": None, "definition": prefect.load(own).frozen()}
    assert f"flows/custom/{own}.py" in (deployment.description or "")


def test_the_other_commands_work_on_it(prefect: Workshop, own: str) -> None:
    assert prefect.json("check", own) == []
    (listed,) = prefect.json("list", "--type", "custom")
    assert (listed["id"], listed["table"], listed["data_type"]) == (own, None, "linked_data")
    assert prefect.json("activate", own)["status"] == "scheduled"
    assert prefect.json("unschedule", own)["status"] == "draft"
    shown = prefect.json("show", own)
    assert shown["definition"]["type"] == "custom" and shown["standard_equivalent"] is None
    assert f"flows/custom/{own}.py" in prefect.run("show", own).stdout


REFUSED: dict[str, list[str]] = {
    "edit": [],
    "copy": ["another"],
    "download": [],
    "preview": [],
    "backfill": ["--since", "2026-01-01T00:00", "--until", "2026-01-02T00:00"],
}


@pytest.mark.parametrize("command", REFUSED)
@pytest.mark.parametrize("status", ["draft", "scheduled"])
def test_what_only_yaml_allows_is_refused(
    prefect: Workshop, own: str, monkeypatch: pytest.MonkeyPatch, command: str, status: str
) -> None:
    monkeypatch.setenv("EDITOR", "false")
    if status == "scheduled":
        prefect.run("activate", own)
    error = prefect.json(command, own, *REFUSED[command], exit_code=3)["error"]
    assert error["code"] == "STATUS_REFUSED" and "custom" in error["message"] and error["hint"]
    assert status_of(prefect, own) == status and prefect.files() == {}


def test_a_relaunch_sends_what_was_read_and_reads_nothing_again(prefect: Workshop, own: str) -> None:
    prefect.run("activate", own)
    prefect.drop.rmdir()
    failed = prefect.json("run", own, exit_code=1)
    assert failed["error_code"] == "TARGET_DENIED"
    prefect.drop.mkdir()
    (prefect.folder / "crm.sqlite").unlink()
    prefect.run("relaunch", own)
    assert run_again(prefect, failed["run_id"], own)["status"] == "succeeded"
    assert prefect.text("own.csv") == CSV


FAILING = {
    "its own mistake": ("yield from ROWS_OF['Anaïs']", "CUSTOM_FAILED", "raised NameError at flows/custom/{id}.py:10"),
    "a row in an exception": (
        "yield next(frames(source, 'SELECT customer FROM orders'))['customer'].astype(int)",
        "CUSTOM_FAILED",
        "{id}:rows raised ValueError",
    ),
    "leaving": ("import sys\nsys.exit()\nyield", "CUSTOM_FAILED", "raised SystemExit at flows/custom/{id}.py:11"),
    "its SQL": (
        "yield from frames(source, 'SELECT x FROM nowhere')",
        "COLUMN_MISSING",
        "{id}:rows raised OperationalError at flows/custom/{id}.py:10",
    ),
    "a cell in its SQL": (
        "name = next(frames(source, 'SELECT customer FROM orders'))['customer'][0]\n"
        "yield from frames(source, f'SELECT id FROM orders WHERE customer = [{name}]')",
        "COLUMN_MISSING",
        "raised OperationalError at flows/custom/{id}.py:11",
    ),
    "another database": (
        "import sqlalchemy\n"
        "with sqlalchemy.create_engine('sqlite://').connect() as other:\n"
        "    other.exec_driver_sql('SELECT [Anaïs]')\n"
        "yield",
        "CUSTOM_FAILED",
        "raised OperationalError at flows/custom/{id}.py:12",
    ),
    "no DataFrame": ("yield [1, 2]", "CUSTOM_FAILED", "gave a list, not a DataFrame"),
    "nothing at all": ("return None", "CUSTOM_FAILED", "gave a NoneType, and no DataFrames"),
    "other columns": (
        "yield pd.DataFrame({'a': [1]})\nyield pd.DataFrame({'b': [1]})",
        "CUSTOM_FAILED",
        "gave the columns b, and before a",
    ),
    "columns of one name": ("yield from frames(source, 'SELECT id, id FROM orders')", "QUERY_INVALID", "'id'"),
    "a write": ("yield from frames(source, 'DELETE FROM orders RETURNING id')", "QUERY_INVALID", ""),
}


@pytest.mark.parametrize("name", FAILING)
def test_a_failure_has_a_code_and_a_line_and_delivers_nothing(
    prefect: Workshop, custom_modules: CustomModules, name: str
) -> None:
    rows, code, said = FAILING[name]
    prefect.sqlite()
    export_id = custom(prefect)
    custom_modules.flow(export_id, rows)
    result = prefect.run("run", export_id, "--json", exit_code=1)
    report = json.loads(result.stdout)
    assert report["error_code"] == code and said.format(id=export_id) in report["error_message"], report
    assert "Anaïs" not in result.output and prefect.files() == {}


def test_the_file_options_hold(prefect: Workshop, own: str) -> None:
    file = {"name": "own_{part}.csv.gz", "compression": "gzip", "max_rows": 2, "manifest": True, "checksum": "sha256"}
    custom(prefect, file=file)
    assert prefect.json("run", own)["status"] == "succeeded"
    assert {
        name: gzip.decompress(data).count(b"\n") for name, data in prefect.files().items() if name[-2:] == "gz"
    } == {
        "own_1.csv.gz": 3,
        "own_2.csv.gz": 2,
    }
    assert len(prefect.files()) == 5


def test_a_frame_without_rows_gives_the_header(prefect: Workshop, custom_modules: CustomModules) -> None:
    prefect.sqlite()
    export_id = custom(prefect)
    custom_modules.flow(export_id, "yield from frames(source, 'SELECT id, total FROM orders WHERE 1 = 0')")
    assert prefect.json("run", export_id)["rows"] == 0 and prefect.text("own.csv") == "id,total\n"


NO_FLOW = "def {id}(): pass"
OTHER_PARAMETERS = "from prefect import flow\n@flow\ndef {id}(definition): pass"
ASYNC = "from prefect import flow\n@flow\nasync def {id}(since=None, until=None, *, definition): pass"
BROKEN: dict[str, tuple[str | None, str]] = {
    "missing": (None, "there is no flows/custom/{id}.py"),
    "no Python": ("\ndef (", "is no Python"),
    "a missing package": ("import no_such_package_here", "needs the Python package no_such_package_here"),
    "raises": ("\n1 / 0", "raised ZeroDivisionError at flows/custom/{id}.py:2"),
    "no flow": (NO_FLOW, "holds no Prefect flow named {id}"),
    "other parameters": (OTHER_PARAMETERS, "has other parameters"),
    "async": (ASYNC, "is asynchronous"),
    "a generator": (ASYNC.replace("async ", "").replace("pass", "yield"), "is a generator"),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_broken_python_is_a_finding_of_check_and_a_failed_run(
    prefect: Workshop, custom_modules: CustomModules, own: str, broken: str
) -> None:
    prefect.run("activate", own)
    source, said = BROKEN[broken]
    custom_modules.write(own, (source or "").format(id=own))
    if source is None:
        (custom_modules.folder / f"{own}.py").unlink()
    (problem,) = prefect.json("check", own, exit_code=1)
    assert (problem["code"], problem["file"]) == ("DEFINITION_INVALID", f"flows/custom/{own}.py")
    assert said.format(id=own) in problem["message"] and problem["hint"]
    report = prefect.json("run", own, exit_code=1)
    assert report["error_code"] == "DEFINITION_INVALID" and said.format(id=own) in report["error_message"]


RETURN = "return deliver(definition, since, until, extract=rows)"
ENDINGS = {
    "nothing": (
        RETURN.removeprefix("return "),
        "DEFINITION_INVALID",
        "returned a NoneType, and not what `deliver` gives",
    ),
    "something else": (f"{RETURN}.is_completed()", "DEFINITION_INVALID", "returned a bool"),
    "raising": ("raise ValueError('Anaïs')", "CUSTOM_FAILED", "raised ValueError at flows/custom/{id}.py:{line}"),
    "leaving": ("raise SystemExit", "CUSTOM_FAILED", "raised SystemExit at flows/custom/{id}.py:{line}"),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_flow_that_does_not_return_what_deliver_gives_is_no_success(
    prefect: Workshop, custom_modules: CustomModules, own: str, ending: str
) -> None:
    written, code, said = ENDINGS[ending]
    custom_modules.flow(own, "yield 1 / 0")
    text = (custom_modules.folder / f"{own}.py").read_text()
    line = text[: text.index(RETURN)].count("\n") + 1
    custom_modules.write(own, text.replace(RETURN, written))
    result = prefect.run("run", own, "--json", exit_code=1)
    report = json.loads(result.stdout)
    assert report["error_code"] == code, report
    assert said.format(id=own, line=line) in report["error_message"] and "Anaïs" not in result.output


@pytest.mark.parametrize(
    ("plain", "asynchronous", "said"),
    [
        ("def rows(", "async def rows(", ":rows gave a coroutine, and no DataFrames"),
        (RETURN, "async def later(): pass\n    return later()", "returned a coroutine, and not what `deliver` gives"),
    ],
    ids=["rows", "flow"],
)
def test_what_is_asynchronous_is_refused_by_us_alone(
    prefect: Workshop,
    custom_modules: CustomModules,
    own: str,
    recwarn: pytest.WarningsRecorder,
    plain: str,
    asynchronous: str,
    said: str,
) -> None:
    custom_modules.flow(own, "return frames(source, 'SELECT 1 AS id')")
    text = (custom_modules.folder / f"{own}.py").read_text()
    custom_modules.write(own, text.replace(plain, asynchronous))
    assert said in prefect.json("run", own, exit_code=1)["error_message"]
    gc.collect()
    assert [warning for warning in recwarn if "never awaited" in str(warning.message)] == []


def test_a_flow_without_annotations_runs_as_any_other(
    prefect: Workshop, custom_modules: CustomModules, own: str
) -> None:
    path = custom_modules.folder / f"{own}.py"
    custom_modules.write(own, path.read_text().replace(": Definition", ""))
    assert prefect.json("run", own)["rows"] == 3 and prefect.text("own.csv") == CSV


KEYS: dict[str, Any] = {
    "table": "orders",
    "query": "SELECT 1",
    "columns": ["id"],
    "where": "id > 1",
    "cursor": {"column": "updated_at"},
    "transform": "masking:hide_people",
    "column_order": ["id"],
}


@pytest.mark.parametrize("key", KEYS)
def test_keys_that_say_which_rows_are_refused(workshop: Workshop, key: str) -> None:
    export_id = custom(workshop, **{key: KEYS[key]})
    errors = workshop.json("check", export_id, exit_code=1)
    assert f"`{key}` does not apply to a custom export" in errors[0]["message"]


def test_a_flow_of_that_name_makes_no_custom_export_of_another_one(prefect: Workshop, own: str) -> None:
    prefect.export(own)
    report = prefect.json("run", own, exit_code=1)
    assert report["error_code"] == "DEFINITION_INVALID" and "is periodic_full" in report["error_message"]


def test_a_flow_keeps_no_result_and_tries_nothing_again_whatever_was_written(
    custom_modules: CustomModules, workshop: Workshop
) -> None:
    custom_modules.flow(workshop.id(), ROWS)
    path = custom_modules.folder / f"{workshop.id()}.py"
    custom_modules.write(workshop.id(), path.read_text().replace("@flow", "@flow(persist_result=True, retries=5)"))
    flow = export_flow(workshop.id())
    assert (flow.name, flow.persist_result, flow.retries) == (workshop.id(), False, 0)


def test_it_is_created_once_its_python_is_there(workshop: Workshop, custom_modules: CustomModules) -> None:
    workshop.sqlite()
    asked = [
        "create",
        workshop.id(),
        "--type",
        "custom",
        "--database",
        "crm",
        "--target",
        "drop",
        "--file-name",
        "a.csv",
    ]
    error = workshop.json(*asked, exit_code=1)["error"]
    assert f"there is no flows/custom/{workshop.id()}.py" in error["message"] and "docs/custom.md" in error["hint"]
    custom_modules.flow(workshop.id(), ROWS)
    assert workshop.json(*asked)["definition"]["type"] == "custom"


CRM = """
CREATE TABLE profiles (id INTEGER PRIMARY KEY, email, first_name, last_name, country, language, loyalty_points INTEGER);
CREATE TABLE orders (profile_id INTEGER, id INTEGER, status TEXT, total NUMERIC(12,2), currency TEXT, ordered_at TEXT);
CREATE TABLE form_participations (profile_id INTEGER, form TEXT, score INTEGER, submitted_at TEXT);
CREATE TABLE subscriptions (profile_id INTEGER, newsletter TEXT, status TEXT, subscribed_at TEXT);
INSERT INTO profiles VALUES (1, 'a@example.com', 'Anaïs', 'De Smet', 'BE', 'fr', 5),
                            (4, 'b@example.com', 'B', NULL, 'BE', 'nl', NULL);
INSERT INTO orders VALUES (4, 8, 'paid', 10.5, 'EUR', '2026-01-02'), (1, 9, 'new', 1, 'EUR', '2026-01-01'),
                          (4, 7, 'new', 2, 'EUR', '2026-01-03');
INSERT INTO subscriptions VALUES (1, 'weekly', 'subscribed', '2026-01-01');
"""


def test_the_shipped_example_runs_on_a_worker(prefect: Workshop, prefect_worker: None) -> None:
    prefect.sqlite("demo_crm", CRM)
    prefect.target("demo_drop", str(prefect.drop))
    (prefect.catalog_folder / "exports" / SHIPPED.name).write_text(SHIPPED.read_text())
    prefect.run("activate", SHIPPED.stem)
    with prefect_api() as client:
        due = Scheduled(scheduled_time=datetime.now(UTC))
        run: FlowRun = client.create_flow_run_from_deployment(deployment_of(SHIPPED.stem).id, state=due)
    report = prefect.wait_for(lambda: prefect.ended(SHIPPED.stem, str(run.id)))
    assert report["status"] == "succeeded" and report["rows"] == 2, report
    (content,) = prefect.files().values()
    one, two = map(json.loads, gzip.decompress(content).splitlines())
    assert one["first_name"] == "Anaïs" and one["forms"] == [] and one["newsletters"][0]["newsletter"] == "weekly"
    assert [order["id"] for order in two["orders"]] == [7, 8] and two["loyalty_points"] is None
