"""JSON Schemas of the catalog's YAML, with which editors complete and check it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from catalog.connections import Database, Target
from catalog.definition import Export

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


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


def write_schemas(folder: Path) -> None:
    """Write `export.json`, `database.json` and `target.json` into the folder, which is made when missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in (("export", export_schema()), ("database", database_schema()), ("target", target_schema())):
        (folder / f"{name}.json").write_text(json.dumps(schema, indent=2) + "\n", encoding="utf-8")


def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return {"$schema": _DIALECT, **model.model_json_schema(mode="validation")}
