"""A made-up CRM in SQLite: the same rows every time, awkward where real data is awkward."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

SEED = 20261101
_NEWEST = datetime(2026, 11, 1)

_SCHEMA = """
CREATE TABLE profiles (
  id INTEGER PRIMARY KEY, email TEXT NOT NULL, first_name TEXT, last_name TEXT, birth_date DATE, language TEXT,
  country TEXT NOT NULL, city TEXT, opted_in BOOLEAN NOT NULL, loyalty_points INTEGER, notes TEXT,
  updated_at DATETIME NOT NULL);
CREATE TABLE products (
  sku TEXT PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, price NUMERIC(10,2) NOT NULL, weight_kg REAL,
  description TEXT, thumbnail BLOB, active BOOLEAN NOT NULL, updated_at DATETIME NOT NULL);
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, profile_id INTEGER NOT NULL REFERENCES profiles(id), status TEXT NOT NULL,
  total NUMERIC(12,2) NOT NULL, currency TEXT NOT NULL, coupon TEXT, ordered_at DATETIME NOT NULL,
  updated_at DATETIME NOT NULL);
CREATE TABLE form_participations (
  id INTEGER PRIMARY KEY, profile_id INTEGER NOT NULL REFERENCES profiles(id), form TEXT NOT NULL,
  answers TEXT NOT NULL, score INTEGER, submitted_at DATETIME NOT NULL);
CREATE TABLE subscriptions (
  profile_id INTEGER NOT NULL REFERENCES profiles(id), newsletter TEXT NOT NULL, status TEXT NOT NULL,
  subscribed_at DATETIME NOT NULL, unsubscribed_at DATETIME, PRIMARY KEY (profile_id, newsletter));
CREATE TABLE email_events (
  id INTEGER PRIMARY KEY, profile_id INTEGER NOT NULL REFERENCES profiles(id), campaign TEXT NOT NULL,
  event TEXT NOT NULL, url TEXT, occurred_at DATETIME NOT NULL);
