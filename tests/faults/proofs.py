"""Running a proof as a person does: a process of its own, which may fork because it has neither threads nor servers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def proven(script: str, *arguments: str) -> dict[str, Any]:
    """The summary of a proof that ended as it should."""
    command = [sys.executable, str(FOLDER / script), *arguments]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, f"{' '.join(command)}\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    summary: dict[str, Any] = json.loads(ended.stdout)
    return summary
