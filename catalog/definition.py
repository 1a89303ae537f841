"""What an export *is*: the definition a person writes, frozen and valid.

The keys, their defaults and their meaning are the contract of `docs/definition.md`; every field's
description below is what editors show through the generated JSON Schema. A definition never holds
a secret, so it can be stored in the ledger and shown in Prefect as it is.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from typing import Annotated, Any, Literal, Self, get_args
from zoneinfo import ZoneInfo

from pydantic import Field, StringConstraints, field_validator, model_validator

from catalog.cursor import Cursor
from catalog.file import File
from catalog.model import ID_PATTERN, LONGEST_ID, Frozen, Label, Text, invalid, repeated
from catalog.naming import check_pattern
from catalog.notification import Notification
from catalog.schedule import check_clock, check_cron, check_moment, check_timezone, earliest_clock

ExportId = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=LONGEST_ID)]
ExportType = Literal["one_shot", "periodic_full", "incremental", "custom", "incremental_custom"]
EXPORT_TYPES: tuple[str, ...] = get_args(ExportType)
#: The types that are all YAML; the others need Python in `flows/custom/`.
STANDARD_TYPES: tuple[ExportType, ...] = ("one_shot", "periodic_full", "incremental")
INCREMENTAL_TYPES: tuple[ExportType, ...] = ("incremental", "incremental_custom")
#: The keys that make an `incremental_custom` export of an incremental one.
CUSTOM_KEYS = ("transform", "column_order")
_FUNCTION = r"^[a-z_][a-z0-9_]*(\.[a-z_][a-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"


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

    @field_validator("at")
    @classmethod
    def _at(cls, value: datetime | None) -> datetime | None:
        if value is not None:
            check_moment(value)
        return value

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.cron is None) == (self.at is None):
            raise invalid("a schedule has either `cron` or `at`")
        return self


class Export(Frozen):
    """One export: which rows of which database become which file on which target, and when."""

    id: ExportId
    name: Text
    """What people call it; unique in the catalog."""
    type: ExportType
    """one_shot: once, now or at a moment. periodic_full: everything, each time. incremental: what is new.
    custom: a Python flow of `flows/custom/` reads the rows. incremental_custom: incremental, with customisations."""
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
    """For `type: incremental` and `incremental_custom`: how new rows are found."""
    transform: Annotated[Text, StringConstraints(pattern=_FUNCTION)] | None = None
    """For `type: incremental_custom`: the function of `flows/custom/` that all rows pass through, `module:function`."""
    column_order: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """For `type: incremental_custom`: the order of the file's columns, those of `transform` too; the others follow."""
    file: File
    """The file to write."""
    target: Text | Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Where the file is dropped: a file in `targets/`, or a list of them, each of which gets the same bytes.
    A one shot without one drops into the local `downloads`."""
    folder: str = ""
    """A folder below the target, with the same fields as the file name."""
    schedule: Schedule | None = None
    """When it runs. A one shot without one runs on activation."""
    expect_by: Text | None = None
    """The time of day, as "06:00" in the schedule's zone, by which a file is expected on each day with a run before it.
    When there is none, whom `report` names is told."""
    report: Notification | None = None
    """Who gets the report of each run; it always stands in Prefect."""
    on_schema_change: Literal["deliver", "fail"] = "deliver"
    """When the file gets other columns than the one before: deliver it and tell, or fail until a person has decided."""
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
        if twice := repeated(_pair(entry)[1] for entry in value):
            raise ValueError(f"the column {twice!r} would stand twice in the file")
        return value

    @field_validator("column_order")
    @classmethod
    def _column_order(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if twice := repeated(value or ()):
            raise ValueError(f"the column {twice!r} would stand twice in the file")
        return value

    @field_validator("target")
    @classmethod
    def _target(cls, value: str | tuple[str, ...] | None) -> str | tuple[str, ...] | None:
        if isinstance(value, tuple) and (twice := repeated(value)):
            raise ValueError(f"the target {twice!r} would get the file twice")
        return value

    @field_validator("expect_by", mode="before")
    @classmethod
    def _expect_by(cls, value: Any) -> Any:
        # Without quotes, YAML reads 06:00 as a number.
        if value is not None:
            check_clock(str(value))
        return value

    @field_validator("folder")
    @classmethod
    def _folder(cls, value: str) -> str:
        for part in value.split("/") if value else []:
            check_pattern(part, key="folder", fields_without={"part"})
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._refuse_what_code_does()
        if (self.table is None) == (self.query is None) and self.type != "custom":
            raise invalid("an export has either `table` or `query`")
        if self.query is not None and (self.columns is not None or self.where is not None):
            raise invalid("`columns` and `where` do not apply to a `query`: write them into it")
        if self.query is not None and self.file.partitions > 1:
            raise invalid("`partitions` reads ranges of a table's blocks, and a `query` has none: leave it out")
        if self.is_incremental != (self.cursor is not None):
            raise invalid(
                "an incremental export needs `cursor: {column: ...}`, or on PostgreSQL `cursor: {mode: xid}`"
                if self.cursor is None
                else f"`cursor` is for `type: incremental`, not for {self.type}"
            )
        if self.schedule is not None and (self.type == "one_shot") != (self.schedule.at is not None):
            raise invalid(
                "a one shot is scheduled with `at`, not `cron`"
                if self.type == "one_shot"
                else f"`at` is for one shots; a {self.type} export is scheduled with `cron`"
            )
        if self.expect_by is not None:
            cron = self.schedule.cron if self.schedule else None
            if cron is None:
                raise invalid("`expect_by` is for exports with `schedule: {cron: ...}`: others have no days")
            if self.expect_by < (earliest := earliest_clock(cron)):
                raise invalid(f"`expect_by` {self.expect_by} is before each day's first run, at {earliest} or later")
        if self.on_schema_change == "fail" and self.type == "one_shot":
            raise invalid(
                "`on_schema_change` compares a file with the one before, and a one shot has none: leave it out"
            )
        if self.target is None and self.type != "one_shot":
            raise invalid("only a one shot may leave `target` out")
        if self.query is not None and self.cursor is not None and self.cursor.mode == "xid":
            raise invalid("mode `xid` reads the rows' own transaction ids, and a `query` has none: use `lag`")
        if not self.is_incremental and re.search(
            r"\{(since|until)\b", f"{self.file.name}{self.file.inner_name}{self.folder}"
        ):
            raise invalid("{since} and {until} are for incremental exports: others have no window")
        return self

    def _refuse_what_code_does(self) -> None:
        customised = [key for key in CUSTOM_KEYS if getattr(self, key) is not None]
        if self.type == "custom":
            written = ("table", "query", "columns", "where", "cursor", *CUSTOM_KEYS)
            if key := next((key for key in written if getattr(self, key) is not None), None):
                raise invalid(
                    f"`{key}` does not apply to a custom export: its rows come from flows/custom/{self.id}.py alone"
                )
            if self.file.partitions > 1:
                raise invalid("`partitions` reads ranges of a table's blocks, and a custom export has no table")
        elif self.type == "incremental_custom":
            if not customised:
                raise invalid("without `transform` or `column_order` the export is `type: incremental`")
            if self.file.partitions > 1:
                raise invalid("`partitions` are read by themselves, and customised rows are not: leave it out")
        elif customised:
            raise invalid(f"`{customised[0]}` is for `type: incremental_custom`, not for {self.type}")

    @property
    def is_incremental(self) -> bool:
        """Whether it delivers what is new, and so has a cursor."""
        return self.type in INCREMENTAL_TYPES

    @property
    def standard_equivalent(self) -> Export | None:
        """The incremental export that this one is without its customisations, with the same watermark; or None."""
        if self.type != "incremental_custom":
            return None
        return self.model_copy(update={"type": "incremental", **dict.fromkeys(CUSTOM_KEYS)})

    @property
    def customisations(self) -> tuple[str, ...]:
        """What sets it apart from its standard equivalent, one plain sentence each."""
        found = []
        if self.transform is not None:
            found.append(f"rows pass through {self.transform}")
        if self.column_order is not None:
            found.append(f"columns stand in the order {', '.join(self.column_order)}")
        return tuple(found)

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets by name, in order; none for a one shot that drops into the local downloads."""
        if self.target is None:
            return ()
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def timezone(self) -> ZoneInfo:
        """The zone in which this export's logical time is shown."""
        return ZoneInfo(self.schedule.timezone if self.schedule else "UTC")

    def in_zone(self, moment: datetime) -> datetime:
        """A moment as a person writes it: without a zone it is meant in the schedule's."""
        return moment if moment.tzinfo else moment.replace(tzinfo=self.timezone)

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
