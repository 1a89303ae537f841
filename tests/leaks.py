"""Looks for planted secrets in all that people and other programs get to see, in every form they may have there."""

from __future__ import annotations

import base64
import html
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, quote_plus


def forms(secret: str, users: Iterable[str] = ()) -> set[bytes]:
    """The secret as it is, and as URLs, JSON, HTML, Python, and logins in HTTP write it."""
    texts = {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), html.escape(secret)}
    texts |= {json.dumps(secret)[1:-1], repr(secret)[1:-1], secret.replace("/", "\\/")}
    encoded = {text.encode() for text in texts}
    return encoded | {base64.b64encode(each.encode()) for each in (secret, *(f"{user}:{secret}" for user in users))}


class Search:
    """What is looked for, by a name that may be shown, and what was found so far: where each stands."""

    def __init__(self, secrets: Mapping[str, str], users: Iterable[str] = ()) -> None:
        logins = list(users)
        self._forms = {name: forms(secret, logins) for name, secret in secrets.items()}
        self.found: set[str] = set()

    def look(self, where: str, data: bytes | str) -> None:
        """Look through one thing."""
        content = data.encode(errors="surrogateescape") if isinstance(data, str) else data
        for name, all_forms in self._forms.items():
            if any(form in content for form in all_forms):
                self.found.add(f"{name} in {where}")

    def look_in_folder(self, folder: Path) -> None:
        """Every file below it, its name too; of SQLite's also every cell, since long ones are kept in pieces."""
        for path in sorted(folder.rglob("*")):
            self.look(f"the name {path.name!r}", str(path.relative_to(folder)))
            if path.is_file():
                self.look(str(path.relative_to(folder)), path.read_bytes())
                if path.suffix in (".db", ".sqlite"):
                    self._look_in_cells(path)

    @contextmanager
    def watching_processes(self) -> Iterator[None]:
        """Inside, the arguments of all processes of this machine are looked at, again and again."""
        is_over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(is_over,), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            is_over.set()
            watcher.join()

    def _watch(self, is_over: threading.Event) -> None:
        while not is_over.is_set():
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    arguments = path.read_bytes()
                except OSError:
                    # It has ended.
                    continue
                self.look("a process list", arguments)
            is_over.wait(0.02)

    def _look_in_cells(self, path: Path) -> None:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
            connection.text_factory = bytes
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            for (table,) in tables:
                name = table.decode()
                for row in connection.execute(f'SELECT * FROM "{name}"'):
                    for cell in row:
                        if isinstance(cell, bytes):
                            self.look(f"{path.name}, table {name}", cell)
