"""The ledger: the only truth about what was allotted, extracted and delivered."""

from tasks.ledger.lock import hold
from tasks.ledger.store import Allotment, Delivery, Extracted, Ledger

__all__ = ["Allotment", "Delivery", "Extracted", "Ledger", "hold"]
