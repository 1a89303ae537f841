"""The `exports` command starts here: first it is made sure that the packages are the project's own."""

from __future__ import annotations

import atexit
import gc
import importlib.util
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

#: Python's own 700 makes it search what the imports leave again and again, and in vain: that is there to stay.
_OBJECTS_BEFORE_A_COLLECTION = 500_000
PACKAGES = ("catalog", "tasks", "flows", "deployments", "manage")


def intruder(root: Path) -> str | None:
    """The reason why a package does not come from `root`, or None when all do.

    `tasks` and `flows` are also names of packages that people publish: one installed beside the project
    would be imported instead of ours.
    """
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or root not in found.parents:
            owners = ", ".join(packages_distributions().get(package, [])) or "no distribution"
            return (
                f"the package `{package}` is taken from {found or 'nowhere'} (installed by {owners}), not from {root}"
            )
    return None


def main() -> None:
    """Run the command; exits 0 done, 1 failed, 2 wrong usage, 3 refused by status, 4 `plan` found a difference."""
    reason = intruder(Path(__file__).resolve().parent.parent)
    if reason is not None:
        sys.stderr.write(f"Error: PACKAGES_MIXED: {reason}\nTry: uninstall that distribution, or run `make install`\n")
        sys.exit(1)
    gc.set_threshold(_OBJECTS_BEFORE_A_COLLECTION)
    # Python's last search of everything there is takes longer than what many a command does.
    atexit.register(gc.freeze)
    from manage.cli import app

    app()


if __name__ == "__main__":
    main()
