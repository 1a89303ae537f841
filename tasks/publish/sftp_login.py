"""What a target's URL and options say about an SFTP server: where it is, who logs in and how, whose host key counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.publish.server_url import identity, nobody_logs_in, read_server_url
from tasks.publish.target_yaml import local_path, refuse_options

_OPTIONS = dict.fromkeys(("username", "password", "key_filename", "passphrase", "known_hosts"), str)
_PORT = 22


@dataclass(frozen=True, slots=True)
class Login:
    """One login on one server. `root` is an absolute path there; the secrets stay out of its own text."""

    host: str
    port: int
    root: str
    username: str
    known_hosts: Path
    password: str | None = field(default=None, repr=False)
    key_filename: Path | None = None
    passphrase: str | None = field(default=None, repr=False)

    @property
    def host_name(self) -> str:
        """The server as `known_hosts` files name it."""
        return self.host if self.port == _PORT else f"[{self.host}]:{self.port}"

    @property
    def identity(self) -> str:
        """The target without secrets."""
        return identity("sftp", self.username, self.host, self.port, self.root)

    def without_secrets(self, text: str) -> str:
        """The text, with every secret of this login in it blotted out."""
        for secret in (self.password, self.passphrase):
            if secret:
                text = text.replace(secret, "***")
        return text


def read_login(name: str, url: str, options: dict[str, Any]) -> Login:
    """The login of target `name`, from its URL and options with their secrets resolved.

    Raises ExportError DEFINITION_INVALID, which never quotes the URL: it may hold a password.
    """
    place = read_server_url(name, url, "sftp", _PORT)
    refuse_options(name, "sftp", options, _OPTIONS)
    username = options.get("username") or place.username
    if not username:
        raise nobody_logs_in(name, "sftp")
    key_filename = options.get("key_filename")
    return Login(
        host=place.host,
        port=place.port or _PORT,
        root=place.root,
        username=username,
        known_hosts=local_path(name, "known_hosts", options.get("known_hosts", "~/.ssh/known_hosts")),
        password=options.get("password") or place.password,
        key_filename=local_path(name, "key_filename", key_filename) if key_filename else None,
        passphrase=options.get("passphrase"),
    )
