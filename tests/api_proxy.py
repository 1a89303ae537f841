"""A proxy in front of Prefect's API that can answer in its place, or do something at a request that it chooses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx

#: Given method and path, the status to answer in the server's place, or None to pass the request on.
Intervene = Callable[[str, str], int | None]
_KEPT = ("content-type", "prefect-api-version", "prefect-csrf-token", "prefect-csrf-client", "authorization", "accept")


@contextmanager
def api_proxy(api: str, before: Intervene, after: Intervene = lambda method, path: None) -> Iterator[str]:
    """Yields the URL of a proxy for the API at `api`; `after` is asked when the server has done what was asked."""
    with httpx.Client(base_url=api, timeout=60) as server:

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                path = self.path.removeprefix("/api")
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status = before(self.command, path)
                content, kind = b"{}", "application/json"
                if status is None:
                    headers = {name: self.headers[name] for name in _KEPT if name in self.headers}
                    answer = server.request(self.command, path, content=body, headers=headers)
                    status = after(self.command, path) or answer.status_code
                    content, kind = answer.content, answer.headers.get("content-type", kind)
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("retry-after", "0")
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

            def log_message(self, *_: object) -> None:
                pass

            def handle(self) -> None:
                # As when the process that asked was killed.
                with suppress(BrokenPipeError, ConnectionResetError):
                    super().handle()

        proxy = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{proxy.server_address[1]}/api"
        finally:
            proxy.shutdown()
            proxy.server_close()
            thread.join()
