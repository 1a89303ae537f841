"""Mode `xid`: what is read must have come as far as the window's end, and ids must not have begun anew."""

from __future__ import annotations

from sqlalchemy import text

from catalog.definition import Export
from catalog.errors import Code, ExportError
from catalog.windows import Bounds
from tasks.connect import Source

_XMIN = text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")


def refuse_older_snapshot(source: Source, export: Export, bounds: Bounds) -> None:
    """Raises ExportError SOURCE_CONFLICT when the snapshot that is read does not reach the window's upper bound.

    Another standby than the one that was asked may lag behind it. In modes other than `xid` nothing is asked.
    """
    if export.cursor is None or export.cursor.mode != "xid" or bounds.high is None:
        return
    xmin = int(source.connection.execute(_XMIN).scalar_one())
    refuse_wrapped(export, xmin)
    refuse_unreached(export, xmin, int(bounds.high))


def refuse_unreached(export: Export, xmin: int, high: int) -> None:
    """Raises ExportError SOURCE_CONFLICT when `high` is beyond the snapshot's own `xmin`."""
    if xmin < high:
        raise ExportError(
            Code.SOURCE_CONFLICT,
            f"the database that is read has come to transaction {xmin}, and the window of {export.id} ends at {high}: "
            "it is a standby that lags behind, or a transaction there is held open",
            "it is tried again; if that does not help, see whether the standby still follows its primary",
            export=export.id,
        )


def refuse_wrapped(export: Export, xmin: int) -> None:
    """Raises ExportError XID_WRAPPED when ids do not fit a row's own 32 bits any more, and no xid8 column has them."""
    assert export.cursor is not None, "only incremental exports have a bound"
    if xmin >= 2**32 and export.cursor.column is None:
        raise ExportError(
            Code.XID_WRAPPED,
            f"the transaction ids of this server have begun anew (epoch {xmin // 2**32}), "
            "and the rows' own do not tell the old from the new any more",
            "name an xid8 column with `cursor.column` that is stamped with pg_current_xact_id(), or use mode `guarded`",
            export=export.id,
            key="cursor.column",
        )
