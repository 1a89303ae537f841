"""The file of a finished one shot: brought from its target to the person's own computer, or shown where it is."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from catalog.errors import Code, ExportError
from catalog.receipt import DeliveredFile
from catalog.windows import Window
from deployments.custom_refusals import refuse_custom
from deployments.lifecycle import require_status
from deployments.runs import find_run
from deployments.workspace import Workspace
from flows.report import secret_block
from tasks import deliver
from tasks.publish import Publisher

#: How long a link to a file is good.
LINK_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Located:
    """A file that its target still has; `link` fetches it without a login, where the target can make such."""

    file: DeliveredFile
    link: str | None


def download(workspace: Workspace, export_id: str, folder: Path, run_id: str | None = None) -> list[Path]:
    """Every file of the newest run, or of the given one, into `folder`, which is there; byte for byte as delivered.

    Raises ExportError STATUS_REFUSED for all but finished one shots, FILE_GONE when no target has the file any more,
    FILE_EXISTS for one that is in the folder already.
    """
    window, files = _files(workspace, export_id, run_id)
    return [_bring(window, copies, folder) for copies in files]


def locate(workspace: Workspace, export_id: str, run_id: str | None = None) -> list[Located]:
    """Where every file of the newest run, or of the given one, is, byte for byte as delivered.

    Raises ExportError STATUS_REFUSED for all but finished one shots, FILE_GONE when no target has the file any more.
    """
    window, files = _files(workspace, export_id, run_id)
    return [_locate(window, copies) for copies in files]


def _files(workspace: Workspace, export_id: str, run_id: str | None) -> tuple[Window, list[list[DeliveredFile]]]:
    """The run's window, and for each file of it its copies on the targets."""
    _require_finished_one_shot(workspace, export_id)
    run = find_run(workspace.client, export_id, workspace.project.tag, run_id)
    window = workspace.ledger.window_of_run(str(run.id))
    files = workspace.ledger.delivered_of_window(window.id) if window else []
    if window is None or not files:
        raise ExportError(
            Code.FILE_GONE,
            f"run {run.id} of {export_id} delivered no file",
            f"`exports report {export_id} --run {run.id}` says why",
            export=export_id,
        )
    by_name: dict[str, list[DeliveredFile]] = {}
    for file in files:
        by_name.setdefault(file.name, []).append(file)
    return window, list(by_name.values())


def _require_finished_one_shot(workspace: Workspace, export_id: str) -> None:
    export = workspace.known(export_id)
    refuse_custom(export, "download")
    if export.type != "one_shot":
        raise ExportError(
            Code.STATUS_REFUSED,
            f"export {export_id} is {export.type}, and download is for one shots",
            f"its files stand where `exports report {export_id}` says",
            export=export_id,
        )
    require_status(workspace, export_id, "download", {"finished"})


def _bring(window: Window, copies: list[DeliveredFile], folder: Path) -> Path:
    """One file, from the first of its targets that still has it."""
    path = folder / copies[0].name
    if path.exists():
        raise ExportError(
            Code.FILE_EXISTS, f"{path} is there already", "move it away, or name another folder with --to"
        )
    for copy in copies:
        with closing(deliver.publisher_of(copy.target, secret_block)) as publisher:
            if _fetch(publisher, window.folder, copy, path):
                return path
    raise _gone(window, copies)


def _locate(window: Window, copies: list[DeliveredFile]) -> Located:
    for copy in copies:
        with closing(deliver.publisher_of(copy.target, secret_block)) as publisher:
            found = publisher.stat(window.folder, copy.name)
            if found is not None and found.holds(copy.bytes, copy.sha256):
                return Located(copy, publisher.link(window.folder, copy.name, LINK_SECONDS))
    raise _gone(window, copies)


def _gone(window: Window, copies: list[DeliveredFile]) -> ExportError:
    where = ", ".join(copy.path for copy in copies)
    return ExportError(
        Code.FILE_GONE,
        f"{where} is not there any more, or holds other bytes than were delivered",
        f"ask who took it; or make the extract again with `exports copy {window.export} NEW_ID`",
        export=window.export,
    )


def _fetch(publisher: Publisher, folder: str, file: DeliveredFile, path: Path) -> bool:
    """Whether the target has the file that was delivered; then it stands under `path`, and not before it is whole."""
    found = publisher.stat(folder, file.name)
    if found is None or found.size != file.bytes:
        return False
    unfinished, digest = path.with_name(f".{path.name}.part"), hashlib.sha256()
    try:
        with unfinished.open("wb") as local:

            def keep(block: bytes) -> None:
                digest.update(block)
                try:
                    local.write(block)
                except OSError as error:
                    # Here, where it is known that it is no error of the target's.
                    raise _unwritable(path, error) from error

            found.read(keep)
        if digest.hexdigest() != file.sha256:
            return False
        unfinished.rename(path)
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
    return True


def _unwritable(path: Path, error: OSError) -> ExportError:
    return ExportError(Code.SPOOL_FULL, f"{path} cannot be written: {error.strerror}", "name another folder with --to")
