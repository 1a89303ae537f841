"""Whether a server is the one it should be: its host key must stand in the `known_hosts` file, always."""

from __future__ import annotations

from collections.abc import Iterator

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys, InvalidHostKey

from catalog.errors import Code, ExportError
from tasks.publish.sftp_login import Login


def known_keys(login: Login) -> list[paramiko.PKey]:
    """The keys that the file has for this server; none when there is no such file.

    Raises ExportError HOST_KEY_MISMATCH when it cannot be read.
    """
    try:
        text = login.known_hosts.read_text()
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(
            Code.HOST_KEY_MISMATCH,
            f"the host key of {login.host_name} cannot be checked: {login.known_hosts} cannot be read "
            f"({getattr(error, 'strerror', None) or 'it is no text'})",
            "let the worker's user read it",
        ) from error
    return [entry.key for entry in _entries(text) if any(_is(login.host_name, name) for name in entry.hostnames)]


def _entries(text: str) -> Iterator[HostKeyEntry]:
    for line in map(str.strip, text.splitlines()):
        # A line with a marker (@revoked, @cert-authority) names no key that may be trusted by itself.
        if not line or line.startswith(("#", "@")):
            continue
        try:
            entry = HostKeyEntry.from_line(line)
        except (InvalidHostKey, paramiko.SSHException):
            # As ssh does: another host's damaged line is no reason to stop.
            continue
        if entry is not None:
            yield entry


def _is(host: str, name: str) -> bool:
    return name == host or (name.startswith("|1|") and HostKeys.hash_host(host, name) == name)


class OnlyKnown(paramiko.MissingHostKeyPolicy):
    """Refuses every server whose key is none of those expected."""

    def __init__(self, login: Login, expected: list[paramiko.PKey]) -> None:
        self._login, self._expected = login, expected

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
        """Raises ExportError HOST_KEY_MISMATCH."""
        if key in self._expected:
            return
        login = self._login
        line = f"{login.host_name} {key.get_name()} {key.get_base64()}"
        offered = f"{login.host_name} offers the host key {key.fingerprint} ({key.get_name()})"
        if self._expected:
            expected = " or ".join(f"{known.fingerprint} ({known.get_name()})" for known in self._expected)
            why = f"{offered}, and {login.known_hosts} expects {expected}"
            hint = "ask its owner: this may be another server in between. If the key was changed, put this line there"
        else:
            why = f"{offered}, and {login.known_hosts} has none of that server"
            hint = "compare the fingerprint with the one its owner gives; then add this line there"
        raise ExportError(Code.HOST_KEY_MISMATCH, why, f"{hint}: {line}")
