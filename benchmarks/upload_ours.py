"""One file from the spool to a target, as a run brings it there: begin, put, publish."""

from __future__ import annotations

import json
import sys
import time
from contextlib import closing
from pathlib import Path

from catalog.connections import Target
from tasks.publish.choose import open_publisher
from tasks.publish.contract import temp_name


def main(target: str, file: Path, name: str) -> None:
    """Upload it under that name to the target (its URL and options, in JSON); prints the seconds, the login's too."""
    publisher = open_publisher("bench", Target.model_validate_json(target), lambda secret: secret)
    with closing(publisher):
        began = time.perf_counter()
        temp = publisher.begin("", name, temp_name(name, "window", "upload"))
        publisher.put(file, "", temp)
        publisher.publish("", temp, name, replace=False)
        print(json.dumps({"seconds": time.perf_counter() - began}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
