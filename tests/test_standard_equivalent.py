"""The standard equivalent of an `incremental_custom` export: shown, copied, and what unscheduling leaves."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from custom_modules import UPPER, CustomModules, customised, lines
from prefect.exceptions import ObjectNotFound
from prefect_server import deployment_of, status_of
from workshop import Workshop

from catalog.errors import Code, ExportError
from deployments.prefect_api import prefect_api


def test_show_names_the_customisations_and_the_standard_equivalent(prefect: Workshop, module: str) -> None:
    export_id = customised(prefect, module)
    shown = prefect.json("show", export_id)
    assert shown["customisations"] == [
        f"rows pass through {module}:upper: Customers in capitals; their length beside them.",
        "columns stand in the order id, length",
    ]
    standard = prefect.load(export_id).standard_equivalent
    assert standard is not None and shown["standard_equivalent"] == standard.frozen()
    assert not {"transform", "column_order"} & standard.frozen().keys() and standard.type == "incremental"
    assert standard.source_key == prefect.load(export_id).source_key
    words = prefect.run("show", export_id).stdout
    assert "standard equivalent" in words and f"{module}:upper: Customers in capitals" in words
    plain = prefect.export(prefect.id("plain"), file={"name": "p.csv"})
    assert prefect.json("show", plain)["standard_equivalent"] is None


def test_preview_shows_the_rows_as_they_are_written(prefect: Workshop, module: str) -> None:
    shown = prefect.json("preview", customised(prefect, module))
    assert [column["name"] for column in shown["columns"]] == ["id", "length", "customer", "total", "updated_at"]
    assert shown["rows"][0][:3] == ["1", "5", "ANAÏS"]


WRITTEN = """# Ask Anaïs first.
name: "{name}"   # shown
type: incremental_custom   # because of the mask
database: crm
table: orders
# what the partner may see
transform: {module}:upper   # and nothing else
column_order:
  - id
  # then
  - length

cursor: {{column: updated_at, lag: 0s, lookback: 0s}}
file: {{name: 'orders_{{date:%Y%m%dT%H%M%S%f}}.csv'}}
target: drop   # not theirs yet
schedule: {{cron: "0 2 * * *", timezone: Europe/Brussels}}
"""
STANDARD = """# Ask Anaïs first.
name: "{name}"   # shown
type: incremental   # because of the mask
database: crm
table: orders
# what the partner may see

