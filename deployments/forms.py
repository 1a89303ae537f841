"""The management actions that have no button in Prefect: a flow each, whose parameters are a form in its UI.

They run on a worker and so with its catalog; each calls the function that the command calls.
"""

import socket
from collections.abc import Iterable, Sequence
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State

from catalog.errors import Remedy
from catalog.problem import Problem
from catalog.receipt import size_text
from deployments.answer import Answer, answered
from deployments.authoring import copy_export
from deployments.carry_out import carry_out, differences
from deployments.download import LINK_SECONDS, locate
from deployments.lifecycle import lost_by_unscheduling
from deployments.lifecycle import unschedule as unschedule_export
from deployments.plan_text import sentence
from deployments.trying import TriedTarget, check_and_try
from deployments.workspace import Workspace
from flows.markdown import table


@flow(name="check", flow_run_name="check", persist_result=False)
def check(ids: tuple[str, ...] = (), connect: bool = False) -> State[Any]:
    """Find what is wrong with the definitions before anything runs.

    Args:
        ids: The exports to check, by id. Leave it empty for all of them.
        connect: Try the targets too, step by step, with a tiny hidden file that is removed again.
    """
    return answered("exports-check", lambda workspace: _check(workspace, list(ids) or None, connect))


@flow(name="copy", flow_run_name="copy {id} to {new_id}", persist_result=False)
def copy(id: str, new_id: str, name: str = "") -> State[Any]:
    """Begin a new draft from an export: everything but its watermark and its runs.

    Args:
        id: The export to copy.
        new_id: The new draft's id: lower-case letters, digits and _, beginning with a letter.
        name: The new draft's name. Leave it empty to call it a copy.
    """
    return answered("exports-copy", lambda workspace: _copy(workspace, id, new_id, name or None))


@flow(name="unschedule", flow_run_name="unschedule {id}", persist_result=False)
def unschedule(id: str, convert: bool = False) -> State[Any]:
    """Switch an export's schedule off and remove every run that has not started, late ones too.

    Args:
        id: The export. It is a draft afterwards; its watermark stays, so activating it again leaves no gap.
        convert: Needed for an incremental_custom export, which becomes a standard incremental one for good: its
            transform and its column order are lost, in the catalog too. Without this, it is refused, and what it would
            lose is said.
    """
    return answered("exports-unschedule", lambda workspace: _unschedule(workspace, id, convert))


@flow(name="download", flow_run_name="download {id}", persist_result=False)
def download(id: str, run: str = "") -> State[Any]:
    """Say where the file of a finished one shot is, and give a link to it where its target has such.

    Args:
        id: The export.
        run: The run, by its id or the first eight digits of it. Leave it empty for the newest.
    """
    return answered("exports-download", lambda workspace: _download(workspace, id, run or None))


@flow(name="apply", flow_run_name="apply the catalog", persist_result=False)
def apply(dry_run: bool = True, activate_new: bool = False, since: str = "") -> State[Any]:
    """Bring Prefect to the catalog: new exports are deployed, edited ones updated, those that left it removed.

    Args:
        dry_run: Only show what would change. Switch it off to carry that out.
        activate_new: Switch new exports on at once. Otherwise they are deployed paused, as drafts.
        since: Where an export begins whose source or cursor was changed: start, now, or a moment as 2026-11-01T00:00.
    """
    return answered("exports-apply", lambda workspace: _apply(workspace, dry_run, activate_new, since or None))


def _check(workspace: Workspace, ids: list[str] | None, connect: bool) -> Answer:
    catalog = workspace.catalog
    problems, tried = check_and_try(catalog, ids, connect=connect)
    errors = [problem for problem in problems if problem.severity == "error"]
    count = len(ids or catalog.exports)
    line = f"{_count(count, 'export')} checked, {_count(len(problems), 'problem')} found"
    full = f"# Check\n\n{line}.\n\n{_problems(problems)}\n\n{_targets(tried)}"
    if not errors:
        return Answer(line, full)
    worst = f"{errors[0].code}: {errors[0].message}; {_count(len(errors), 'error')} in {_count(count, 'export')}"
    return Answer(f"{worst}. Try: {errors[0].hint or Remedy.EDIT}", full, is_well=False)


