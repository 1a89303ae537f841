"""A third one between publisher and S3 server: it acts at a request of one kind, or answers in the server's place."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError


class Meddler:
    """Acts before and after requests of one kind that the publisher sends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.before: dict[str, Callable[[dict[str, Any]], object]] = {}
        self.after: dict[str, Callable[[dict[str, Any]], object]] = {}
        real, meddler, is_busy = BaseClient._make_api_call, self, threading.local()

        def call(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
            if getattr(is_busy, "now", False):
                return real(client, operation, parameters)
            for acts, request in ((meddler.before, False), (None, True), (meddler.after, False)):
                if request:
                    answer = real(client, operation, parameters)
                elif acts is not None and operation in acts:
                    is_busy.now = True
                    try:
                        acts[operation](parameters)
                    finally:
                        is_busy.now = False
            return answer

        monkeypatch.setattr(BaseClient, "_make_api_call", call)


@pytest.fixture
def meddler(monkeypatch: pytest.MonkeyPatch) -> Meddler:
    return Meddler(monkeypatch)


def answer(code: str, status: int, message: str = "no more than this") -> Callable[[dict[str, Any]], object]:
    """A server that answers with an error."""

    def raise_it(parameters: dict[str, Any]) -> object:
        found = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
        raise ClientError(found, "Some")  # type: ignore[arg-type]

    return raise_it
