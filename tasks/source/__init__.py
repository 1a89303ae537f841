"""A database as a source: how far it is settled, what is in the window, and its rows as they are."""
