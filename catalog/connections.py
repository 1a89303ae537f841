"""Where rows come from and where files go: databases and targets, as written in YAML.

Their URLs may hold secret references in Prefect's template syntax (`{{ $NAME }}`,
`{{ prefect.blocks.secret.NAME }}`); `tasks.credentials` resolves them on the worker, when needed.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, field_validator

from catalog.model import Frozen, Label, Text
from catalog.schedule import check_timezone


class Database(Frozen):
    """A database to export from."""

    url: Text
    """A SQLAlchemy URL; secrets in it are references, as {{ $NAME }}. SQLite paths start at the catalog's parent."""
    tables: dict[str, Label] = Field(default_factory=dict)
    """What each table holds, as `orders: linked_data`: the default `data_type` of its exports."""
    timezone: str = "UTC"
    """What timestamps without a zone mean."""

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        check_timezone(value)
        return value


class SigningKey(Frozen):
    """A private OpenPGP key to sign files with; both are references to secrets."""

    private_key: Text
    """The key in ASCII, as `gpg --armor --export-secret-keys` writes it."""
    passphrase: Text | None = None
    """What unlocks it."""


class Target(Frozen):
    """A place that files are dropped on."""

    url: Text
    """A folder, or an fsspec URL; relative paths start at the catalog's parent."""
    options: dict[str, Any] = Field(default_factory=dict)
    """What the protocol's file system takes besides, as a password; secrets are references."""
