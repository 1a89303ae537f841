"""The folders are the road of the data: imports point one way, and files stay small and well named."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["catalog", "tasks", "flows", "deployments", "manage"]
#: What each folder of tasks/ may take from beside it; the steps, above them, take from all.
ROOMS_OF_TASKS = {
    "rows": set(),
    "write": {"rows"},
    "ledger": {"durable"},
    "pgp": {"credentials"},
    "publish": {"credentials", "durable", "ledger"},
    "source": {"connect", "credentials", "ledger", "rows"},
    "bulk": {"connect", "rows", "source"},
}
SOURCES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported_packages(source: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


def wrong_arrows(layer: str, source: str) -> set[str]:
    above = set(LAYERS[LAYERS.index(layer) + 1 :])
    return (imported_packages(source) & above) | (imported_packages(source) & {"tests"})


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    layer = path.relative_to(ROOT).parts[0]
    assert not wrong_arrows(layer, path.read_text()), f"{path.name} imports from a layer above {layer}"


def test_the_check_sees_a_wrong_arrow_even_inside_a_function() -> None:
    assert wrong_arrows("tasks", "def f():\n    from flows.run import run\n") == {"flows"}
    assert wrong_arrows("flows", "import catalog.errors, deployments.runs") == {"deployments"}


def imported_rooms(source: str) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
    whole = {alias.name for node in nodes if node.module == "tasks" for alias in node.names}
    return whole | {node.module.split(".")[1] for node in nodes if (node.module or "").startswith("tasks.")}


@pytest.mark.parametrize("room", ROOMS_OF_TASKS)
def test_a_room_of_the_steps_takes_from_those_below(room: str) -> None:
    for path in (ROOT / "tasks" / room).rglob("*.py"):
        beside = imported_rooms(path.read_text()) - ROOMS_OF_TASKS[room] - {room}
        assert not beside, f"{path.name} imports {beside}"


def test_every_room_of_the_steps_is_known() -> None:
    assert {path.parent.name for path in (ROOT / "tasks").glob("*/__init__.py")} == set(ROOMS_OF_TASKS)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_does_one_thing_in_under_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 300


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_file_is_named_like_a_standard_module_or_a_package_of_ours(path: Path) -> None:
    assert path.stem == "__init__" or path.stem not in {*sys.stdlib_module_names, *LAYERS}


def test_relative_imports_do_not_hide_an_arrow() -> None:
    for path in SOURCES:
        levels = [node.level for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)]
        assert not any(levels), f"{path} imports relatively"
