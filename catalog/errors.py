"""Every failure has one permanent code, and the code says what helps.

    ExportError
     ├─ EDIT      edit the definition, relaunching cannot help
     │    YAML_SYNTAX DEFINITION_INVALID DEFINITION_DUPLICATE DEFINITION_UNREGISTERED SECRET_LITERAL
     │    SCHEDULE_INVALID NAME_INVALID NAME_NOT_UNIQUE NAME_FIELD_UNKNOWN COLUMN_MISSING SQL_ERROR
     │    QUERY_INVALID CURSOR_TYPE KEY_MISSING EXPORT_UNKNOWN TARGET_UNSUPPORTED TARGET_CANNOT_RENAME
     │    XID_UNSUPPORTED XID_WRAPPED PARTITIONS_UNSUPPORTED
     ├─ FIX       fix something outside, then relaunch
     │    SECRET_MISSING SOURCE_AUTH SOURCE_DENIED DRIVER_MISSING SPOOL_FULL TARGET_DENIED TARGET_FULL
     │    TARGET_AUTH HOST_KEY_MISMATCH CERTIFICATE_INVALID LEDGER_VERSION PACKAGES_MIXED STATUS_REFUSED
     │    SOURCE_PRIVILEGE FRONTIER_HELD FRONTIER_PREPARED KEY_INVALID TRANSFORM_FAILED CUSTOM_FAILED
     ├─ AUTO      the run tries again by itself, and a relaunch helps too
     │    SOURCE_UNREACHABLE SOURCE_LOST SOURCE_CONFLICT TARGET_UNREACHABLE UPLOAD_MISMATCH
     │    LEDGER_UNREACHABLE STOPPED PROCESS_VANISHED PREFECT_UNREACHABLE CLOCK_BEHIND
     ├─ RELAUNCH  a relaunch helps, but only a person should start it
     │    SOURCE_TIMEOUT SPOOL_DAMAGED EXPORT_BUSY CANCELLED INTERNAL
     ├─ DECIDE    a person has to say what is right
     │    CURSOR_NULL CURSOR_IN_FUTURE VALUE_UNENCODABLE FILE_EXISTS FILE_FOREIGN FILE_GONE
     │    PUBLICATION_UNKNOWN EMPTY_RESULT SOURCE_CHANGED LEDGER_OLD SOURCE_REPLACED SOURCE_REWOUND SOURCE_REWRITTEN
     │    FILE_LATE SCHEMA_CHANGED
     └─ NOTHING   nothing has to be done: another run does the work, or the run succeeded with a warning
          FENCED_OUT LATE_ROWS CURSOR_UNINDEXED

A code is never renamed and never reused: other people's scripts stand on it.
"""

from __future__ import annotations

from enum import Enum, StrEnum


class Remedy(StrEnum):
    """What has to happen before the work can succeed."""

    EDIT = "edit the definition"
    FIX = "fix what the message names, then relaunch"
    AUTO = "it is tried again by itself; a relaunch helps too"
    RELAUNCH = "relaunch"
    DECIDE = "a person has to decide"
    NOTHING = "nothing has to be done"


