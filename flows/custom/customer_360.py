"""Everything that is known of each customer as one nested JSON object, which no SELECT with its flat rows gives.

An example of a custom export: the flow is every export's, and only its first step, reading, is written here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pandas as pd
from prefect import flow
from prefect.client.schemas.objects import State

from flows.run import Definition, deliver
from tasks.connect import Source
from tasks.frames import frames
from tasks.steps import extraction

PEOPLE = "SELECT id, email, first_name, last_name, country, language, loyalty_points FROM profiles ORDER BY id"
#: What belongs to people, by the key it gets in their object; each begins with whose it is.
PARTS = {
    "orders": "SELECT profile_id, id, status, total, currency, ordered_at FROM orders",
    "forms": "SELECT profile_id, form, score, submitted_at FROM form_participations",
    "newsletters": "SELECT profile_id, newsletter, status, subscribed_at FROM subscriptions",
}


@flow
def customer_360(since: datetime | None = None, until: datetime | None = None, *, definition: Definition) -> State[Any]:
    """Deliver every customer with their orders, form answers and newsletters."""
    return deliver(definition, since, until, extract=customers)


@extraction
def customers(source: Source) -> Iterator[pd.DataFrame]:
    """A thousand customers at a time, so that memory does not grow with their number."""
    for people in frames(source, PEOPLE, rows=1000):
        for key, sql in PARTS.items():
            theirs = _by_person(source, sql, people["id"])
            people[key] = pd.Series([theirs.get(person, []) for person in people["id"]], dtype=object)
        yield people


def _by_person(source: Source, sql: str, ids: pd.Series[Any]) -> dict[int, list[dict[str, Any]]]:
    """What the SELECT gives of these people, each row as an object in their list."""
    found: dict[int, list[dict[str, Any]]] = {}
    if len(ids):
        mine = f"{sql} WHERE profile_id BETWEEN :first AND :last ORDER BY 1, 2"
        for rows in frames(source, mine, first=int(ids.iloc[0]), last=int(ids.iloc[-1])):
            for row in rows.to_dict("records"):
                found.setdefault(row.pop("profile_id"), []).append({str(key): value for key, value in row.items()})
    return found