CREATE INDEX orders_updated_at ON orders(updated_at);
CREATE INDEX email_events_occurred_at ON email_events(occurred_at);
"""

_FIRST = ["Anaïs", "Björn", "Chloé", "Dries", "Elif", "Frédéric", "Greta", "Håkon", "Inès", "Jérôme", "Łukasz", "Zoë"]
_LAST = [
    "Peeters",
    "De Smet",
    "O'Brien",
    "Müller",
    "García, hijo",
    "Nguyễn",
    "Van den Broeck",
    "Šimić",
    "李",
    "D’Hondt",
]
_CITIES = {
    "BE": ["Gent", "Liège", "Bruxelles"],
    "FR": ["Lyon", "Orléans"],
    "DE": ["Köln", "München"],
    "NL": ["'s-Hertogenbosch", "Utrecht"],
}
_NOTES = [
    None,
    "",
    "VIP",
    'Says "call me Al", twice',
    "Prefers mail; not phone, ever",
    "Moved house.\nNew address\r\nto follow",
    "Birthday 🎂 gift 🎁 sent",
    "Allergic to naïve façades — really",
    "=SUM(A1:A9)",
    "NULL",
    "tab\there",
]
_NEWSLETTERS = ["weekly", "offers", "events", "product news"]
_EVENTS = ["sent", "sent", "sent", "open", "open", "click", "bounce", "unsubscribe"]


def build_crm(path: Path) -> dict[str, int]:
    """Make the CRM at `path`, which must not exist, and return the number of rows per table."""
    chance = random.Random(SEED)
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.executescript(_SCHEMA)
        return {
            "profiles": _fill(database, "profiles", _profiles(chance, 8_000)),
            "products": _fill(database, "products", _products(chance, 500)),
            "orders": _fill(database, "orders", _orders(chance, 1, 20_000)),
            "form_participations": _fill(database, "form_participations", _participations(chance, 12_000)),
            "subscriptions": _fill(database, "subscriptions", _subscriptions(chance)),
            "email_events": _fill(database, "email_events", _email_events(chance, 1, 15_000)),
        }


def add_activity(path: Path, orders: int = 250, events: int = 400) -> None:
    """New orders and e-mail events, stamped now, as a working day brings them."""
    now = datetime.now(UTC).replace(tzinfo=None)
    with closing(sqlite3.connect(path)) as database, database:
        chance = random.Random(SEED + 1)
        first_order = database.execute("SELECT max(id) + 1 FROM orders").fetchone()[0]
        first_event = database.execute("SELECT max(id) + 1 FROM email_events").fetchone()[0]
        new_orders = [(*row[:6], _stamp(now), _stamp(now)) for row in _orders(chance, first_order, orders)]
        new_events = [(*row[:5], _stamp(now)) for row in _email_events(chance, first_event, events)]
        _fill(database, "orders", new_orders)
        _fill(database, "email_events", new_events)


def _fill(database: sqlite3.Connection, table: str, rows: Iterator[Sequence[Any]] | list[Any]) -> int:
    held = list(rows)
    marks = ", ".join("?" * len(held[0]))
    database.executemany(f"INSERT INTO {table} VALUES ({marks})", held)
    return len(held)


def _profiles(chance: random.Random, count: int) -> Iterator[Sequence[Any]]:
    for number in range(1, count + 1):
        country = chance.choice(list(_CITIES))
        yield (
            number,
            f"person{number}@example.com",
            chance.choice(_FIRST),
            chance.choice(_LAST),
            None if number % 17 == 0 else str(_moment(chance, 25_000).date()),
            chance.choice(["fr", "nl", "de", "en"]),
            country,
            "" if number % 23 == 0 else chance.choice(_CITIES[country]),
            chance.random() < 0.7,
            None if number % 5 == 0 else chance.randrange(0, 9_000),
            chance.choice(_NOTES),
            _stamp(_moment(chance, 365)),
        )


def _products(chance: random.Random, count: int) -> Iterator[Sequence[Any]]:
    for number in range(1, count + 1):
        kind = chance.choice(["book", "garden", "kitchen", "outdoor"])
        yield (
            f"SKU-{number:05d}",
            f"{kind.title()} item {number} {chance.choice(['', '½ price', '27” wide', '(new)'])}".strip(),
            kind,
            chance.randrange(99, 49_999) / 100,
            None if number % 7 == 0 else round(chance.uniform(0.05, 20), 3),
            chance.choice(_NOTES),
            None if number % 3 else chance.randbytes(16),
            chance.random() < 0.9,
            _stamp(_moment(chance, 365)),
        )


def _orders(chance: random.Random, first: int, count: int) -> Iterator[Sequence[Any]]:
    for number in range(first, first + count):
        ordered = _moment(chance, 365)
        yield (
            number,
            chance.randrange(1, 8_001),
            chance.choice(["new", "paid", "shipped", "returned"]),
            chance.randrange(500, 250_000) / 100,
            chance.choice(["EUR", "EUR", "GBP"]),
            chance.choice([None, None, "", "WELCOME10", 'SAY "HI"']),
            _stamp(ordered),
            _stamp(min(ordered + timedelta(hours=chance.randrange(0, 72)), _NEWEST)),
        )


def _participations(chance: random.Random, count: int) -> Iterator[Sequence[Any]]:
    for number in range(1, count + 1):
        answers = {"like": chance.choice(["yes", "no", "très ✓"]), "comment": chance.choice(_NOTES)}
        yield (
            number,
            chance.randrange(1, 8_001),
            chance.choice(["satisfaction", "summer contest", "event, Gent"]),
            json.dumps(answers, ensure_ascii=False),
            None if number % 4 == 0 else chance.randrange(0, 11),
            _stamp(_moment(chance, 365)),
        )


def _subscriptions(chance: random.Random) -> Iterator[Sequence[Any]]:
    for profile in range(1, 8_001):
        for newsletter in chance.sample(_NEWSLETTERS, chance.choice([0, 1, 1, 2])):
            begun = _moment(chance, 365)
            gone = chance.random() < 0.2
            yield (
                profile,
                newsletter,
                "unsubscribed" if gone else "subscribed",
                _stamp(begun),
                _stamp(min(begun + timedelta(days=chance.randrange(1, 90)), _NEWEST)) if gone else None,
            )


def _email_events(chance: random.Random, first: int, count: int) -> Iterator[Sequence[Any]]:
    for number in range(first, first + count):
        event = chance.choice(_EVENTS)
        link = f"https://shop.example.com/?c={number % 40}&n=a,b" if event == "click" else None
        yield (number, chance.randrange(1, 8_001), f"campaign {number % 40}", event, link, _stamp(_moment(chance, 365)))


def _moment(chance: random.Random, days: int) -> datetime:
    return _NEWEST - timedelta(seconds=chance.randrange(1, days * 86_400), microseconds=chance.randrange(1_000_000))


def _stamp(moment: datetime) -> str:
    return moment.isoformat(sep=" ", timespec="microseconds")