cursor: {{column: updated_at, lag: 0s, lookback: 0s}}
file: {{name: 'orders_{{date:%Y%m%dT%H%M%S%f}}.csv'}}
target: drop   # not theirs yet
schedule: {{cron: "0 2 * * *", timezone: Europe/Brussels}}
"""


def written(workshop: Workshop, module: str) -> tuple[str, Path]:
    workshop.sqlite()
    path = workshop.catalog_folder / "exports" / f"{workshop.id()}.yaml"
    path.write_text(WRITTEN.format(name=workshop.id(), module=module))
    return path.stem, path


def test_a_copy_is_a_draft_of_the_standard_equivalent(prefect: Workshop, module: str) -> None:
    export_id, path = written(prefect, module)
    before, new_id = path.read_bytes(), prefect.id("copied")
    found = prefect.json("copy", export_id, new_id, "--name", "Another")
    assert path.with_stem(new_id).read_text() == STANDARD.format(name="Another") and path.read_bytes() == before
    assert found["differences"] == prefect.json("show", export_id)["customisations"] != []
    assert status_of(prefect, new_id) == "draft"
    said = prefect.run("copy", export_id, prefect.id("again")).stderr
    assert f"rows pass through {module}:upper" in said
    plain = prefect.export(prefect.id("plain"), file={"name": "p.csv"})
    assert prefect.json("copy", plain, prefect.id("plain_copy"))["differences"] == []


def test_yaml_that_cannot_be_changed_line_by_line_is_written_anew(prefect: Workshop, module: str) -> None:
    export_id, path = written(prefect, module)
    definition = {key: value for key, value in prefect.load(export_id).frozen().items() if key != "id"}
    path.write_text(json.dumps(definition))
    prefect.run("copy", export_id, prefect.id("copied"), "--name", "Another")
    standard = prefect.load(export_id).standard_equivalent
    assert standard is not None
    assert prefect.load(prefect.id("copied")) == standard.model_copy(
        update={"id": prefect.id("copied"), "name": "Another"}
    )


def test_unscheduling_makes_a_standard_export_of_it_for_good(prefect: Workshop, module: str) -> None:
    export_id, path = written(prefect, module)
    prefect.run("activate", export_id)
    assert prefect.json("run", export_id)["rows"] == 3
    standard = prefect.load(export_id).standard_equivalent
    assert standard is not None

    asked = prefect.run("unschedule", export_id, exit_code=2)
    assert f"{module}:upper" in asked.stderr and "--yes" in asked.stderr
    assert status_of(prefect, export_id) == "scheduled" and "transform" in path.read_text()

    done = prefect.json("unschedule", export_id, "--yes")
    assert (done["status"], done["type"], done["version"]) == ("draft", "incremental", standard.hash)
    assert len(done["lost"]) == 2 and path.read_text() == STANDARD.format(name=export_id)
    deployment = deployment_of(export_id)
    assert deployment.parameters["definition"] == standard.frozen() and "type:incremental" in deployment.tags
    assert not any(schedule.active for schedule in deployment.schedules)
    assert prefect.json("plan") == [] and prefect.json("show", export_id)["customisations"] == []

    with closing(sqlite3.connect(prefect.folder / "crm.sqlite")) as connection, connection:
        connection.execute(f"INSERT INTO orders VALUES (4, 'Zoë', 1, '{datetime.now(UTC):%Y-%m-%d %H:%M:%S}')")
    prefect.run("activate", export_id)
    report = prefect.json("run", export_id)
    assert report["status"] == "succeeded" and report["window"]["since"] is not None, "the watermark goes on"
    assert lines(prefect)[-1] == [["id", "customer", "total", "updated_at"], *lines(prefect)[-1][1:]]


def test_a_face_that_asks_nobody_has_to_say_that_it_converts(prefect: Workshop, module: str) -> None:
    from deployments.lifecycle import unschedule
    from deployments.workspace import open_workspace

    export_id, path = written(prefect, module)
    prefect.run("activate", export_id)
    with open_workspace() as workspace:
        with pytest.raises(ExportError) as raised:
            unschedule(workspace, export_id)
        assert raised.value.code is Code.STATUS_REFUSED and f"{module}:upper" in raised.value.message
        assert status_of(prefect, export_id) == "scheduled" and "transform" in path.read_text()
        unschedule(workspace, export_id, convert=True)
    assert status_of(prefect, export_id) == "draft" and "transform" not in path.read_text()


def test_an_edit_that_waits_is_not_activated_by_unscheduling(prefect: Workshop, module: str) -> None:
    export_id, path = written(prefect, module)
    prefect.run("activate", export_id)
    path.write_text(path.read_text().replace("table: orders", "table: orders\nwhere: id > 1"))
    prefect.run("unschedule", export_id, "--yes")
    assert "where" not in prefect.json("show", export_id)["definition"]
    assert [(entry["change"], entry["details"]) for entry in prefect.json("plan")] == [("edited", ["where"])]
    assert prefect.load(export_id).type == "incremental"


@pytest.mark.parametrize("broken", ["name: [", "transform: nothing"])
def test_it_is_unscheduled_even_when_its_yaml_does_not_load(prefect: Workshop, module: str, broken: str) -> None:
    export_id, path = written(prefect, module)
    prefect.run("activate", export_id)
    standard = prefect.load(export_id).standard_equivalent
    assert standard is not None
    waiting = prefect.json("run", export_id, "--detach")["run_id"]
    path.write_text(broken)
    error = prefect.json("unschedule", export_id, "--yes", exit_code=1)["error"]
    assert error["code"] in ("YAML_SYNTAX", "DEFINITION_INVALID") and error["file"] == f"exports/{path.name}"
    assert f"{export_id} is unscheduled" in error["message"] and "type: incremental" in error["hint"]
    assert path.read_text() == broken
    deployment = deployment_of(export_id)
    assert not any(schedule.active for schedule in deployment.schedules)
    assert deployment.parameters["definition"] == standard.frozen()
    with prefect_api() as client, pytest.raises(ObjectNotFound):
        client.read_flow_run(UUID(waiting))


def test_what_was_outstanding_is_still_delivered_customised(prefect: Workshop, module: str) -> None:
    export_id, _ = written(prefect, module)
    prefect.run("activate", export_id)
    (prefect.folder / "crm.sqlite").rename(prefect.folder / "away.sqlite")
    assert prefect.json("run", export_id, exit_code=1)["error_code"] == "SOURCE_UNREACHABLE"
    (prefect.folder / "away.sqlite").rename(prefect.folder / "crm.sqlite")
    prefect.run("unschedule", export_id, "--yes")
    assert prefect.json("run", export_id)["status"] == "succeeded"
    assert lines(prefect)[0][1][:3] == ["1", "5", "ANAÏS"]


@pytest.mark.parametrize("module_is", ["removed", "without the function"])
def test_a_window_whose_mask_is_gone_is_not_sent_unmasked(
    prefect: Workshop, module: str, custom_modules: CustomModules, module_is: str
) -> None:
    export_id, _ = written(prefect, module)
    prefect.run("activate", export_id)
    (prefect.folder / "crm.sqlite").rename(prefect.folder / "away.sqlite")
    prefect.run("run", export_id, exit_code=1)
    (prefect.folder / "away.sqlite").rename(prefect.folder / "crm.sqlite")
    prefect.run("unschedule", export_id, "--yes")
    custom_modules.write(module, "")
    if module_is == "removed":
        (custom_modules.folder / f"{module}.py").unlink()
    report = prefect.json("run", export_id, exit_code=1)
    assert report["error_code"] == "DEFINITION_INVALID" and module in report["error_message"]
    assert prefect.files() == {} and prefect.json("ledger", export_id)[-1]["state"] == "PLANNED"

    custom_modules.write(module, UPPER)
    assert prefect.json("run", export_id)["status"] == "succeeded"
    assert lines(prefect)[0][1][:3] == ["1", "5", "ANAÏS"]
