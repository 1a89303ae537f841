"""What the URL of a target on a server says: `protocol://user:password@host:port/absolute/folder`."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from catalog.errors import ExportError
from tasks.publish.target_yaml import invalid


@dataclass(frozen=True, slots=True)
class ServerUrl:
    """The parts of such a URL; `root` is an absolute path, `port` None when none is written."""

    host: str
    port: int | None
    root: str
    username: str
    password: str | None = field(repr=False)


def read_server_url(name: str, url: str, protocol: str, port: int) -> ServerUrl:
    """The URL of target `name`; `port` is the protocol's own.

    Raises ExportError DEFINITION_INVALID, which never quotes the URL: it may hold a password.
    """
    wrong = invalid(
        name, "url", f"it is no {protocol} URL", f"write it as {protocol}://user@host:{port}/absolute/folder"
    )
    authority, _, path = url.partition("://")[2].partition("/")
    try:
        place = urlsplit(f"//{authority}")
        written = place.port
    except ValueError:
        # Not chained: the error quotes a piece of the URL.
        raise wrong from None
    if not place.hostname or place.netloc != authority:
        raise wrong
    return ServerUrl(
        host=place.hostname,
        port=written,
        root="/" + "/".join(part for part in path.split("/") if part),
        username=unquote(place.username or ""),
        password=unquote(place.password) if place.password else None,
    )


def identity(protocol: str, username: str, host: str, port: int, root: str) -> str:
    """The target without secrets, as a URL."""
    bracketed = f"[{host}]" if ":" in host else host
    return f"{protocol}://{username}@{bracketed}:{port}{root}"


def nobody_logs_in(name: str, protocol: str) -> ExportError:
    """What is wrong with a target without a user name."""
    return invalid(
        name, "url", "nobody is named who logs in", f"write {protocol}://user@host/folder, or options.username"
    )
