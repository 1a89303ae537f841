"""What a target's URL and options say about an SFTP server: where it is, who logs in and how, whose host key counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from catalog.errors import Code, ExportError
from catalog.places import base_folder

_OPTIONS = ("username", "password", "key_filename", "passphrase", "known_hosts")
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
        return f"sftp://{self.username}@{_bracketed(self.host)}:{self.port}{self.root}"

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
    authority, _, path = url.partition("://")[2].partition("/")
    place, port = _split(name, authority)
    for key, value in options.items():
        if key not in _OPTIONS:
            raise _invalid(name, f"options.{key}", f"sftp knows no option {key}", f"use {', '.join(_OPTIONS)}")
        if not isinstance(value, str) or not value:
            raise _invalid(name, f"options.{key}", f"the option {key} is no text", "write a text, or a reference")
    username = options.get("username") or unquote(place.username or "")
    if not username:
        raise _invalid(name, "url", "nobody is named who logs in", "write sftp://user@host/folder, or options.username")
    key_filename = options.get("key_filename")
    return Login(
        host=str(place.hostname),
        port=port,
        root="/" + "/".join(part for part in path.split("/") if part),
        username=username,
        known_hosts=_local_path(options.get("known_hosts", "~/.ssh/known_hosts")),
        password=options.get("password") or (unquote(place.password) if place.password else None),
        key_filename=_local_path(key_filename) if key_filename else None,
        passphrase=options.get("passphrase"),
    )


def _split(name: str, authority: str) -> tuple[SplitResult, int]:
    wrong = _invalid(name, "url", "it is no sftp URL", "write it as sftp://user@host:22/absolute/folder")
    try:
        place = urlsplit(f"//{authority}")
        port = place.port or _PORT
    except ValueError:
        # Not chained: the error quotes a piece of the URL.
        raise wrong from None
    if not place.hostname or place.netloc != authority:
        raise wrong
    return place, port


def _local_path(path: str) -> Path:
    return base_folder() / Path(path).expanduser()


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _invalid(name: str, key: str, what: str, hint: str) -> ExportError:
    return ExportError(Code.DEFINITION_INVALID, f"target {name}: {what}", hint, file=f"targets/{name}.yaml", key=key)
