"""The documentation is true: every key, default, field, code, command and variable stands in it, and none too many."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from prefect.utilities.importtools import import_object
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from catalog.connections import Database, SigningKey, Target
from catalog.definition import Export
from catalog.errors import Code, Remedy
from catalog.naming import FIELDS, example
from deployments.companions import ACTION, COMPANIONS
from manage.cli import app

ROOT = Path(__file__).resolve().parent.parent
DOCS = {path.name: path.read_text() for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]}
ROWS = {match[1]: match[0] for match in re.finditer(r"^\| `([\w.]+)` \|.*$", DOCS["definition.md"], re.MULTILINE)}


def models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [found for part in get_args(annotation) for found in models_in(part)]


def keys_of(model: type[BaseModel], prefix: str = "") -> dict[str, Any]:
    """Every key by its dotted path, with its default."""
    found: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        if name == "id":
            continue
        found[prefix + name] = field.default
        for nested in models_in(field.annotation):
            found |= keys_of(nested, f"{prefix}{name}.")
    return found


EXPORT_KEYS = keys_of(Export)


def test_every_key_has_its_row_and_no_row_is_left_over() -> None:
    connections = {*keys_of(Database), *keys_of(Target), *keys_of(SigningKey)}
    assert set(ROWS) - connections == set(EXPORT_KEYS) - connections
    assert connections <= set(ROWS)


@pytest.mark.parametrize("key", [key for key, value in EXPORT_KEYS.items() if isinstance(value, str | bool | int)])
def test_the_default_that_is_documented_is_the_one_that_holds(key: str) -> None:
    default = EXPORT_KEYS[key]
    documented = ROWS[key].split("|")[3].strip()
    if default in ("", PydanticUndefined):
        assert documented in ("none", "nothing"), documented
    else:
        written = str(default).lower() if isinstance(default, bool) else str(default).encode("unicode_escape").decode()
        assert written in documented.replace("`", "").replace('"', ""), (written, documented)


def test_every_field_of_a_name_is_documented_with_an_example_that_works() -> None:
    for name, (_, sample) in FIELDS.items():
        assert f"`{sample}`" in DOCS["definition.md"], name
        assert example(f"a_{sample}", "orders")


def test_every_code_is_documented_with_its_group() -> None:
    groups = {remedy: remedy.name.lower() for remedy in Remedy}
    documented = dict(re.findall(r"^\| ([A-Z_]+) \| (\w+) \|", DOCS["errors.md"], re.MULTILINE))
    assert documented == {code.text: groups[code.remedy] for code in Code}


def test_every_code_stands_in_the_tree_that_opens_the_errors_file() -> None:
    import catalog.errors

    tree = set(
        re.findall(r"\b[A-Z]+(?:_[A-Z]+)+\b|\bSTOPPED\b|\bCANCELLED\b|\bINTERNAL\b", catalog.errors.__doc__ or "")
    )
    assert tree == {code.text for code in Code}


def test_every_command_is_documented() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    everything = "\n".join(DOCS.values())
    assert [name for name in commands if f"exports {name}" not in everything] == []


def test_every_documented_command_exists() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"^\s*(?:\.venv/bin/)?exports ([a-z]+)", "\n".join(DOCS.values()), re.MULTILINE))
    assert named <= commands


def test_every_variable_is_documented() -> None:
    source = "\n".join(path.read_text() for path in (ROOT / "catalog").glob("*.py"))
    for name in set(re.findall(r"\bEXPORTS_[A-Z]+\b", source)):
        assert f"`{name}`" in DOCS["running.md"], name


def test_every_form_is_documented_with_its_fields() -> None:
    forms = [import_object(companion.entrypoint) for companion in COMPANIONS if ACTION in companion.tags]
    rows = dict(re.findall(r"^\| `(\w+)` \|(.*)$", DOCS["prefect_ui.md"], re.MULTILINE))
    assert set(rows) == {form.name for form in forms}
    for form in forms:
        for field in form.parameters.properties:
            assert f"`{field}`" in rows[form.name], (form.name, field)


def test_every_picture_is_shown_somewhere() -> None:
    shown = set(re.findall(r"pictures/(\w+\.png)", "\n".join(DOCS.values())))
    assert shown == {path.name for path in (ROOT / "docs" / "pictures").glob("*.png")}


@pytest.mark.parametrize("name", DOCS)
def test_links_and_pictures_lead_somewhere(name: str) -> None:
    folder = ROOT if (ROOT / name).exists() else ROOT / "docs"
    for link in re.findall(r"\]\(([^)#]+)\)", DOCS[name]):
        assert link.startswith("http") or (folder / link).exists(), link
