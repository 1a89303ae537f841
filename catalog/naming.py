"""File names and folders: patterns with a closed set of fields, checked when read and resolved once per window."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic_core import PydanticCustomError

from catalog.duration import parse_duration
from catalog.errors import Code, ExportError
from catalog.suggest import did_you_mean

#: Every field: its meaning and an example as it stands in a pattern.
FIELDS: dict[str, tuple[str, str]] = {
    "date": ("the run's logical time in the schedule's zone", "{date:%Y%m%d}"),
    "since": ("the window's lower bound; `start` for the first window", "{since:%Y%m%dT%H%M}"),
    "until": ("the window's upper bound", "{until:%Y%m%dT%H%M}"),
    "export": ("the export's id", "{export}"),
    "part": ("the number of the part, with file.max_rows, file.max_bytes or file.partitions", "{part:03d}"),
    "run": ("the first 8 digits of the flow-run id", "{run}"),
}
_TIMES = {"date", "since", "until"}
_FIELD = re.compile(r"(?P<name>[a-z]+)(?P<offset>[+-][0-9]+[smhd])?")
# Widths without the 0 would pad with spaces.
_PART_FORMAT = re.compile(r"(0[0-9]{1,2})?d?")
# The directives that mean the same on every platform and in every locale.
_DIRECTIVES = set("YmdHMSfyjUWVGuwz")
_LEGAL = re.compile(r"[\w .=+()@,#~-]+")
#: File systems take 255: the ids of window and upload come behind it, and in a backfill or manifest a word more.
_MOST_BYTES = 170
#: One or two extensions, as `.csv` or `.csv.gz`; numbers behind a dot belong to the name.
_EXTENSION = re.compile(r"(?:\.[A-Za-z][A-Za-z0-9]{0,7}){1,2}$")


@dataclass(frozen=True, slots=True)
class NameFields:
    """What a pattern is filled with; times are shown in `timezone`, an open `since` as `start`."""

    logical_time: datetime
    timezone: ZoneInfo
    since: datetime | None
    until: datetime | None
    export: str
    run_id: str


def check_pattern(pattern: str, *, key: str, fields_without: Collection[str] = ()) -> None:
    """Refuse a pattern that could not give a legal name.

    Raises PydanticCustomError of type NAME_FIELD_UNKNOWN or NAME_INVALID.
    """
    try:
        example(pattern, "export", fields_without=fields_without, key=key)
    except ExportError as error:
        raise PydanticCustomError(
            error.code.text, "{message}", {"message": error.message, "hint": error.hint}
        ) from None


def example(pattern: str, export_id: str, *, fields_without: Collection[str] = (), key: str = "file.name") -> str:
    """What the pattern gives on an ordinary day, part 1."""
    day = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)
    fields = NameFields(day, ZoneInfo("UTC"), day - timedelta(days=1), day, export_id, "9f1c2ab0" + "0" * 24)
    return fill_part(render(pattern, fields, key=key, fields_without=fields_without), 1)


def render(pattern: str, fields: NameFields, *, key: str, fields_without: Collection[str] = ()) -> str:
    """One name (no `/`) with every field filled but `{part}`, which waits for `fill_part`.

    Raises ExportError NAME_FIELD_UNKNOWN or NAME_INVALID.
    """
    pieces = []
    for literal, field in _parse(pattern, key):
        if "{" in literal or "}" in literal:
            raise _invalid(pattern, key, "a brace cannot be part of a name")
        pieces.append(literal)
        if field is not None:
            pieces.append(_fill(pattern, field, fields, key, fields_without))
    name = unicodedata.normalize("NFC", "".join(pieces))
    _refuse_illegal(pattern, fill_part(name, 1), key)
    return name


def render_folder(pattern: str, fields: NameFields) -> str:
    """The folder below the target, part by part; an empty pattern is the target itself."""
    parts = pattern.split("/") if pattern else []
    return "/".join(render(part, fields, key="folder", fields_without={"part"}) for part in parts)


def fill_part(name: str, part: int) -> str:
    """The name of one part of the file, counted from 1."""
    return re.sub(r"\{part(?::([^}]*))?\}", lambda match: format(part, _int_format(match[1])), name)


def beside_schedule(name: str, run_id: str) -> str:
    """The name of a backfill's file, which no scheduled run has: `orders_20261123_backfill_9f1c2ab0.csv`."""
    own = run_id[:8]
    if own in name:
        return name
    extension = _EXTENSION.search(name)
    end = extension.start() if extension else len(name)
    return f"{name[:end]}_backfill_{own}{name[end:]}"


