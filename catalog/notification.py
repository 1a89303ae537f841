"""Who is told how a run ended."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator

from catalog.model import Frozen, Text

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*:.+|\{\{.+", re.IGNORECASE)


class Notification(Frozen):
    """Who gets the report of each run, and of which runs."""

    to: tuple[Text, ...]
    """Apprise URLs, as mailto:me@example.com or "{{ $SLACK_URL }}"; secrets in them are references."""
    on: tuple[Literal["failed", "succeeded"], ...] = ("failed", "succeeded")
    """Which runs are reported: failed, succeeded or both."""

    @field_validator("to", "on")
    @classmethod
    def _something(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("nothing stands in it")
        return value

    @field_validator("to")
    @classmethod
    def _to(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for index, address in enumerate(value):
            if _ADDRESS.fullmatch(address) is None:
                # Named by its place: what was written may be a secret.
                raise ValueError(f"entry {index + 1} is no Apprise URL, as mailto:me@example.com")
            if address in value[:index]:
                raise ValueError(f"entry {index + 1} stands twice")
        return value
