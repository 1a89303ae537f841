"""Sending a run's report to Apprise URLs: bounded in time, and saying of what failed no more than may be seen."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from catalog.errors import Code, ExportError
from catalog.places import mail_relay
from tasks.credentials import Lookup, has_reference, refuse_malformed, resolve

if TYPE_CHECKING:
    from apprise import Apprise

#: How long, in seconds, a run waits for all its messages together.
PATIENCE = 30.0

# As every program knows it; Apprise's own URLs go on with the name of a mail server.
_PLAIN_MAIL = re.compile(r"mailto:(?!//)(?P<address>[^?]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent; a service may show failures in another colour."""

    subject: str
    body: str
    failed: bool


class _Reasons(logging.Handler):
    """Apprise says only in its log why something was not sent: this keeps the last word of each thread."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._said = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self._said.last = record.getMessage()

    def last(self) -> str:
        """What was said last in this thread."""
        return str(getattr(self._said, "last", "nobody says why"))


@cache
def _reasons() -> _Reasons:
    """The only one that hears Apprise, which logs URLs; its HTTP client shows whole paths when it is told to debug."""
    reasons, log = _Reasons(), logging.getLogger("apprise")
    log.addHandler(reasons)
    log.propagate = False
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    return reasons


def send(to: Sequence[str], message: Message, lookup: Lookup, seconds: float | None = None) -> list[str]:
    """Send the message to every Apprise URL, all at once; returns what went wrong, one sentence for each that failed.

    Waits `seconds` at most, by default PATIENCE; what still hangs then is left to itself and ends with the process.
    """
    outcome: dict[str, str] = dict.fromkeys(to, "there was no answer in time")
    # A thread of its own would not know which Prefect server the lookup has to ask.
    begun = [
        threading.Thread(target=copy_context().run, args=(_send, url, message, lookup, outcome), daemon=True)
        for url in to
    ]
    deadline = time.monotonic() + (PATIENCE if seconds is None else seconds)
    for thread in begun:
        thread.start()
    for thread in begun:
        thread.join(max(0.0, deadline - time.monotonic()))
    return [f"the report was not sent to {url}: {why}" for url, why in list(outcome.items()) if why]


def refuse_unknown(url: str) -> None:
    """Raises ExportError DEFINITION_INVALID for what Apprise does not know, as far as that is seen without secrets."""
    refuse_malformed(url)
    scheme = url.partition(":")[0].lower()
    if has_reference(scheme):
        return
    from apprise.manager_plugins import NotificationManager

    _reasons()
    known: set[str] = NotificationManager().schemas()  # type: ignore[no-untyped-call]
    whole = not has_reference(url) and _PLAIN_MAIL.fullmatch(url) is None
    if scheme not in known or (whole and _opened(url) is None):
        raise ExportError(
            Code.DEFINITION_INVALID,
            f"`report.to`: Apprise cannot send to {url}",
            "write it as Apprise's documentation of that service says; a webhook of your own is json://HOST/PATH",
            key="report.to",
        )


def _send(written: str, message: Message, lookup: Lookup, outcome: dict[str, str]) -> None:
    # Whatever goes wrong here is told, never raised: the export is delivered, or has failed, already.
    try:
        outcome[written] = _refusal(written, message, lookup)
    except ExportError as error:
        outcome[written] = str(error)
    except Exception as error:
        outcome[written] = f"unexpected {type(error).__name__}"


def _refusal(written: str, message: Message, lookup: Lookup) -> str:
    """Send to one URL; returns why that failed, or nothing."""
    from apprise import NotifyFormat, NotifyType

    reasons = _reasons()
    used, seen = resolve(written, lookup), written
    if plain := _PLAIN_MAIL.fullmatch(used):
        relay = mail_relay()
        used = f"{relay}{'&' if '?' in relay else '?'}format=text&to={quote(plain['address'])}"
        seen = f"{written} {urlsplit(relay).hostname}"
    service = _opened(used)
    if service is None:
        return "Apprise knows no such service, or something is missing in the URL"
    kind = NotifyType.FAILURE if message.failed else NotifyType.SUCCESS
    if service.notify(message.body, title=message.subject, notify_type=kind, body_format=NotifyFormat.TEXT):
        return ""
    reason = reasons.last()
    return "it was refused, or nobody answered" if _shows_more(reason, used, seen) else reason


def _opened(url: str) -> Apprise | None:
    from apprise import Apprise, AppriseAsset

    # In this thread and nowhere else: Apprise's own threads would outlive the wait for them.
    asset = AppriseAsset(app_id="Manage Exports", app_desc="Manage Exports", async_mode=False)
    service = Apprise(asset=asset)
    return service if service.add(url) else None


def _shows_more(reason: str, used: str, seen: str) -> bool:
    """Whether the reason holds a part of the URL that does not stand in the definition."""
    parts = {part for text in (used, unquote(used)) for part in re.split(r"[/:@?&=#,;]+", text)}
    return any(len(part) > 2 and part in reason and part not in seen for part in parts)