def _int_format(form: str | None) -> str:
    return (form or "d") if (form or "d").endswith("d") else f"{form}d"


def _parse(pattern: str, key: str) -> Iterator[tuple[str, tuple[str, str, str] | None]]:
    """(literal, (name, offset, format) or None) in order."""
    try:
        parsed = list(string.Formatter().parse(pattern))
    except ValueError as error:
        hint = "; write {date:%Y}/{date:%m}, with the / between two fields" if key == "folder" else ""
        raise _invalid(pattern, key, f"its braces do not match ({error}){hint}") from None
    for literal, field, form, conversion in parsed:
        if field is None:
            yield literal, None
            continue
        if "{" in (form or ""):
            raise _invalid(pattern, key, "a field cannot stand inside another")
        match = _FIELD.fullmatch(field)
        if conversion or match is None or match["name"] not in FIELDS:
            shown = field + (f"!{conversion}" if conversion else "")
            raise ExportError(
                Code.NAME_FIELD_UNKNOWN,
                f"`{key}: {pattern}` has an unknown field {{{shown}}}{did_you_mean(field, FIELDS)}",
                "the fields are " + ", ".join(sample for _, sample in FIELDS.values()),
                key=key,
            )
        yield literal, (match["name"], match["offset"] or "", form or "")


def _fill(
    pattern: str, field: tuple[str, str, str], fields: NameFields, key: str, fields_without: Collection[str]
) -> str:
    name, offset, form = field
    if name in fields_without:
        raise _invalid(pattern, key, f"{{{name}}} has no place in a {key}")
    if name in _TIMES:
        moment = {"date": fields.logical_time, "since": fields.since, "until": fields.until}[name]
        return _time_text(pattern, moment, offset, form, fields.timezone, key)
    if offset:
        raise _invalid(pattern, key, f"only times take an offset, not {{{name}}}")
    if name == "part":
        if _PART_FORMAT.fullmatch(form) is None:
            raise _invalid(pattern, key, f"{form!r} is no number format for {{part}}; write {{part:03d}}")
        return "{part:" + form + "}" if form else "{part}"
    if form:
        raise _invalid(pattern, key, f"{{{name}}} takes no format")
    return fields.export if name == "export" else fields.run_id[:8]


def _time_text(pattern: str, moment: datetime | None, offset: str, form: str, timezone: ZoneInfo, key: str) -> str:
    form = form or "%Y%m%d"
    directives = re.findall(r"%(.?)", form)
    if not directives or any(directive not in _DIRECTIVES or not directive for directive in directives):
        raise _invalid(pattern, key, f"{form!r} is no date format; write one as %Y%m%d or %Y%m%dT%H%M%S")
    if moment is None:
        return "start"
    try:
        return _shifted(moment, offset, timezone).strftime(form)
    except (ValueError, OverflowError) as error:
        raise _invalid(pattern, key, f"its time cannot be written ({error})") from None


def _shifted(moment: datetime, offset: str, timezone: ZoneInfo) -> datetime:
    """The moment in the zone, shifted. A day back is the day before on the calendar, also when it has 25 hours."""
    if not offset:
        return moment.astimezone(timezone)
    shift = parse_duration(offset[1:]) * (-1 if offset[0] == "-" else 1)
    if offset.endswith("d"):
        return moment.astimezone(timezone) + shift
    return (moment.astimezone(UTC) + shift).astimezone(timezone)


def _refuse_illegal(pattern: str, name: str, key: str) -> None:
    reason = None
    if not name:
        reason = "it is empty"
    elif name.startswith("."):
        reason = "a name must not begin with a dot"
    elif name != name.strip():
        reason = "a name must not begin or end with a space"
    elif _LEGAL.fullmatch(name) is None:
        wrong = sorted({character for character in name if _LEGAL.fullmatch(character) is None})
        reason = f"it holds {' '.join(repr(character) for character in wrong)}"
    elif len(name.encode()) > _MOST_BYTES:
        reason = f"it is longer than {_MOST_BYTES} bytes"
    if reason is not None:
        raise _invalid(pattern, key, f"it gives {name!r}, and {reason}")


def _invalid(pattern: str, key: str, reason: str) -> ExportError:
    return ExportError(
        Code.NAME_INVALID,
        f"`{key}: {pattern}` cannot be used: {reason}",
        "use letters, digits, spaces and ._=+-()@,#~ in one part of a path, as orders_{date:%Y%m%d}.csv",
        key=key,
    )
