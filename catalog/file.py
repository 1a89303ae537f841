"""The file an export writes: its name, its format, and what happens in its way."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, ValidationInfo, field_validator, model_validator

from catalog.duration import Duration
from catalog.encryption import Encryption
from catalog.model import Frozen, Text, invalid
from catalog.naming import check_pattern
from catalog.size import Size

#: The strftime directives that mean the same on every platform and in every locale (names are English), and %f.
STRFTIME = "YmdHMSfyjaAbBpIuwUWVGzZ%"
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
Strftime = Annotated[str, StringConstraints(min_length=1)]
#: Rows that a sheet of an xlsx file holds below its header.
XLSX_ROWS = 1_048_575
_ENCRYPTED = re.compile(r"\.(pgp|gpg|asc)$")
_COMPRESSED = {
    "parquet": "parquet compresses its own columns: leave `compression` out",
    "xlsx": "an xlsx file is compressed already: leave `compression` out",
}


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
    unencodable: Literal["fail", "replace"] = "fail"
    """What a character does that the encoding cannot write: fail the run, or become a question mark."""
    decimal_mark: Literal[".", ","] = "."
    """What stands before the fraction in number columns."""
    date_format: Strftime | None = None
    """How date columns are written, as strftime; without it, as 2026-11-23."""
    timestamp_format: Strftime | None = None
    """How timestamp columns are written, as strftime, those with a zone in UTC; without it, every digit."""
    line_end: Literal["\n", "\r\n"] = "\n"
    """What ends a line."""
    formulas: Literal["keep", "escape", "reject"] = "keep"
    """Texts that a spreadsheet takes for a formula: as they are, behind an apostrophe, or a failed run."""

    @property
    def canonical(self) -> bool:
        """Whether every cell is the canonical text of its value, but for quotes."""
        return (self.decimal_mark, self.formulas) == (".", "keep") and not (self.date_format or self.timestamp_format)

    @field_validator("delimiter")
    @classmethod
    def _delimiter(cls, value: str) -> str:
        if value in '"\r\n\0' or value.isalnum():
            raise ValueError("the delimiter must not be a letter, a digit, a quote or a line end")
        return value

    @field_validator("date_format", "timestamp_format")
    @classmethod
    def _format(cls, value: str | None) -> str | None:
        for found in _DIRECTIVE.finditer(value or ""):
            if found[1] not in set(STRFTIME):
                raise ValueError(f"{found[0]} is none of the directives {' '.join(f'%{each}' for each in STRFTIME)}")
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
        if not _can_write(self.encoding, f"{self.delimiter}{self.null}"):
            raise invalid(f"the encoding {self.encoding} cannot write the `delimiter` or the `null` text")
        formats = (self.date_format or "") + (self.timestamp_format or "")
        if self.unencodable == "fail" and not _can_write(self.encoding, formats):
            raise invalid(f"the encoding {self.encoding} cannot write the `date_format` or the `timestamp_format`")
        if self.unencodable == "replace" and "?" in f"{self.delimiter}{self.null}":
            raise invalid(
                "with `unencodable: replace` neither the `delimiter` nor the `null` text can have a question mark"
            )
        if self.decimal_mark == self.delimiter and self.quote in ("none", "non_numeric"):
            raise invalid(
                f"`quote: {self.quote}` leaves numbers without quotes: `decimal_mark` and `delimiter` must differ"
            )
        return self


def _can_write(encoding: str, text: str) -> bool:
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


class File(Frozen):
    """The file an export writes."""

    name: Text
    """The file name, with fields in braces, as `orders_{date:%Y%m%d}.csv`."""
    format: Literal["csv", "jsonl", "parquet", "xlsx"] = "csv"
    """The file format."""
    csv: CsvOptions = CsvOptions()
    """How the csv is written; only for `format: csv`."""
    compression: Literal["none", "gzip", "zip", "zstd"] = "none"
    """Compression of the whole file; parquet and xlsx compress themselves."""
    encryption: Encryption | None = None
    """For whom each file is encrypted, after compression, and who signs it. ASCII when the name ends in .asc."""
    inner_name: Text | None = None
    """What the file in a zip is called, with the same fields as the name. Default: the zip's name without .zip."""
    max_rows: Annotated[int, Field(gt=0)] | None = None
    """Split after this many rows; then the name needs `{part}`."""
    max_bytes: Size | None = None
    """csv and jsonl: split before a part gets larger than this, uncompressed; then the name needs `{part}`."""
    partitions: Annotated[int, Field(ge=1, le=32)] = 1
    """PostgreSQL tables: read so many ranges at the same time, into a part each with `{part}`, or into one file."""
    empty: Literal["header", "skip", "zero_bytes", "fail"] = "header"
    """When there are no rows: a file with the header alone, no file, an empty file, or a failed run."""
    conflict: Literal["fail", "replace"] = "fail"
    """What happens to a file of that name that this export did not write."""
    keep: Annotated[Duration, Field(gt=timedelta(0))] | None = None
    """After each delivery, what this export delivered to the target longer ago than this is removed there."""
    manifest: bool = False
    """Whether a JSON file follows the last one: files, rows, bytes, sha256 and window, under NAME.manifest.json."""
    checksum: Literal["none", "sha256"] = "none"
    """Whether each file has one beside it, NAME.sha256, that `sha256sum -c` reads."""
    done: bool = False
    """Whether an empty file, NAME.done, follows after everything else."""

    @property
    def in_parts(self) -> bool:
        """Whether the name is one for several files."""
        return "{part" in self.name

    def member_of(self, name: str) -> str:
        """What the zip of that name holds, where `inner_name` does not say it."""
        return self._plain(name).removesuffix(".zip")

    def _plain(self, name: str) -> str:
        return _ENCRYPTED.sub("", name) if self.encryption else name

    @field_validator("name", "inner_name")
    @classmethod
    def _name(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            check_pattern(value, key=f"file.{info.field_name}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        limit = "max_rows" if self.max_rows is not None else "max_bytes" if self.max_bytes is not None else None
        if limit and self.partitions > 1:
            raise invalid(f"`{limit}` and `partitions` would both split the file: leave one of them out")
        if limit and not self.in_parts:
            raise invalid(f"`{limit}` splits the file, so the name needs {{part}}, as in orders_{{part:03d}}.csv")
        if self.in_parts and limit is None and self.partitions == 1:
            raise invalid(
                "the name has {part}, but without `max_rows`, `max_bytes` or `partitions` there is only one file"
            )
        if self.max_bytes is not None and self.format in _COMPRESSED:
            raise invalid(f"how large rows are in {self.format} is not known before it is written: use `max_rows`")
        if self.partitions > 1 and not self.in_parts and self.format in _COMPRESSED:
            raise invalid(
                f"`partitions` cannot be joined into one {self.format} file, so the name needs {{part}}, "
                f"as in orders_{{part}}.{self.format}"
            )
        if self.partitions > 1 and not self.in_parts and self.encryption is not None:
            raise invalid(
                "`partitions` would stand in the spool in clear before they are joined and encrypted, "
                "so the name needs {part}, as in orders_{part}.csv.pgp"
            )
        if self.compression != "none" and self.format in _COMPRESSED:
            raise invalid(_COMPRESSED[self.format])
        if self.inner_name is not None and self.compression != "zip":
            raise invalid("`inner_name` is what the file in a zip is called: it needs `compression: zip`")
        if self.inner_name is not None and "{part" in self.inner_name and not self.in_parts:
            raise invalid("`inner_name` has {part}, and the name has not")
        if self.compression == "zip" and self.inner_name is None and not self._plain(self.name).endswith(".zip"):
            raise invalid(
                "the file in a zip has its name without .zip, so the name needs it, as in orders.csv.zip; "
                "or give it another with `inner_name`"
            )
        if self.format == "xlsx" and self.max_rows and self.max_rows > XLSX_ROWS:
            raise invalid(f"a sheet of an xlsx file holds {XLSX_ROWS} rows: `max_rows` must not be more")
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise invalid(f"the `csv` options do not apply to `format: {self.format}`")
        return self
