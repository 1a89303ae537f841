"""For whom a file is encrypted, and in whose name it is signed: keys by their names in `catalog/keys/`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, field_validator

from catalog.model import Frozen, repeated

KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=100)]


class Encryption(Frozen):
    """OpenPGP encryption of each file of data."""

    pgp: Annotated[tuple[KeyName, ...], Field(min_length=1)]
    """Who can read it: public keys, each in `keys/NAME.asc`."""
    sign: KeyName | None = None
    """Who signs it: a private key, named in `keys/NAME.yaml` by references to its secrets."""

    @field_validator("pgp")
    @classmethod
    def _pgp(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if twice := repeated(value):
            raise ValueError(f"the key {twice!r} stands twice")
        return value
