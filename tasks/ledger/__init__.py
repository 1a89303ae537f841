"""The ledger: the only truth about what was allotted, extracted and delivered."""

from tasks.ledger.records import DOWNLOADS, Allotment, Attempt, Delivered, Delivery, Extracted, Findings, LastFile
from tasks.ledger.store import Ledger
from tasks.ledger.turn import Turn

__all__ = [
    "DOWNLOADS",
    "Allotment",
    "Attempt",
    "Delivered",
    "Delivery",
    "Extracted",
    "Findings",
    "LastFile",
    "Ledger",
    "Turn",
]
