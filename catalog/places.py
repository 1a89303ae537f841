"""Where things are on this machine: the catalog, the ledger and the spool."""

from __future__ import annotations

import os
from pathlib import Path

#: The repository: the folder that holds the packages and `prefect.yaml`.
ROOT = Path(__file__).resolve().parent.parent


def catalog_folder() -> Path:
    """`EXPORTS_CATALOG`, or `catalog/` of the repository."""
    return Path(os.environ.get("EXPORTS_CATALOG") or ROOT / "catalog").resolve()


def base_folder() -> Path:
    """The folder that holds the catalog; relative paths in `databases/` and `targets/` start there."""
    return catalog_folder().parent


def state_folder() -> Path:
    """Where ledger, spool and downloads are kept when nothing else is said."""
    return base_folder() / ".exports"


def ledger_url() -> str:
    """`EXPORTS_LEDGER` (a SQLAlchemy URL), or a SQLite file in the state folder.

    A relative SQLite path starts where the catalog's do, so that command and worker mean the same file.
    """
    url = os.environ.get("EXPORTS_LEDGER") or f"sqlite:///{state_folder() / 'ledger.sqlite'}"
    scheme, separator, path = url.partition(":///")
    return f"{scheme}{separator}{base_folder() / path}" if scheme.startswith("sqlite") and path else url


def spool_folder() -> Path:
    """`EXPORTS_SPOOL`, or `spool/` in the state folder."""
    return Path(os.environ.get("EXPORTS_SPOOL") or state_folder() / "spool").resolve()


def mail_relay() -> str:
    """`EXPORTS_MAIL` (an Apprise URL), or this machine's own mail server: what sends to a plain `mailto:` address."""
    return os.environ.get("EXPORTS_MAIL") or "mailto://localhost"
