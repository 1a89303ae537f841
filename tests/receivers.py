"""Those who get messages: a mail server with a mailbox, and a webhook, both real and on loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from prefect_server import free_port

USER, PASSWORD = "exporter", "p@ss/word:2?"


class Mailbox:
    """A mail server that keeps what it gets; `guarded` takes mail only after a login."""

    def __init__(self) -> None:
        self.letters: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.guarded = False
        self.controller = Controller(
            self, "127.0.0.1", free_port(), authenticator=self._login, auth_require_tls=False, auth_required=False
        )

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.controller.port}"

    def text(self) -> str:
        """The only letter's text."""
        (letter,) = self.letters
        part = letter.get_body(("plain",))
        assert part is not None
        return str(part.get_content()).replace("\r\n", "\n")

    def subjects(self) -> list[str]:
        return [str(letter["Subject"]) for letter in self.letters]

    def _login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any) -> AuthResult:
        known = isinstance(given, LoginPassword) and given == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=known, handled=False)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.guarded and not session.authenticated:
            return "530 Authentication required"
        letter = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        self.recipients += envelope.rcpt_tos
        self.letters.append(letter)  # type: ignore[arg-type]
        return "250 OK"


class Webhook:
    """A receiver of JSON: it answers with `status`, or not at all while it is `mute`."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        self._speaks = threading.Event()
        self._speaks.set()
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                webhook.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                webhook._speaks.wait()
                self.send_response(webhook.status)
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.server.server_port}"

    def titles(self) -> list[str]:
        return [message["title"] for message in self.got]

    def fall_mute(self) -> None:
        self._speaks.clear()

    def speak(self) -> None:
        self._speaks.set()

    @property
    def is_mute(self) -> bool:
        return not self._speaks.is_set()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    made = Mailbox()
    made.controller.start()
    yield made
    made.controller.stop()


@pytest.fixture
def webhook() -> Iterator[Webhook]:
    made = Webhook()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.speak()
    made.server.shutdown()
    made.server.server_close()
    thread.join()
