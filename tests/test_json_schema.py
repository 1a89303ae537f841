"""The JSON Schemas say what the loader says, so that an editor finds a mistake first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from catalog.definition import Export
from catalog.json_schema import database_schema, export_schema, key_schema, target_schema, write_schemas
from catalog.yaml_file import read_mapping

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = """
name: Orders since the last run
type: incremental
database: crm
table: orders
data_type: linked_data
columns: [id, customer_id, {updated_at: last_change}]
where: "country = 'BE'"
cursor: {column: updated_at, mode: lag, lag: 1m, start: 2026-01-01T00:00}
file:
  name: "orders_{date:%Y%m%d}.csv"
  format: csv
  csv: {delimiter: ";", header: true, quote: minimal, null: "", encoding: utf-8, line_end: "\\n"}
  compression: none
  empty: header
  conflict: fail
target: partner
folder: "inbound/{date:%Y}"
schedule: {cron: "0 2 * * *", timezone: Europe/Brussels}
report: {to: ["mailto:data@example.com"], on: [failed, succeeded]}
retries: 3
"""


def sample(tmp_path: Path) -> dict[str, Any]:
    path = tmp_path / "sample.yaml"
    path.write_text(SAMPLE)
    return read_mapping(path)


def mistakes(schema: dict[str, Any], content: dict[str, Any]) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())
    return [".".join(map(str, error.path)) for error in validator.iter_errors(content)]


def parts(schema: dict[str, Any]) -> list[dict[str, Any]]:
    return [schema, *schema.get("$defs", {}).values()]


def test_the_sample_of_the_documentation(tmp_path: Path) -> None:
    content = sample(tmp_path)
    assert mistakes(export_schema(), content) == []
    assert Export.model_validate({**content, "id": "orders"}).cursor is not None


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"tabel": "orders"}, ""),
        ({"id": "orders"}, ""),
        ({"type": "full"}, "type"),
        ({"name": ""}, "name"),
        ({"retries": 11}, "retries"),
        ({"columns": "id"}, "columns"),
        ({"columns": [7]}, "columns"),
        ({"cursor": {"column": "x", "lag": "5 min"}}, "cursor"),
        ({"cursor": {"column": "x", "start": "yesterday"}}, "cursor"),
        ({"file": {"name": "a", "csv": {"delimeter": ";"}}}, "file.csv"),
        ({"file": {"format": "csv"}}, "file"),
    ],
)
def test_a_mistake_is_found_by_the_schema(tmp_path: Path, change: dict[str, Any], where: str) -> None:
    assert mistakes(export_schema(), {**sample(tmp_path), **change}) == [where]


@pytest.mark.parametrize("make", [export_schema, database_schema, target_schema])
def test_a_schema_is_one_and_tells_an_editor_everything(make: Any) -> None:
    schema = make()
    jsonschema.Draft202012Validator.check_schema(schema)
    for part in parts(schema):
        assert part["additionalProperties"] is False
        for key, value in part["properties"].items():
            assert value.get("description"), key
            assert "default" in value or key in part["required"] or value["type"] == "object", key


@pytest.mark.parametrize("make", [export_schema, database_schema, target_schema])
def test_examples_and_defaults_are_valid(make: Any) -> None:
    schema = make()
    seen = 0
    for part in parts(schema):
        for key, value in part["properties"].items():
            for shown in [*value.get("examples", []), *([value["default"]] if "default" in value else [])]:
                found = mistakes({**value, "$defs": schema.get("$defs", {})}, shown)
                assert found == [], (key, shown)
                seen += 1
    assert seen


def test_the_catalog_that_comes_with_the_project_is_valid() -> None:
    schemas = {"exports": export_schema(), "databases": database_schema(), "targets": target_schema()}
    for kind, schema in schemas.items():
        paths = sorted((ROOT / "catalog" / kind).glob("*.yaml"))
        assert paths
        for path in paths:
            assert mistakes(schema, read_mapping(path)) == [], path
            first = path.read_text().splitlines()[0]
            assert first == f"# yaml-language-server: $schema=../.schema/{kind.removesuffix('s')}.json"


def test_the_files_that_editors_read(tmp_path: Path) -> None:
    folder = tmp_path / "made" / ".schema"
    write_schemas(folder)
    write_schemas(folder)
    made = {path.name: json.loads(path.read_text()) for path in folder.iterdir()}
    assert made == {
        "export.json": export_schema(),
        "database.json": database_schema(),
        "target.json": target_schema(),
        "key.json": key_schema(),
    }
