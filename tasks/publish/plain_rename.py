"""How a file that is whole gets its final name on file systems of fsspec, so that no part of it is ever seen there.

fsspec's own `mv` copies and deletes where a file system brings none. On an object store a copy appears whole, and then
stands beside the temp for a moment; on anything else its bytes would grow under the final name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from fsspec.spec import AbstractFileSystem

from catalog.errors import Code, ExportError

#: Temp, final, and whether a file that has the final name gives way; not all can promise to keep it.
Rename = Callable[[str, str, bool], None]
#: Whose copies appear whole, and whose folders are no more than parts of names.
STORES = frozenset({"gs", "gcs", "oss", "oci", "ocilake", "tos", "tosfs"})


def rename_of(protocol: str, files: Any) -> Rename | None:
    """How this file system renames, or None when it cannot."""
    if protocol == "webdav":
        return partial(_move_webdav, files)
    if protocol in STORES:
        return partial(_copy_and_delete, files)
    if type(files).mv is not AbstractFileSystem.mv:
        return partial(_move, files)
    return None


def _move_webdav(files: Any, temp: str, final: str, replace: bool) -> None:
    # Its `mv` copies and deletes, although the protocol has a move, which refuses a name that is taken.
    files.client.move(temp, final, overwrite=replace)


def _move(files: Any, temp: str, final: str, replace: bool) -> None:
    files.mv(temp, final)


def _copy_and_delete(files: Any, temp: str, final: str, replace: bool) -> None:
    files.cp_file(temp, final)
    files.invalidate_cache()
    copied, whole = files.info(final)["size"], files.info(temp)["size"]
    if copied != whole:
        files.rm_file(final)
        raise ExportError(
            Code.UPLOAD_MISMATCH,
            f"the copy of {temp} under its final name had {copied} bytes in place of {whole}, and was removed",
            "relaunch; if it comes back, choose another target",
        )
    files.rm_file(temp)
