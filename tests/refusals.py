"""What is raised to people, and that no secret is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from catalog.errors import ExportError


def refused_without(*secrets: str) -> Callable[[Callable[[], Any]], ExportError]:
    """Does something that fails; none of the secrets is in what is raised, nor in what a traceback would show."""

    def refused(use: Callable[[], Any]) -> ExportError:
        with pytest.raises(ExportError) as caught:
            use()
        error: BaseException | None = caught.value
        shown = [f"{caught.value.message} {caught.value.hint}"]
        while error is not None:
            shown.append(f"{error!r} {error}")
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        for secret in secrets:
            assert secret not in " ".join(shown)
        return caught.value

    return refused
