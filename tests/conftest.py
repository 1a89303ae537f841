"""Fixtures that many test files share."""

import os

# Before Prefect is imported: its log lines stay off the console, as for `exports run` in a pipe.
os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"

from postgres_server import postgres
from prefect_server import prefect, prefect_home, prefect_url, prefect_worker
from workshop import workshop

__all__ = ["postgres", "prefect", "prefect_home", "prefect_url", "prefect_worker", "workshop"]
