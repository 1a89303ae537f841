"""Python that belongs to exports, as a person writes it into `flows/custom/`, in a folder of one test's own."""

from __future__ import annotations

import csv
import importlib
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workshop import Workshop

import flows.custom
from flows.exports import export_flow

UPPER = """
import pandas as pd

def upper(batch):
    '''Customers in capitals; their length beside them.'''
    batch["length"] = pd.array([None if name is None else len(name) for name in batch["customer"]], dtype="Int64")
    batch["customer"] = [None if name is None else name.upper() for name in batch["customer"]]
    return batch
"""
FLOW = """
from flows.run import Definition, deliver
from tasks.frames import frames
from tasks.steps import extraction
from prefect import flow
import pandas as pd

@extraction
def rows(source):
{rows}

@flow
def {name}(since=None, until=None, *, definition: Definition):
    return deliver(definition, since, until, extract=rows)
"""


class CustomModules:
    """Modules of the package `flows.custom` that stand in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._names: set[str] = set()

    def write(self, name: str, source: str) -> None:
        """A module, or another in its place."""
        (self.folder / f"{name}.py").write_text(textwrap.dedent(source))
        self._names.add(name)
        self.forget()

    def flow(self, name: str, rows: str) -> None:
        """The flow of the custom export of that name, whose rows those lines yield."""
        self.write(name, FLOW.format(name=name, rows=textwrap.indent(textwrap.dedent(rows), "    ")))

    def forget(self) -> None:
        """Let what was imported be imported anew, as a new process would."""
        for name in self._names:
            sys.modules.pop(f"flows.custom.{name}", None)
            vars(flows.custom).pop(name, None)
        importlib.invalidate_caches()
        export_flow.cache_clear()


@contextmanager
def modules_in(folder: Path) -> Iterator[CustomModules]:
    """Inside, what is written into the folder is part of the package."""
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(flows.custom, "__path__", [*flows.custom.__path__, str(folder)])
        # Of a file that is written twice in one second, Python would take the first for the second.
        patched.setattr(sys, "dont_write_bytecode", True)
        made = CustomModules(folder)
        yield made
        made.forget()


@pytest.fixture
def custom_modules(tmp_path: Path) -> Iterator[CustomModules]:
    with modules_in(tmp_path / "custom") as made:
        yield made


@pytest.fixture
def module(custom_modules: CustomModules, workshop: Workshop) -> str:
    """The name of a module whose function `upper` changes one column and adds one."""
    name = f"changes_{workshop.suffix}"
    custom_modules.write(name, UPPER)
    return name


def customised(workshop: Workshop, module: str, **keys: Any) -> str:
    workshop.sqlite()
    wanted = {"type": "incremental_custom", "transform": f"{module}:upper", "column_order": ["id", "length"], **keys}
    return workshop.incremental(cursor={"lookback": "0s"}, **wanted)


def lines(workshop: Workshop) -> list[list[list[str]]]:
    """The cells of each file, by name."""
    return [list(csv.reader(path.open(newline=""))) for path in sorted(workshop.drop.iterdir())]