class Code(Enum):
    """The permanent error codes, each with its remedy."""

    YAML_SYNTAX = ("YAML_SYNTAX", Remedy.EDIT)
    DEFINITION_INVALID = ("DEFINITION_INVALID", Remedy.EDIT)
    DEFINITION_DUPLICATE = ("DEFINITION_DUPLICATE", Remedy.EDIT)
    DEFINITION_UNREGISTERED = ("DEFINITION_UNREGISTERED", Remedy.EDIT)
    SECRET_LITERAL = ("SECRET_LITERAL", Remedy.EDIT)
    SCHEDULE_INVALID = ("SCHEDULE_INVALID", Remedy.EDIT)
    NAME_INVALID = ("NAME_INVALID", Remedy.EDIT)
    NAME_NOT_UNIQUE = ("NAME_NOT_UNIQUE", Remedy.EDIT)
    NAME_FIELD_UNKNOWN = ("NAME_FIELD_UNKNOWN", Remedy.EDIT)
    COLUMN_MISSING = ("COLUMN_MISSING", Remedy.EDIT)
    SQL_ERROR = ("SQL_ERROR", Remedy.EDIT)
    QUERY_INVALID = ("QUERY_INVALID", Remedy.EDIT)
    CURSOR_TYPE = ("CURSOR_TYPE", Remedy.EDIT)
    KEY_MISSING = ("KEY_MISSING", Remedy.EDIT)
    EXPORT_UNKNOWN = ("EXPORT_UNKNOWN", Remedy.EDIT)
    TARGET_UNSUPPORTED = ("TARGET_UNSUPPORTED", Remedy.EDIT)
    XID_UNSUPPORTED = ("XID_UNSUPPORTED", Remedy.EDIT)
    XID_WRAPPED = ("XID_WRAPPED", Remedy.EDIT)
    PARTITIONS_UNSUPPORTED = ("PARTITIONS_UNSUPPORTED", Remedy.EDIT)
    TARGET_CANNOT_RENAME = ("TARGET_CANNOT_RENAME", Remedy.EDIT)

    SECRET_MISSING = ("SECRET_MISSING", Remedy.FIX)
    SOURCE_AUTH = ("SOURCE_AUTH", Remedy.FIX)
    SOURCE_DENIED = ("SOURCE_DENIED", Remedy.FIX)
    DRIVER_MISSING = ("DRIVER_MISSING", Remedy.FIX)
    SPOOL_FULL = ("SPOOL_FULL", Remedy.FIX)
    TARGET_DENIED = ("TARGET_DENIED", Remedy.FIX)
    TARGET_FULL = ("TARGET_FULL", Remedy.FIX)
    TARGET_AUTH = ("TARGET_AUTH", Remedy.FIX)
    HOST_KEY_MISMATCH = ("HOST_KEY_MISMATCH", Remedy.FIX)
    CERTIFICATE_INVALID = ("CERTIFICATE_INVALID", Remedy.FIX)
    LEDGER_VERSION = ("LEDGER_VERSION", Remedy.FIX)
    PACKAGES_MIXED = ("PACKAGES_MIXED", Remedy.FIX)
    STATUS_REFUSED = ("STATUS_REFUSED", Remedy.FIX)
    KEY_INVALID = ("KEY_INVALID", Remedy.FIX)
    SOURCE_PRIVILEGE = ("SOURCE_PRIVILEGE", Remedy.FIX)
    FRONTIER_HELD = ("FRONTIER_HELD", Remedy.FIX)
    FRONTIER_PREPARED = ("FRONTIER_PREPARED", Remedy.FIX)
    TRANSFORM_FAILED = ("TRANSFORM_FAILED", Remedy.FIX)
    CUSTOM_FAILED = ("CUSTOM_FAILED", Remedy.FIX)

    SOURCE_UNREACHABLE = ("SOURCE_UNREACHABLE", Remedy.AUTO)
    SOURCE_LOST = ("SOURCE_LOST", Remedy.AUTO)
    SOURCE_CONFLICT = ("SOURCE_CONFLICT", Remedy.AUTO)
    TARGET_UNREACHABLE = ("TARGET_UNREACHABLE", Remedy.AUTO)
    UPLOAD_MISMATCH = ("UPLOAD_MISMATCH", Remedy.AUTO)
    LEDGER_UNREACHABLE = ("LEDGER_UNREACHABLE", Remedy.AUTO)
    STOPPED = ("STOPPED", Remedy.AUTO)
    PROCESS_VANISHED = ("PROCESS_VANISHED", Remedy.AUTO)
    PREFECT_UNREACHABLE = ("PREFECT_UNREACHABLE", Remedy.AUTO)
    CLOCK_BEHIND = ("CLOCK_BEHIND", Remedy.AUTO)

    SOURCE_TIMEOUT = ("SOURCE_TIMEOUT", Remedy.RELAUNCH)
    SPOOL_DAMAGED = ("SPOOL_DAMAGED", Remedy.RELAUNCH)
    EXPORT_BUSY = ("EXPORT_BUSY", Remedy.RELAUNCH)
    CANCELLED = ("CANCELLED", Remedy.RELAUNCH)
    INTERNAL = ("INTERNAL", Remedy.RELAUNCH)

    CURSOR_NULL = ("CURSOR_NULL", Remedy.DECIDE)
    CURSOR_IN_FUTURE = ("CURSOR_IN_FUTURE", Remedy.DECIDE)
    VALUE_UNENCODABLE = ("VALUE_UNENCODABLE", Remedy.DECIDE)
    FILE_EXISTS = ("FILE_EXISTS", Remedy.DECIDE)
    FILE_FOREIGN = ("FILE_FOREIGN", Remedy.DECIDE)
    FILE_GONE = ("FILE_GONE", Remedy.DECIDE)
    PUBLICATION_UNKNOWN = ("PUBLICATION_UNKNOWN", Remedy.DECIDE)
    EMPTY_RESULT = ("EMPTY_RESULT", Remedy.DECIDE)
    SOURCE_CHANGED = ("SOURCE_CHANGED", Remedy.DECIDE)
    LEDGER_OLD = ("LEDGER_OLD", Remedy.DECIDE)
    SOURCE_REPLACED = ("SOURCE_REPLACED", Remedy.DECIDE)
    SOURCE_REWOUND = ("SOURCE_REWOUND", Remedy.DECIDE)
    SOURCE_REWRITTEN = ("SOURCE_REWRITTEN", Remedy.DECIDE)
    FILE_LATE = ("FILE_LATE", Remedy.DECIDE)
    SCHEMA_CHANGED = ("SCHEMA_CHANGED", Remedy.DECIDE)

    FENCED_OUT = ("FENCED_OUT", Remedy.NOTHING)
    LATE_ROWS = ("LATE_ROWS", Remedy.NOTHING)
    CURSOR_UNINDEXED = ("CURSOR_UNINDEXED", Remedy.NOTHING)

    def __init__(self, text: str, remedy: Remedy) -> None:
        self.text = text
        self.remedy = remedy

    def __str__(self) -> str:
        return self.text

    @property
    def relaunchable(self) -> bool:
        """Whether starting the same run again can succeed without editing the definition."""
        return self.remedy in (Remedy.AUTO, Remedy.RELAUNCH, Remedy.FIX)

    @property
    def tried_again(self) -> bool:
        """Whether the run itself tries the step again, with growing pauses."""
        return self.remedy is Remedy.AUTO


