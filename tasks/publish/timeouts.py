"""How long a server is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds: for a TCP connection, for the login, and for each answer after that."""

    connect: float = 10
    login: float = 30
    answer: float = 60
