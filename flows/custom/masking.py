"""What rows lose before they leave the house: an example of what `transform` can name."""

from __future__ import annotations

import hashlib

import pandas as pd


def hide_people(batch: pd.DataFrame) -> pd.DataFrame:
    """E-mail addresses become their SHA-256, by which partners match people, and names become initials."""
    names = zip(batch["first_name"], batch["last_name"], strict=True)
    batch["initials"] = [" ".join(f"{name[0]}." for name in pair if name) for pair in names]
    batch["email_sha256"] = [_hashed(email) for email in batch["email"]]
    return batch.drop(columns=["first_name", "last_name", "email"])


def _hashed(email: str | None) -> str | None:
    return None if email is None else hashlib.sha256(email.strip().lower().encode()).hexdigest()