class ExportError(Exception):
    """A failure with its code, what happened to what and why (`message`), and what to try (`hint`).

    Both texts are shown to people and copied into Prefect's state messages: they must never hold
    a secret or a row's value. `file`, `line` (1-based) and `key` say where in the YAML it lies.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        hint: str | None = None,
        *,
        export: str | None = None,
        file: str | None = None,
        line: int | None = None,
        key: str | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.hint = hint
        self.export = export
        self.file = file
        self.line = line
        self.key = key

    def __reduce__(self) -> tuple[object, ...]:
        # Prefect pickles exceptions; the default would call __init__ with the joined text only.
        place = {"export": self.export, "file": self.file, "line": self.line, "key": self.key}
        return (_rebuild, (self.code.name, self.message, self.hint, place))


def _rebuild(code: str, message: str, hint: str | None, place: dict[str, str | int | None]) -> ExportError:
    return ExportError(Code[code], message, hint, **place)  # type: ignore[arg-type]


def state_message(error: ExportError) -> str:
    """`CODE: what happened. Try: what helps.`: how a failed run's state begins with its code."""
    return f"{error.code}: {error.message}" + (f"{_TRY}{error.hint}" if error.hint else "")


def from_state_message(text: str) -> tuple[Code | None, str, str | None]:
    """(code, message, hint) of a state message; the code is None when it is none of ours."""
    code = code_of(text)
    message, _, hint = text.partition(_TRY)
    return code, message.removeprefix(f"{code}: ") if code else message, hint or None


_TRY = ". Try: "


def code_of(text: str | None) -> Code | None:
    """The code a state message begins with, or None."""
    head = (text or "").split(":", 1)[0].strip()
    return Code.__members__.get(head)
