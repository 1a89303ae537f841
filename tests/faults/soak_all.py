"""All proofs, at length, and one summary: `make soak`, or `make soak SEED=7` to make the same choices again."""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
SOAKED = ["naive_watermark", "unsettled_bound"]
STRUCK = ["put_in_place", "never_tidied"]
CRASHED = ["witness_off", "publish_before_record", "committed_before_published", "link_then_unlink"]


def commands(seed: int) -> dict[str, list[str]]:
    """Every proof by its name: what is run, in the words of a shell."""
    soak, crash, uploads = (str(FOLDER / name) for name in ("soak.py", "crash_points.py", "upload_faults.py"))
    chosen = ["--seed", str(seed)]
    model = ["-m", "pytest", "-q", str(FOLDER / "test_protocol_model.py"), "--hypothesis-profile=soak"]
    return {
        "kill -9, local": [soak, "--kills", "10000", "--target", "local", *chosen],
        "kill -9, SFTP": [soak, "--kills", "2000", "--target", "sftp", *chosen],
        "kill -9, FTPS": [soak, "--kills", "2000", "--target", "ftps", *chosen],
        **{
            f"struck uploads, {target}": [uploads, "--target", target, "--faults", "1000", *chosen]
            for target in ("file", "sftp", "ftps", "s3")
        },
        "watermark race": [str(FOLDER.parent / "watermark_race.py"), "--seconds", "300", *chosen],
        "every crash point, local": [crash, "--target", "local"],
        "every crash point, SFTP": [crash, "--target", "sftp"],
        "every crash point, FTPS": [crash, "--target", "ftps"],
        "every crash point, parts and manifest": [crash, "--target", "local", "--parts"],
        "two crash points, local": [crash, "--target", "local", "--doubles", "--sample", "2000", *chosen],
        "model": [*model, "--timeout", "3600", f"--hypothesis-seed={seed}"],
        **{f"power: {plant} under kill -9": [soak, "--kills", "2000", "--plant", plant, *chosen] for plant in SOAKED},
        **{f"power: {plant} under kill -9": [soak, "--kills", "5000", "--plant", plant, *chosen] for plant in CRASHED},
        **{f"power: {plant} in struck uploads": [uploads, "--plant", plant, *chosen] for plant in STRUCK},
        **{f"power: {plant} at crash points": [crash, "--plant", plant] for plant in CRASHED},
    }


def main() -> None:
    """Run all of them, whatever the others found; exits 1 when one did not end as it should."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--jobs", type=int, default=2, help="so many proofs at a time")
    arguments = parser.parse_args()
    seed = arguments.seed
    if seed is None:
        seed = random.SystemRandom().getrandbits(31)
    summary: list[str] = []
    failed = False
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for name, seconds, ended in pool.map(_proven, *zip(*commands(seed).items(), strict=True)):
            failed = failed or ended.returncode != 0
            verdict = "FAILED" if ended.returncode else "ok"
            lines = ended.stdout.strip().splitlines() or [""]
            summary.append(f"{verdict:7}{name} ({seconds:.0f} s): {lines[-1][:600]}")
            print(ended.stdout if ended.returncode else summary[-1], flush=True)
    print("\n".join(["", f"seed {seed}", *summary]))
    sys.exit(1 if failed else 0)


def _proven(name: str, command: list[str]) -> tuple[str, float, subprocess.CompletedProcess[str]]:
    began = time.monotonic()
    ended = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, text=True)
    return name, time.monotonic() - began, ended


if __name__ == "__main__":
    main()
