"""One run of an export as the flow tells it, without Prefect: allot, extract, upload, publish, commit."""

from __future__ import annotations

import json
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tests"))

import pyarrow as pa
from plain_run import Told, means

from catalog.load import load_catalog
from flows.story import Story
from tasks.ledger import Ledger


def main(export_id: str) -> None:
    """Deliver the export; prints the seconds of the work alone, and the rows and bytes that were delivered."""
    export, ledger, run_id = load_catalog().export(export_id), Ledger.default(), str(uuid.uuid4())
    ledger.register(export)
    # The first array makes pyarrow import pandas where that is installed, which is part of starting up.
    pa.array([""])
    story = Story(export, ledger, run_id, datetime.now(UTC), means(Told()))
    began = time.perf_counter()
    story.deliver(None)
    seconds = time.perf_counter() - began
    files = ledger.delivered_by_run(run_id)
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    print(json.dumps({"seconds": seconds, "rows": rows, "bytes": size}))


if __name__ == "__main__":
    main(sys.argv[1])
