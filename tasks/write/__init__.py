"""Writing batches into one file, in the format and compression of the definition."""

from tasks.write.choose import FORMS, Writer, open_writer

__all__ = ["FORMS", "Writer", "open_writer"]
