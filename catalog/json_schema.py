"""JSON Schemas of the catalog's YAML, with which editors complete and check it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from catalog.connections import Database, SigningKey, Target
from catalog.definition import Export
from catalog.duration import duration_text

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: By model and key: what an editor offers where the type alone says little.
_EXAMPLES: dict[str, dict[str, Any]] = {
    "Export": {
        "name": "Orders since the last run",
        "database": "crm",
        "table": "orders",
        "query": "SELECT id, name FROM products",
        "data_type": "linked_data",
        "columns": ["id", {"updated_at": "last_change"}],
        "where": "country = 'BE'",
        "transform": "masking:hide_people",
        "column_order": ["id", "email_sha256"],
        "target": "partner",
        "folder": "orders/{date:%Y}",
    },
    "Cursor": {"column": "updated_at", "start": "2026-01-01T00:00"},
    "File": {"name": "orders_{date:%Y%m%d}.csv", "inner_name": "orders.csv", "max_rows": 1000000},
    "CsvOptions": {
        "delimiter": ";",
        "null": "\\N",
        "encoding": "cp1252",
        "date_format": "%d/%m/%Y",
        "timestamp_format": "%d/%m/%Y %H:%M:%S",
    },
    "Schedule": {"cron": "0 2 * * *", "at": "2026-12-01T10:00", "timezone": "Europe/Brussels"},
    "Notification": {"to": ["mailto:data@example.com"], "on": ["failed"]},
    "Database": {"url": "postgresql+psycopg://me:{{ $PASSWORD }}@db/crm", "tables": {"orders": "linked_data"}},
    "Encryption": {"pgp": ["partner-key"], "sign": "our-key"},
    "SigningKey": {
        "private_key": "{{ prefect.blocks.secret.our-pgp-key }}",
        "passphrase": "{{ prefect.blocks.secret.our-pgp-passphrase }}",
    },
    "Target": {"url": "/srv/outbox"},
}


def export_schema() -> dict[str, Any]:
    """The schema of `exports/*.yaml`: the definition without its id, which is the file's name."""
    schema = _schema(Export)
    del schema["properties"]["id"]
    schema["required"].remove("id")
    return schema


def database_schema() -> dict[str, Any]:
    """The schema of `databases/*.yaml`."""
    return _schema(Database)


def target_schema() -> dict[str, Any]:
    """The schema of `targets/*.yaml`."""
    return _schema(Target)


def key_schema() -> dict[str, Any]:
    """The schema of `keys/*.yaml`."""
    return _schema(SigningKey)


def write_schemas(folder: Path) -> None:
    """Write a schema for each kind of file, as `export.json`, into the folder, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    schemas = {"export": export_schema, "database": database_schema, "target": target_schema, "key": key_schema}
    for name, schema in schemas.items():
        (folder / f"{name}.json").write_text(json.dumps(schema(), indent=2) + "\n", encoding="utf-8")


class _Generator(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        """Durations as people write them, not as ISO 8601 has them."""
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    schema = {"$schema": _DIALECT, **model.model_json_schema(mode="validation", schema_generator=_Generator)}
    for part in (schema, *schema.get("$defs", {}).values()):
        for key, example in _EXAMPLES[part["title"]].items():
            part["properties"][key].setdefault("examples", [example])
    _loosen_moments(schema)
    return schema


def _loosen_moments(node: Any) -> None:
    """JSON Schema's date-time demands seconds and an offset, which a definition may leave out."""
    if isinstance(node, list):
        for part in node:
            _loosen_moments(part)
    elif isinstance(node, dict):
        if node.get("format") == "date-time":
            del node["format"]
            node["pattern"] = r"^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$"
        for part in node.values():
            _loosen_moments(part)
