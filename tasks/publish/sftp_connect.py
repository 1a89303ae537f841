"""Logging in on an SFTP server; every wait in it ends."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.pkey import UnknownKeyType
from paramiko.transport import ServiceRequestingTransport

from catalog.errors import Code, ExportError
from tasks.publish.sftp_client import Client
from tasks.publish.sftp_host_keys import OnlyKnown, known_keys
from tasks.publish.sftp_login import Login
from tasks.publish.timeouts import Timeouts

_KEEPALIVE_SECONDS = 30
# What it logs as an error it raises as well, and we tell it once.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection."""

    ssh: paramiko.SSHClient
    client: Client

    @property
    def is_alive(self) -> bool:
        """Whether it has not been seen to be dead."""
        transport = self.ssh.get_transport()
        return transport is not None and transport.is_active()

    def close(self) -> None:
        """Close it, without asking the server."""
        self.ssh.close()


class _Login(AuthOnlyHandler):
    """Begins to wait for an answer before it asks; paramiko does so afterwards, and misses one that comes at once."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._answered = threading.Event()
        super().__init__(transport)

    @property
    def auth_event(self) -> threading.Event:
        """Set by the answer."""
        return self._answered

    @auth_event.setter
    def auth_event(self, _made_too_late: threading.Event | None) -> None:
        pass

    def send_auth_request(self, *arguments: Any, **keys: Any) -> Any:
        """Ask to be let in, and wait for the answer."""
        self._answered = threading.Event()
        return super().send_auth_request(*arguments, **keys)


class _Transport(ServiceRequestingTransport):
    """Asks for the login service once; paramiko's default asks before each way to log in, which some servers end."""

    def get_auth_handler(self) -> AuthOnlyHandler:
        """What logs in."""
        return _Login(self)

    def run(self) -> None:
        """Serve the connection until it ends."""
        try:
            super().run()
        finally:
            # paramiko would wait for this for ever, also when the connection is gone.
            self._service_userauth_accepted = True


def connect(login: Login, timeouts: Timeouts) -> Connection:
    """Connect, check the host key and log in.

    Raises ExportError HOST_KEY_MISMATCH, or TARGET_AUTH for a key file that cannot be used; and what paramiko raises.
    """
    key = _private_key(login)
    expected = known_keys(login)
    wire = socket.create_connection((login.host, login.port), timeouts.connect)
    ssh = paramiko.SSHClient()
    ssh.set_missing_host_key_policy(OnlyKnown(login, expected))
    try:
        _give_up_sending_after(wire, timeouts.answer)
        nothing_given = key is None and login.password is None
        with _after(timeouts.login, partial(_cut, wire)):
            ssh.connect(
                login.host,
                login.port,
                login.username,
                login.password,
                key,
                timeout=timeouts.login,
                banner_timeout=timeouts.login,
                auth_timeout=timeouts.login,
                allow_agent=nothing_given,
                look_for_keys=nothing_given,
                sock=wire,
                transport_factory=partial(_transport, expected=expected),
            )
            return Connection(ssh, _open_client(ssh, timeouts))
    except BaseException:
        ssh.close()
        wire.close()
        raise


def _private_key(login: Login) -> paramiko.PKey | None:
    path, passphrase = login.key_filename, login.passphrase
    if path is None:
        return None
    try:
        # In bytes, whatever its stubs say: cryptography, which gets it next, takes no text.
        return paramiko.PKey.from_path(path, passphrase.encode() if passphrase is not None else None)  # type: ignore[arg-type]
    except (OSError, ValueError, TypeError, paramiko.SSHException, UnknownKeyType) as error:
        # What cryptography says of a wrong passphrase is about something else.
        wrong = "the passphrase is wrong, or it is no private key" if isinstance(error, ValueError) else str(error)
        told = getattr(error, "strerror", None) or wrong
        raise ExportError(
            Code.TARGET_AUTH,
            f"the key file {path} for {login.username}@{login.host} cannot be used: {told}",
            "see key_filename and passphrase; a relative path starts at the folder that holds the catalog",
        ) from None


def _transport(wire: socket.socket, *, expected: list[paramiko.PKey], **options: Any) -> paramiko.Transport:
    """A transport that asks first for the kinds of host key that are known, since a server may have several.

    And for AES-GCM: the ciphers that paramiko puts first take half as much again of both sides' time.
    """
    transport = _Transport(wire, **options)
    security = transport.get_security_options()
    known = {key.get_name() for key in expected}
    if "ssh-rsa" in known:
        known |= {"rsa-sha2-256", "rsa-sha2-512"}
    security.ciphers = sorted(security.ciphers, key=lambda cipher: "gcm" not in cipher)
    security.key_types = sorted(security.key_types, key=lambda kind: kind not in known)
    return transport


def _open_client(ssh: paramiko.SSHClient, timeouts: Timeouts) -> Client:
    transport = ssh.get_transport()
    assert transport is not None, "connect() has made it"
    transport.set_keepalive(_KEEPALIVE_SECONDS)
    channel = transport.open_session(timeout=timeouts.login)
    channel.settimeout(timeouts.answer)
    # paramiko would wait for ever if the connection was cut just now.
    with _after(timeouts.login, channel.event.set):
        channel.invoke_subsystem("sftp")
    return Client(channel)


def _give_up_sending_after(wire: socket.socket, seconds: float) -> None:
    # paramiko goes on sending for ever to a peer that takes nothing any more; only the kernel can end that.
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(seconds * 1000))


@contextmanager
def _after(seconds: float, end: Callable[[], None]) -> Iterator[None]:
    """Call `end` from another thread when the block takes longer than that."""
    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _cut(wire: socket.socket) -> None:
    with suppress(OSError):
        wire.shutdown(socket.SHUT_RDWR)
