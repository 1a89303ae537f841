"""What every bulk path promises: exactly what the path through Python would give, or `Inexact`."""

from __future__ import annotations


class Inexact(Exception):
    """This path cannot give the rows exactly, or at all: the next one is to read them from the start.

    What is wrong with the data or the database, that path will meet itself and say in its own words.
    """


def met(error: Exception) -> Inexact:
    """What a bulk path raises for an error of its libraries.

    The class alone is named: a message may quote a value, or what the connection was made with.
    """
    return Inexact(f"the bulk path met {type(error).__name__}")
