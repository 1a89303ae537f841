"""What a target of any other fsspec protocol says: which of fsspec's file systems serves it, and where on it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from fsspec.core import split_protocol
from fsspec.registry import get_filesystem_class, known_implementations, registry

from catalog.errors import Code, ExportError
from tasks.publish.target_yaml import invalid

_READ_ONLY = "nothing can be written there"
_NO_PLACE = "it is a view of other places, and no place of its own"
_NOT_TARGETS: dict[str, str] = {
    "memory": "what is written there is gone with the process",
    "ssh": "its host keys are not checked; sftp is the same server, and checks them",
    **dict.fromkeys(("data", "dvc", "git", "github", "gist", "http", "https", "libarchive", "tar", "zip"), _READ_ONLY),
    **dict.fromkeys(("async_wrapper", "asynclocal", "asyncwrapper", "blockcache", "cached", "dask"), _NO_PLACE),
    **dict.fromkeys(("dir", "filecache", "generic", "pyscript", "reference", "simplecache"), _NO_PLACE),
}
#: Places to which an option leads, by its name.
_ADDRESSES = ("base_url", "endpoint_url", "endpoint")
#: Options that switch the check of certificates off, where a file system has them.
_CHECKS = ("verify", "ssl_verify", "verify_ssl")
_QUOTED = re.compile(r'"(?P<package>[\w.-]+)')
_NAMED = re.compile(r"\b[Ii]nstall '?(?:the )?(?P<package>[\w.-]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of a file system, which `file_system(**arguments)` makes; `identity` shows it without secrets."""

    target: str
    protocol: str
    root: str
    file_system: type[Any]
    arguments: Mapping[str, Any] = field(repr=False)
    identity: str
    warning: str | None


def read_place(name: str, url: str, options: Mapping[str, Any], secrets: Collection[str]) -> Place:
    """The place that target `name` is, its references resolved to `secrets`; nothing is connected.

    Raises ExportError TARGET_UNSUPPORTED for a protocol that nobody may drop files on, DRIVER_MISSING for one whose
    package is not installed, and DEFINITION_INVALID for a URL or an address that cannot be read.
    """
    protocol = split_protocol(url)[0] or ""
    served = _file_system(name, protocol)
    try:
        root = str(served._strip_protocol(url)).rstrip("/")
        given: dict[str, Any] = served._get_kwargs_from_urls(url)
    except Exception:
        # Not chained: what the parsers say quotes pieces of the URL.
        raise invalid(name, "url", f"it is no {protocol} URL", "see the protocol's page of fsspec") from None
    # A secret in a URL is quoted; fsspec leaves it so. YAML has no tuples, and some options must be one.
    login = {key: unquote(str(given[key])) for key in ("username", "user", "password") if given.get(key)}
    lists = {key: tuple(value) for key, value in options.items() if isinstance(value, list)}
    arguments = {**given, **login, **options, **lists}
    try:
        identity = _identity(protocol, arguments, root, secrets)
    except ValueError:
        # Not chained: it may quote the address.
        raise invalid(name, "options", "its address is none", "write it as https://host:port/folder") from None
    return Place(
        target=name,
        protocol=protocol,
        root=root,
        file_system=served,
        arguments=arguments,
        identity=identity,
        warning=_warning(arguments),
    )


def _file_system(name: str, protocol: str) -> type[Any]:
    if protocol in _NOT_TARGETS:
        raise _unsupported(name, protocol, f"cannot be a target: {_NOT_TARGETS[protocol]}")
    if protocol not in known_implementations and protocol not in registry:
        raise _unsupported(name, protocol, "is not served")
    try:
        found: type[Any] = get_filesystem_class(protocol)
    except (ImportError, AttributeError) as error:
        raise ExportError(
            Code.DRIVER_MISSING,
            f"the target {name} needs a Python package for {protocol} that is not installed",
            how_to_install(protocol),
        ) from error
    return found


def how_to_install(protocol: str) -> str:
    """fsspec's own hint for the protocol, as a line for a terminal where it names a package."""
    known: str = known_implementations[protocol].get("err", "")
    found = _QUOTED.search(known) if "requires" in known else _NAMED.search(known)
    return f"pip install {found['package'].rstrip('.')}" if found else known or f"see fsspec's page of {protocol}"


def _unsupported(name: str, protocol: str, why: str) -> ExportError:
    return ExportError(
        Code.TARGET_UNSUPPORTED,
        f"target {name} asks for the protocol {protocol}, which {why}",
        "use a local folder, sftp, ftps, s3, abfs, or another protocol of fsspec on which files can be written",
    )


def _identity(protocol: str, arguments: Mapping[str, Any], root: str, secrets: Collection[str]) -> str:
    address = next((str(arguments[key]) for key in _ADDRESSES if arguments.get(key)), None)
    host = _host(arguments) if address is None else _shown(address, secrets)
    login = arguments.get("auth")
    logs_in = login[0] if isinstance(login, tuple) and login else ""
    user = arguments.get("username") or arguments.get("user") or logs_in
    place = "/".join(part for part in (host, root.strip("/")) if part)
    return f"{protocol}://{user}@{place}" if user else f"{protocol}://{place}"


def _host(arguments: Mapping[str, Any]) -> str:
    host, port = str(arguments.get("host") or ""), arguments.get("port")
    return f"{host}:{port}" if host and port else host


def _shown(address: str, secrets: Collection[str]) -> str:
    """Host and path of an address, without who logs in there, and without a path that is a key by itself."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    path = "" if address in secrets else parts.path.rstrip("/")
    for secret in filter(None, secrets):
        path = path.replace(secret, "***")
    return parts.netloc.rpartition("@")[2] + path


def _warning(arguments: Mapping[str, Any]) -> str | None:
    if any(str(arguments.get(key, "")).startswith("http://") for key in _ADDRESSES):
        return "the password and every file go there in clear; use https as soon as its owner offers it"
    if any(arguments.get(key) is False for key in _CHECKS):
        return "the server's certificate is not checked, so anybody on the way can read the password and every file"
    return None
