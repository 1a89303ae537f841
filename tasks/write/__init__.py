"""Writing batches into one file, in the format and compression of the definition."""

from tasks.write.choose import FORMS, open_stream, open_writer
from tasks.write.contract import Writer
from tasks.write.delimited import CsvWriter

__all__ = ["FORMS", "CsvWriter", "Writer", "open_stream", "open_writer"]
