"""A network that fails: a TCP proxy that cuts, freezes, slows down or swallows what passes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal

Direction = Literal["to server", "to client"]
#: What happens to a direction once its bytes are used up.
Fault = Literal["reset", "freeze", "half-close", "swallow"]

_BLOCK = 64 * 1024


class TcpProxy:
    """Stands before a server on loopback; faults can be set while it runs, and hold for every connection.

    `reset` cuts the connection with an RST on both sides; `freeze` lets nothing through any more, in either
    direction, and keeps the connection open; `half-close` ends that direction alone, as after a FIN; `swallow` takes
    the bytes of that direction and gives them to nobody.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._faults: dict[Direction, tuple[int, Fault]] = {}
        #: Bytes a second in each direction; 0 is as fast as it goes.
        self.speed = 0
        self.connections = 0
        self.passed: dict[Direction, int] = {"to server": 0, "to client": 0}
        self._pairs: list[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = []
        self._loop = asyncio.new_event_loop()
        self._thawed = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        future = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._listener = future.result(timeout=30)
        self.port: int = self._listener.sockets[0].getsockname()[1]

    def fail(self, fault: Fault, direction: Direction, after: int = 0) -> None:
        """From now on: that fault, when so many more bytes have passed in that direction."""
        self._loop.call_soon_threadsafe(self._faults.__setitem__, direction, (self.passed[direction] + after, fault))

    def heal(self) -> None:
        """No fault any more for what comes; connections that are frozen or cut stay so."""
        self._loop.call_soon_threadsafe(self._faults.clear)

    def reset(self) -> None:
        """Cut every connection now."""
        self._loop.call_soon_threadsafe(self._reset_all)

    def end(self) -> None:
        """Stop for good."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(timeout=30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            _abort(writer)
            return
        self._pairs.append((writer, server_writer))
        with suppress(OSError):
            await asyncio.gather(
                self._pass(reader, server_writer, "to server"), self._pass(server_reader, writer, "to client")
            )

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        while data := await reader.read(_BLOCK):
            limit, fault = self._faults.get(direction, (None, None))
            room = len(data) if limit is None else max(0, limit - self.passed[direction])
            await self._send(data[:room], writer, direction)
            if room < len(data) or room + self.passed[direction] == limit:
                await self._happen(fault, writer)
        if not self._is_frozen():
            with suppress(OSError):
                writer.write_eof()

    async def _send(self, data: bytes, writer: asyncio.StreamWriter, direction: Direction) -> None:
        writer.write(data)
        self.passed[direction] += len(data)
        await writer.drain()