def _problems(problems: Sequence[Problem]) -> str:
    rows = [
        (
            found.severity,
            found.export or "-",
            str(found.code),
            ":".join(str(part) for part in (found.file, found.line) if part) or "-",
            found.message,
            found.hint or "-",
        )
        for found in problems
    ]
    return table(("severity", "export", "code", "where", "what", "try"), rows) if rows else ""


def _targets(tried: Sequence[TriedTarget]) -> str:
    rows = [
        (each.target, ", ".join(each.steps), each.problem.message if each.problem else "all well") for each in tried
    ]
    return f"## Targets\n\n{table(('target', 'tried', 'outcome'), rows)}" if rows else ""


def _copy(workspace: Workspace, export_id: str, new_id: str, name: str | None) -> Answer:
    written = copy_export(workspace, export_id, new_id, name)
    host, text = socket.gethostname(), written.path.read_text(encoding="utf-8")
    full = (
        f"# {written.export.name}\n\nA copy of `{export_id}`, a draft so far. Its definition stands in "
        f"`{written.path}` on `{host}`: edit it there, run the form `apply`, then switch its deployment on.\n\n"
        f"```yaml\n{text}```\n"
    )
    if written.differences:
        full += f"\nIt is the standard equivalent of `{export_id}`, without:\n\n{_list(written.differences)}\n"
    return Answer(f"{new_id} is a draft named {written.export.name!r}", full)


def _unschedule(workspace: Workspace, export_id: str, convert: bool) -> Answer:
    lost = lost_by_unscheduling(workspace, export_id)
    removed = unschedule_export(workspace, export_id, convert=convert)
    line = f"{export_id} is a draft again; {_count(removed, 'waiting run')} removed"
    stays = "Its watermark stays: what comes meanwhile is in the next window."
    if lost:
        line = f"{line}; it is a standard incremental export now"
    without = f"\n\nIt lost:\n\n{_list(lost)}" if lost else ""
    return Answer(line, f"# {export_id}\n\n{line}. {stays}{without}")


def _download(workspace: Workspace, export_id: str, run_id: str | None) -> Answer:
    found = locate(workspace, export_id, run_id)
    rows = [
        (
            f"[{each.file.name}]({each.link})" if each.link else each.file.name,
            f"{each.file.rows:,}",
            size_text(each.file.bytes),
            f"`{each.file.path}`",
            f"`{each.file.sha256}`",
        )
        for each in found
    ]
    how = f"Paths without a server's name are on `{socket.gethostname()}`."
    if any(each.link for each in found):
        how = f"A click on a file's name fetches it, for {LINK_SECONDS // 60} minutes from now. {how}"
    full = f"# {export_id}\n\n{table(('file', 'rows', 'size', 'where', 'sha256'), rows)}\n\n{how}"
    return Answer(f"{_count(len(found), 'file')}: {', '.join(each.file.path for each in found[:3])}", full)


def _apply(workspace: Workspace, dry_run: bool, activate_new: bool, since: str | None) -> Answer:
    if dry_run:
        found = [difference for difference in differences(workspace) if difference.change != "same"]
    else:
        found = carry_out(workspace, activate_new=activate_new, since=since)
    if not found:
        return Answer("the catalog and Prefect are the same", "# Apply\n\nThe catalog and Prefect are the same.")
    line = f"{_count(len(found), 'difference')} {'found, nothing changed' if dry_run else 'carried out'}"
    # Values stand in it as they are, and may look like Markdown.
    said = "\n".join(f"{each.export}: {sentence(each)}" for each in found)
    return Answer(line, f"# Apply\n\n{line}.\n\n```text\n{said}\n```")


def _list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {each}" for each in sentences)


def _count(number: int, of: str) -> str:
    return f"{number} {of}{'' if number == 1 else 's'}"
