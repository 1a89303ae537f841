"""Two hundred struck uploads over each protocol: nothing truncated can be seen, nothing is left, nothing is claimed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from proofs import proven
from upload_tally import WRONG

FAULTS, SEED = 200, 20261125
#: The slowest first.
PROTOCOLS = ("s3", "abfs", "sftp", "ftps", "file")
#: Where it can happen that nobody but a person can tell.
MAY_ASK = {"abfs"}
_COLUMNS = ("kills", "cuts", *WRONG, "asked")


@pytest.mark.servers
@pytest.mark.timeout(1800)
def test_struck_uploads_are_whole_or_absent_and_leave_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(_struck, PROTOCOLS)
        figures = {protocol: summary["figures"] for protocol, summary in zip(PROTOCOLS, found, strict=True)}
    with capsys.disabled():
        print(f"\n\n{FAULTS} faults while files are uploaded, seed {SEED}\n")
        print("| ".join(["", "protocol", *_COLUMNS]) + " |")
        for protocol, row in figures.items():
            print("| ".join(["", protocol, *(str(row[column]) for column in _COLUMNS)]) + " |")
    for protocol, row in figures.items():
        assert row["kills"] + row["cuts"] == FAULTS and (row["cuts"] >= FAULTS / 3 or protocol == "file")
        assert not any(row[kind] for kind in WRONG), protocol
        assert row["asked"] == 0 or protocol in MAY_ASK, protocol


def _struck(protocol: str) -> dict[str, dict[str, int]]:
    return proven("upload_faults.py", "--target", protocol, "--faults", str(FAULTS), "--seed", str(SEED))
