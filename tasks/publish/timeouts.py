"""How long a server is waited for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """In seconds: for a TCP connection, for the login, for each answer after that, and for the end of a transfer.

    That end comes after what stands in buffers on the way, and after whatever the server does with a file first. Object
    stores have no login to wait for, and no such end.
    """

    connect: float = 10
    login: float = 30
    answer: float = 60
    end: float = 300
