"""Real WebDAV servers on free loopback ports: WsgiDAV's, which a test can spoil."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server
from ftp_server import Authority
from wsgidav.wsgidav_app import WsgiDAVApp

from tasks.publish.plain import PlainPublisher
from tasks.publish.plain_place import read_place
from tasks.publish.timeouts import Timeouts

logging.getLogger("wsgidav").setLevel(logging.CRITICAL)
#: Short, so that a test of a server that is silent does not take long, and enough for a machine that is busy.
TIMEOUTS = Timeouts(connect=10, login=10, answer=4, end=15)
USER, PASSWORD = "drop", "pa@s:s/word"
#: A request is answered with this status in place of what would have been done, or is done when it is None.
Answer = Callable[[dict[str, Any]], HTTPStatus | None]


class WebDav:
    """WsgiDAV in a thread, on one folder; a test can answer for it."""

    def __init__(self, root: Path, certificate: Path | None = None) -> None:
        self.root, self.certificate = root, certificate
        #: What a test answers, by method; and what it does after one was done, before its answer is sent.
        self.before: dict[str, Answer] = {}
        self.after: dict[str, Callable[[], object]] = {}
        #: Every method that was asked for.
        self.heard: list[str] = []
        settings: dict[str, Any] = {
            "provider_mapping": {"/dav": str(root)},
            "simple_dc": {"user_mapping": {"*": {USER: {"password": PASSWORD}}}},
            "http_authenticator": {"accept_basic": True, "accept_digest": False, "default_to_digest": False},
            "logging": {"enable": False},
            "property_manager": True,
            "lock_storage": True,
        }
        self._application = WsgiDAVApp(settings)
        self._server = Server(("127.0.0.1", 0), self._answer, numthreads=4, timeout=5)
        if certificate is not None:
            self._server.ssl_adapter = BuiltinSSLAdapter(str(certificate), str(certificate))
        self._server.error_log = lambda *arguments, **keys: None
        self._server.prepare()
        self.port: int = self._server.bind_addr[1]
        self._thread = threading.Thread(target=self._server.serve, daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Close the port, and every connection."""
        self._server.stop()
        self._thread.join()

    def base_url(self, port: int | None = None) -> str:
        scheme = "http" if self.certificate is None else "https"
        return f"{scheme}://127.0.0.1:{port or self.port}/dav"

    def url(self, path: Path) -> str:
        """A folder of the machine, as the server's."""
        return f"webdav://{path.relative_to(self.root)}"

    def options(self, port: int | None = None, password: str = PASSWORD) -> dict[str, Any]:
        """What a target of this server needs."""
        return {"base_url": self.base_url(port), "auth": [USER, password]}

    def publisher(self, path: Path, port: int | None = None, **options: Any) -> PlainPublisher:
        """A publisher on that folder; `port` is a proxy's."""
        return opened(self.url(path), {**self.options(port), **options})

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        self.heard.append(method)
        status = self.before.get(method, lambda _: None)(environ)
        if status is not None:
            environ["wsgi.input"].read()
            start_response(f"{status.value} {status.phrase}", [("Content-Length", "0")])
            return [b""]
        answer = self._application(environ, start_response)
        if method not in self.after:
            return answer
        body = list(answer)
        self.after[method]()
        return body


def opened(url: str, options: dict[str, Any], *secrets: str) -> PlainPublisher:
    """A publisher as a target's URL and options describe it, that does not wait long."""
    return PlainPublisher(read_place("partner", url, options, secrets), TIMEOUTS)


@pytest.fixture
def webdav_servers(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., WebDav]]:
    """Makes servers on the test's own folder, ended with the test."""
    made: list[WebDav] = []

    def make(certificate: Path | None = None) -> WebDav:
        made.append(WebDav(tmp_path, certificate))
        return made[-1]

    yield make
    for server in made:
        server.end()
