"""Worker hosts as processes: each runs one export without Prefect, with a spool of its own, and stops half-way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Literal

from workshop import Workshop

TESTS = Path(__file__).resolve().parent
Point = Literal["record_extracted", "record_publishing"]
_SCRIPT = """
import sys
from datetime import datetime
from catalog.errors import ExportError
from catalog.load import load_catalog
from flows.story import Story
from plain_run import Told, means
from tasks.ledger import Ledger, Turn

export_id, run_id, at, point = sys.argv[1:]
record = getattr(Turn, point)

def record_and_stop(*arguments, **keys):
    record(*arguments, **keys)
    print("stopped", flush=True)
    sys.stdin.readline()

setattr(Turn, point, record_and_stop)
export, ledger = load_catalog().export(export_id), Ledger.default()
ledger.register(export)
try:
    Story(export, ledger, run_id, datetime.fromisoformat(at), means(Told())).deliver(None)
    print("done", flush=True)
except ExportError as error:
    print(error.code, flush=True)
"""


class Host:
    """A host whose run has just recorded the point it was to stop at."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def dies(self) -> None:
        """Its process is gone, as with kill -9."""
        self._process.kill()
        self._process.wait()

    def freezes(self) -> None:
        """It does nothing any more, and knows nothing of it."""
        self._process.send_signal(signal.SIGSTOP)

    def thaws(self) -> str:
        """It goes on where it was, to its end: `done`, or the code of its error."""
        self._process.send_signal(signal.SIGCONT)
        said, errors = self._process.communicate("\n", timeout=60)
        assert self._process.returncode == 0, errors
        return said.strip()


@contextmanager
def stopped_host(
    workshop: Workshop,
    export_id: str,
    run_id: str,
    at: datetime,
    *,
    after: Point,
    ledger: str,
    within: Sequence[str] = (),
) -> Iterator[Host]:
    """A host that has run the export until it recorded `after`; `within` is a command that starts it elsewhere."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{TESTS.parent}:{TESTS}",
        "EXPORTS_SPOOL": str(workshop.folder / "spool_of_first_host"),
        "EXPORTS_LEDGER": ledger,
    }
    command = [*within, sys.executable, "-c", _SCRIPT, export_id, run_id, at.isoformat(), after]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stopped\n", process.communicate()
            yield Host(process)
        finally:
            process.kill()
