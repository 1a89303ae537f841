"""What an export *is*: the definition a person writes, frozen and valid.

The keys, their defaults and their meaning are the contract of `docs/definition.md`; every field's
description below is what editors show through the generated JSON Schema. A definition never holds
a secret, so it can be stored in the ledger and shown in Prefect as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator, model_validator
from pydantic_core import PydanticCustomError

from catalog.duration import Duration
from catalog.naming import check_pattern
from catalog.schedule import check_cron, check_timezone

ID_PATTERN = r"^[a-z][a-z0-9_]*$"
ExportId = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=100)]
ExportType = Literal["one_shot", "periodic_full", "incremental"]
EXPORT_TYPES: tuple[str, ...] = get_args(ExportType)
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Label = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=60)]


class Frozen(BaseModel):
    """Base of everything read from YAML: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Cursor(Frozen):
    """How an incremental export knows what is new."""

    column: Text
    """The date or timestamp column that says when a row was last changed."""
    mode: Literal["lag"] = "lag"
    """How the upper bound is chosen. `lag`: the run's logical time minus `lag`."""
    lag: Duration = timedelta(minutes=1)
    """How far the upper bound stays behind the run's logical time, so that slow transactions are in."""
    start: datetime | None = None
    """Where the first window begins; without it, at the beginning of the table."""
    nulls: Literal["fail", "skip"] = "fail"
    """What happens to rows whose cursor column is NULL: stop, or leave them out and count them."""

    @field_validator("start")
    @classmethod
    def _start(cls, value: datetime | None) -> datetime | None:
        # The very first and last days overflow when they are moved into another zone.
        if value is not None and not 1 < value.year < 9999:
            raise ValueError("a window begins between the years 2 and 9998; leave it out for all rows")
        return value


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
            raise _invalid(
                "the `null` text must not hold the delimiter, a quote or a line end: it stands without quotes"
            )
        try:
            f"{self.delimiter}{self.null}".encode(self.encoding)
        except UnicodeEncodeError:
            raise _invalid(f"the encoding {self.encoding} cannot write the `delimiter` or the `null` text") from None
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

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        check_pattern(value, key="file.name")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.max_rows is not None) != ("{part" in self.name):
            raise _invalid(
                "`max_rows` splits the file, so the name needs {part}, as in orders_{part:03d}.csv"
                if self.max_rows
                else "the name has {part}, but without `max_rows` there is only one file"
            )
        if self.format == "parquet" and self.compression != "none":
            raise _invalid("parquet compresses its own columns: leave `compression` out")
        if self.format != "csv" and "csv" in self.model_fields_set:
            raise _invalid(f"the `csv` options do not apply to `format: {self.format}`")
        return self


class Schedule(Frozen):
    """When an export runs."""

    cron: Text | None = None
    """Five cron fields, as `0 2 * * *`."""
    at: datetime | None = None
    """One moment, for a one shot; without a zone it is meant in `timezone`."""
    timezone: str = "UTC"
    """The zone in which `cron` and `at` are meant and dates in names are written, as Europe/Brussels."""

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        check_timezone(value)
        return value

    @field_validator("cron")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            check_cron(value)
        return value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.cron is None) == (self.at is None):
            raise _invalid("a schedule has either `cron` or `at`")
        return self


class Export(Frozen):
    """One export: which rows of which database become which file on which target, and when."""

    id: ExportId
    name: Text
    """What people call it; unique in the catalog."""
    type: ExportType
    """one_shot: once, now or at a moment. periodic_full: everything, each time. incremental: what is new."""
    database: Text
    """The database, a file in `databases/`."""
    table: Text | None = None
    """The table (or `schema.table`) to export; or give `query`."""
    query: Text | None = None
    """A SELECT instead of a table; `columns` and `where` do not apply to it."""
    data_type: Label | None = None
    """What the rows are: profile, linked_data, repository, interaction or finer. Default: the database's `tables`."""
    columns: tuple[Text | dict[Text, Text], ...] | None = None
    """Which columns, in which order; `{column: other_name}` renames one. Default: all."""
    where: Text | None = None
    """A row filter, SQL as it would stand after WHERE."""
    cursor: Cursor | None = None
    """For `type: incremental`: how new rows are found."""
    file: File
    """The file to write."""
    target: Text | None = None
    """Where the file is dropped, a file in `targets/`. A one shot without one drops into the local `downloads`."""
    folder: str = ""
    """A folder below the target, with the same fields as the file name."""
    schedule: Schedule | None = None
    """When it runs. A one shot without one runs on activation."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """How often a step is tried again by itself when database or target do not answer."""

    @field_validator("columns")
    @classmethod
    def _columns(cls, value: tuple[str | dict[str, str], ...] | None) -> tuple[str | dict[str, str], ...] | None:
        if value is None:
            return None
        if not value:
            raise ValueError("`columns` is empty; leave it out for all columns")
        if any(isinstance(entry, dict) and len(entry) != 1 for entry in value):
            raise ValueError("a renamed column is written {column: other_name}, one at a time")
        outputs = [_pair(entry)[1] for entry in value]
        if twice := next((name for name in outputs if outputs.count(name) > 1), None):
            raise ValueError(f"the column {twice!r} would stand twice in the file")
        return value

    @field_validator("folder")
    @classmethod
    def _folder(cls, value: str) -> str:
        for part in value.split("/") if value else []:
            check_pattern(part, key="folder", fields_without={"part"})
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.table is None) == (self.query is None):
            raise _invalid("an export has either `table` or `query`")
        if self.query is not None and (self.columns is not None or self.where is not None):
            raise _invalid("`columns` and `where` do not apply to a `query`: write them into it")
        if (self.type == "incremental") != (self.cursor is not None):
            raise _invalid(
                "an incremental export needs `cursor: {column: ...}`"
                if self.cursor is None
                else f"`cursor` is for `type: incremental`, not for {self.type}"
            )
        if self.schedule is not None and (self.type == "one_shot") != (self.schedule.at is not None):
            raise _invalid(
                "a one shot is scheduled with `at`, not `cron`"
                if self.type == "one_shot"
                else f"`at` is for one shots; a {self.type} export is scheduled with `cron`"
            )
        if self.target is None and self.type != "one_shot":
            raise _invalid("only a one shot may leave `target` out")
        if self.type != "incremental" and re.search(r"\{(since|until)\b", self.file.name + self.folder):
            raise _invalid("{since} and {until} are for incremental exports: others have no window")
        return self

    @property
    def timezone(self) -> ZoneInfo:
        """The zone in which this export's logical time is shown."""
        return ZoneInfo(self.schedule.timezone if self.schedule else "UTC")

    @property
    def column_names(self) -> tuple[tuple[str, str], ...] | None:
        """(column in the table, name in the file) in order, or None for all columns as they are."""
        return None if self.columns is None else tuple(_pair(entry) for entry in self.columns)

    @property
    def source_key(self) -> str:
        """Changes when the watermark of an earlier definition says nothing about this one."""
        return _digest(
            [
                self.database,
                self.table,
                self.query,
                self.cursor and self.cursor.column,
                self.cursor and self.cursor.mode,
            ]
        )

    def frozen(self) -> dict[str, Any]:
        """The definition as plain JSON, without what is left at its default: what a deployment carries."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of the frozen definition: its version."""
        return _digest(self.frozen())


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _pair(entry: str | dict[str, str]) -> tuple[str, str]:
    return (entry, entry) if isinstance(entry, str) else next(iter(entry.items()))


def _invalid(message: str) -> PydanticCustomError:
    return PydanticCustomError("definition", "{message}", {"message": message})
