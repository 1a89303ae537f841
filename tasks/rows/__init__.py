"""Rows in memory: columns, values, their one text and their exact types, and batches of them."""
