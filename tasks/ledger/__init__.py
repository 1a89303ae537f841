"""The ledger: the only truth about what was allotted, extracted and delivered."""

from tasks.ledger.lock import hold
from tasks.ledger.records import DOWNLOADS, Allotment, Delivery, Extracted
from tasks.ledger.store import Ledger

__all__ = ["DOWNLOADS", "Allotment", "Delivery", "Extracted", "Ledger", "hold"]
