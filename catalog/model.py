"""What everything read from YAML has in common: it is frozen, and an unknown key is an error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import PydanticCustomError

ID_PATTERN = r"^[a-z][a-z0-9_]*$"
LONGEST_ID = 100
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Label = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=60)]


class Frozen(BaseModel):
    """Base of everything read from YAML: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def invalid(message: str) -> PydanticCustomError:
    """What a validator raises when keys do not fit together."""
    return PydanticCustomError("definition", "{message}", {"message": message})


def repeated(names: Iterable[str]) -> str | None:
    """The first of the names that stands there for the second time, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
