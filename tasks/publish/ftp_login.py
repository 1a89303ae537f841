"""What a target's URL and options say about an FTP server: where it is, who logs in, and how that is protected."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tasks.publish.server_url import identity, nobody_logs_in, read_server_url
from tasks.publish.target_yaml import invalid, local_path, refuse_options

#: By protocol, each option with its type. A protocol's other one is refused: it would protect nothing.
_OPTIONS: dict[str, dict[str, type]] = {
    "ftps": {"username": str, "password": str, "ca_file": str, "implicit": bool},
    "ftp": {"username": str, "password": str, "allow_plain": bool},
}
_PORT, _IMPLICIT_PORT = 21, 990


@dataclass(frozen=True, slots=True)
class Login:
    """One login on one server. `root` is an absolute path there; the password stays out of its own text."""

    protocol: Literal["ftps", "ftp"]
    host: str
    port: int
    root: str
    username: str
    password: str = field(repr=False)
    #: The certificates of the authorities that count, or None for the system's.
    ca_file: Path | None = None
    #: TLS begins with the connection, not by AUTH TLS.
    implicit: bool = False

    @property
    def identity(self) -> str:
        """The target without secrets."""
        return identity(self.protocol, self.username, self.host, self.port, self.root)

    def without_secrets(self, text: str) -> str:
        """The text, with the password in it blotted out."""
        return text.replace(self.password, "***") if self.password else text


def read_login(name: str, url: str, options: dict[str, Any]) -> Login:
    """The login of target `name`, from its URL and options with their secrets resolved.

    Raises ExportError DEFINITION_INVALID, which never quotes the URL: it may hold a password.
    """
    protocol: Literal["ftps", "ftp"] = "ftps" if url.startswith("ftps:") else "ftp"
    place = read_server_url(name, url, protocol, _PORT)
    refuse_options(name, protocol, options, _OPTIONS[protocol])
    if protocol == "ftp" and not options.get("allow_plain"):
        raise invalid(
            name,
            "options.allow_plain",
            "ftp sends the password and every file in clear",
            "write ftps://, or set allow_plain: true, which every run then warns of",
        )
    username = options.get("username") or place.username
    if not username:
        raise nobody_logs_in(name, protocol)
    implicit = options.get("implicit", place.port == _IMPLICIT_PORT)
    ca_file = options.get("ca_file")
    login = Login(
        protocol=protocol,
        host=place.host,
        port=place.port or (_IMPLICIT_PORT if implicit else _PORT),
        root=place.root,
        username=username,
        password=options.get("password") or place.password or "",
        ca_file=local_path(name, "ca_file", ca_file) if ca_file else None,
        implicit=implicit,
    )
    if any(not part.isprintable() for part in (login.username, login.password, login.root)):
        # In FTP a new line is a new command.
        raise invalid(name, "url", "user name, password or folder has a control character", "take it out")
    return login
