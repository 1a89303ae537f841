"""The report of a run in words, for a terminal and for a message."""

from __future__ import annotations

from datetime import UTC, datetime

from catalog.errors import Code
from catalog.receipt import RunReport, bytes_of, settled_words, size_text

#: A message is cut off by some services; the report in Prefect names every file.
_MOST_FILES = 20


def facts(report: RunReport, *, most_files: int | None = None) -> list[tuple[str, str]]:
    """(what, its value in words) of everything that a report holds, in the order in which it is read."""
    lines = [
        ("export", report.export),
        ("run", report.run_id),
        ("status", report.status),
        ("started", moment(report.started_at)),
        ("ended", moment(report.ended_at)),
        ("duration", f"{report.duration_seconds:.1f} s" if report.duration_seconds is not None else "-"),
        ("attempts", str(report.attempts)),
    ]
    if report.until:
        since = moment(report.since) if report.since else "the beginning"
        lines.append(("window", f"{since} to {moment(report.until)}"))
    shown = report.files[:most_files]
    lines += [("file", f"{file.path} ({file.rows:,} rows, {size_text(file.bytes)})") for file in shown]
    if more := len(report.files) - len(shown):
        lines.append(("file", f"and {more} more"))
    lines += [("target", f"{found.target}: {found.state}") for found in report.targets]
    lines += [("rows", f"{report.rows:,}"), ("bytes", f"{bytes_of(report.files):,}")]
    lines += [("note", note) for note in report.notes]
    if report.error_code:
        lines.append(("error", f"{report.error_code}: {report.error_message}"))
        lines += [("try", report.error_hint)] if report.error_hint else []
        lines.append(("relaunch", _relaunch(report)))
    else:
        lines.append(("report", report.message))
    return lines


def subject(report: RunReport) -> str:
    """`[exports] orders succeeded: orders_20261125.csv`, or `[exports] orders failed: TARGET_UNREACHABLE`."""
    names = list(dict.fromkeys(file.name for file in report.files))
    what = report.error_code or (f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else "".join(names))
    return f"[exports] {report.export} {report.status}: {what or report.message}"


def body(report: RunReport, name: str, link: str | None) -> str:
    """The message: the export's name, the report, and where the run stands in the Prefect UI, if anybody knows."""
    lines = facts(report, most_files=_MOST_FILES) + ([("link", link)] if link else [])
    return "\n".join([name, "", *(f"{what}: {value}" for what, value in lines)])


def late_subject(export_id: str, deadline: str) -> str:
    """`[exports] orders late: no file by 2026-11-25 06:00 Europe/Brussels`."""
    return f"[exports] {export_id} late: no file by {deadline}"


def late_body(
    export_id: str, name: str, deadline: str, delivered_at: datetime | None, newest_run: str, link: str | None
) -> str:
    """The message of a file that was not there in time; `delivered_at` is when it came after all."""
    lines = [
        ("export", export_id),
        ("expected by", deadline),
        ("delivered", moment(delivered_at)),
        ("newest run", newest_run),
        ("try", f"exports runs {export_id}"),
        *([("link", link)] if link else []),
    ]
    return "\n".join([name, "", *(f"{what}: {value}" for what, value in lines)])


def moment(value: datetime | None) -> str:
    """`2026-11-25 10:00:00 UTC`, or `-`."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if value else "-"


def _relaunch(report: RunReport) -> str:
    if report.delivered_by:
        return f"not needed: this window was {settled_words(report.delivered_by)}"
    if report.relaunchable:
        return f"helps: exports relaunch {report.export} --run {report.run_id}"
    return "does not help: " + Code[report.error_code or "INTERNAL"].remedy.value
