"""The file an export writes: its name, its format, and what happens in its way."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, field_validator, model_validator

from catalog.model import Frozen, Text, invalid
from catalog.naming import check_pattern


class CsvOptions(Frozen):
    """How rows become text in a csv file."""

    delimiter: Annotated[str, StringConstraints(min_length=1, max_length=1)] = ","
    """The character between two fields."""
    header: bool = True
    """Whether the first line holds the column names."""
    quote: Literal["minimal", "all", "non_numeric", "none"] = "minimal"
    """Which fields stand in double quotes."""
    null: str = ""
    """The text for NULL. A value that equals it is quoted, so the two stay apart."""
    encoding: str = "utf-8"
    """Any text encoding Python knows, as utf-8, utf-8-sig, utf-16, cp1252."""
    line_end: Literal["\n", "\r\n"] = "\n"
    """What ends a line."""

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value: str) -> str:
        if value in '"\r\n\0' or value.isalnum():
            raise ValueError("the delimiter must not be a letter, a digit, a quote or a line end")
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"Python knows no text encoding named {value!r}; try utf-8 or cp1252") from None
        return value

    @model_validator(mode="after")
    def _marks(self) -> Self:
        if set(self.null) & {self.delimiter, '"', "\r", "\n"}:
            raise invalid(
                "the `null` text must not hold the delimiter, a quote or a line end: it stands without quotes"
            )
        try:
            f"{self.delimiter}{self.null}".encode(self.encoding)
        except UnicodeEncodeError:
            raise invalid(f"the encoding {self.encoding} cannot write the `delimiter` or the `null` text") from None
        return self


class File(Frozen):
    """The file an export writes."""

    name: Text
    """The file name, with fields in braces, as `orders_{date:%Y%m%d}.csv`."""
    format: Literal["csv", "parquet"] = "csv"
    """The file format."""
    csv: CsvOptions = CsvOptions()
    """How the csv is written; only for `format: csv`."""
    compression: Literal["none", "gzip"] = "none"
    """Compression of the whole file; parquet compresses itself."""
    max_rows: Annotated[int, Field(gt=0)] | None = None
    """Split after this many rows; then the name needs `{part}`."""
    empty: Literal["header", "skip", "zero_bytes", "fail"] = "header"
    """When there are no rows: a file with the header alone, no file, an empty file, or a failed run."""
    conflict: Literal["fail", "replace"] = "fail"
    """What happens to a file of that name that this export did not write."""
    manifest: bool = False
    """Whether a JSON file follows the last one: files, rows, bytes, sha256 and window, under NAME.manifest.json."""

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        check_pattern(value, key="file.name")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.max_rows is not None) != ("{part" in self.name):
            raise invalid(
                "`max_rows` splits the file, so the name needs {part}, as in orders_{part:03d}.csv"
                if self.max_rows
                else "the name has {part}, but without `max_rows` there is only one file"
            )
        if self.format == "parquet" and self.compression != "none":
            raise invalid("parquet compresses its own columns: leave `compression` out")
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise invalid(f"the `csv` options do not apply to `format: {self.format}`")
        return self
