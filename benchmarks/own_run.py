"""One run of this project in a process of its own: `own_run.py FOLDER URL FORMAT COMPRESSION`.

The story of a run, as the flow tells it: allot, extract, upload, publish, commit, into a local folder. Prints one line
of JSON: the seconds from the first of these steps to the last, without the start of the interpreter and of Prefect.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "tests")]


def main(folder: Path, url: str, file_format: str, compression: str) -> None:
    os.environ.update(EXPORTS_SPOOL=str(folder / "spool"), EXPORTS_CATALOG=str(folder / "catalog"))
    from plain_run import Told, means
    from workshop import Workshop

    from flows.story import Story

    workshop = Workshop(folder)
    workshop.database("source", url)
    file = {"name": "t.out", "format": file_format, "compression": compression}
    export_id = workshop.export(database="source", table="t", data_type="repository", file=file)
    export = workshop.load(export_id)
    workshop.ledger.register(export)
    began = time.perf_counter()
    Story(export, workshop.ledger, str(uuid.uuid4()), datetime.now(UTC), means(Told())).deliver(None)
    seconds = time.perf_counter() - began
    (made,) = workshop.drop.iterdir()
    print(json.dumps({"seconds": seconds, "bytes": made.stat().st_size, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    # What the parent had when it forked counts in getrusage(), and here not.
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
