"""Logging in on an FTP server: TLS first, with a certificate that is checked, then the password."""

from __future__ import annotations

import ftplib
import ssl

from catalog.errors import Code, ExportError
from tasks.publish.ftp_client import Client
from tasks.publish.ftp_errors import answer_of, translate
from tasks.publish.ftp_login import Login
from tasks.publish.timeouts import Timeouts


def connect(login: Login, timeouts: Timeouts) -> Client:
    """Connect, check the certificate, log in and have data connections protected too.

    Raises ExportError CERTIFICATE_INVALID and TARGET_AUTH, and what the client raises.
    """
    client = Client(timeouts, _context(login) if login.protocol == "ftps" else None)
    try:
        client.open(login.host, login.port, implicit=login.implicit)
        if login.protocol == "ftps" and not login.implicit:
            _protect(client, login)
        _log_in(client, login)
        if login.protocol == "ftps":
            _protect_data(client, login)
        client.settle()
    except BaseException:
        client.close()
        raise
    return client


def _context(login: Login) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=login.ca_file)
    except OSError as error:
        why = "there is no certificate in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise ExportError(
            Code.CERTIFICATE_INVALID,
            f"the certificate of {login.host} cannot be checked: {login.ca_file} cannot be used ({why})",
            "see ca_file; a relative path starts at the folder that holds the catalog",
        ) from None


def _protect(client: Client, login: Login) -> None:
    try:
        client.protect()
    except ftplib.error_perm as error:
        raise _refuses_tls(login, "it refuses AUTH TLS", error) from None


def _protect_data(client: Client, login: Login) -> None:
    try:
        client.protect_data()
    except ftplib.error_perm as error:
        raise _refuses_tls(login, "it refuses to protect files (PROT P)", error) from None


def _refuses_tls(login: Login, what: str, error: ftplib.Error) -> ExportError:
    return ExportError(
        Code.CERTIFICATE_INVALID,
        f"{login.identity} is not protected: {what}: {answer_of(error, login)}",
        "let its owner allow TLS; some servers have it on another port only, with `implicit: true`",
    )


def _log_in(client: Client, login: Login) -> None:
    try:
        client.login(login.username, login.password)
    except (ftplib.error_perm, ftplib.error_reply) as error:
        raise translate(error, login, f"log in on {login.identity}", code=Code.TARGET_AUTH) from None
