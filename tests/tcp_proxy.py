"""A network that fails: a TCP proxy that cuts, freezes, slows down or swallows what passes through it."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any, Literal, Protocol, TypeVar

import pytest

Direction = Literal["to server", "to client"]
Fault = Literal["reset", "freeze", "half-close", "swallow"]
Found = TypeVar("Found")


class Proxies(Protocol):
    """Makes a proxy before the server on that port, ended with the test; a small buffer, in bytes, is soon full."""

    def __call__(self, port: int, receive_buffer: int | None = None) -> TcpProxy: ...


_BLOCK = 16 * 1024


class TcpProxy:
    """A port of its own before a server on loopback. Faults are set while it runs, and hold for every connection.

    `reset` cuts every connection with an RST on both sides; `freeze` lets nothing through any more in either direction
    and keeps connections open; `half-close` ends one direction, as a FIN does; `swallow` takes the bytes of one
    direction and gives them to nobody.
    """

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self._faults: dict[Direction, tuple[int, Fault]] = {}
        self._faults_pass = False
        self._acts: dict[Direction, tuple[int, Callable[[], object]]] = {}
        #: How often a connection has been reset or half closed.
        self.cuts = 0
        #: Bytes a second in each direction, or as fast as it goes.
        self.speed: int | None = None
        #: How many bytes have passed.
        self.passed: dict[Direction, int] = {"to server": 0, "to client": 0}
        self._sockets: set[asyncio.StreamWriter] = set()
        self._is_over = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._receive_buffer = receive_buffer
        self._listeners: list[asyncio.Server] = []
        self.port = self.listen(port)

    def listen(self, port: int) -> int:
        """A port before that one of the same server; faults and counts are common to all."""

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._accept(port, reader, writer)

        listener = self._run(asyncio.start_server(accept, "127.0.0.1", 0))
        self._listeners.append(listener)
        if self._receive_buffer is not None:
            listener.sockets[0].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self._receive_buffer)
        own: int = listener.sockets[0].getsockname()[1]
        return own

    def fail(self, fault: Fault, direction: Direction, after: int = 0, *, passes: bool = False) -> None:
        """From now on: that fault, when so many more bytes have passed in that direction.

        One that `passes` cuts what is connected at that byte, and later connections work.
        """

        async def set_fault() -> None:
            self._faults[direction] = (self.passed[direction] + after, fault)
            self._faults_pass = passes

        self._run(set_fault())

    def at(self, direction: Direction, after: int, act: Callable[[], object]) -> None:
        """Call `act` once, in the proxy's thread, between that byte from now and the next one."""

        async def set_act() -> None:
            self._acts[direction] = (self.passed[direction] + after, act)

        self._run(set_act())

    def heal(self) -> None:
        """Cut every connection; new ones work."""

        async def clear() -> None:
            self._faults.clear()
            self._acts.clear()
            self._abort()

        self._run(clear())

    def reset(self) -> None:
        """Cut every connection now."""

        async def abort() -> None:
            self._abort()

        self._run(abort())

    def end(self) -> None:
        """Stop for good."""

        async def stop() -> None:
            for listener in self._listeners:
                listener.close()
            self._abort()
            self._is_over.set()
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

        self._run(stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, Found]) -> Found:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=30)

    async def _accept(self, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._sockets.add(writer)
        with suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
            self._sockets.add(server_writer)
            await asyncio.gather(
                self._pump(reader, server_writer, "to server"),
                self._pump(server_reader, writer, "to client"),
                return_exceptions=True,
            )
            server_writer.close()
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        while data := await reader.read(_BLOCK):
            await self._until_thawed()
            data = await self._acted(data, writer, direction)
            limit, fault = self._faults.get(direction, (None, None))
            passing = data if limit is None else data[: max(0, limit - self.passed[direction])]
            if passing and not writer.is_closing():
                self.passed[direction] += len(passing)
                writer.write(passing)
                await writer.drain()
            if limit is None or self.passed[direction] < limit:
                if self.speed:
                    await asyncio.sleep(len(passing) / self.speed)
            elif fault == "reset":
                self._cut(direction)
                self._abort()
            elif fault == "half-close" and not writer.is_closing():
                self._cut(direction)
                writer.write_eof()
                return
        await self._until_thawed()
        if not writer.is_closing():
            writer.write_eof()

    async def _acted(self, data: bytes, writer: asyncio.StreamWriter, direction: Direction) -> bytes:
        """What is left of the data to pass after the byte at which something was to be done."""
        limit, act = self._acts.get(direction, (None, None))
        if limit is None or act is None or self.passed[direction] + len(data) < limit:
            return data
        del self._acts[direction]
        before, after = data[: limit - self.passed[direction]], data[limit - self.passed[direction] :]
        if before and not writer.is_closing():
            self.passed[direction] += len(before)
            writer.write(before)
            await writer.drain()
        act()
        return after

    def _cut(self, direction: Direction) -> None:
        self.cuts += 1
        if self._faults_pass:
            self._faults.pop(direction, None)

    async def _until_thawed(self) -> None:
        def is_frozen() -> bool:
            return any(
                fault == "freeze" and self.passed[direction] >= limit
                for direction, (limit, fault) in self._faults.items()
            )

        if is_frozen():
            # Not even after the fault is over: what was lost in a frozen connection does not come back.
            await self._is_over.wait()

    def _abort(self) -> None:
        for writer in self._sockets:
            linger = struct.pack("ii", 1, 0)
            with suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        self._sockets.clear()


@pytest.fixture
def proxies() -> Iterator[Proxies]:
    """Makes proxies, and ends them."""
    made: list[TcpProxy] = []

    def make(port: int, receive_buffer: int | None = None) -> TcpProxy:
        made.append(TcpProxy(port, receive_buffer))
        return made[-1]

    yield make
    for proxy in made:
        proxy.end()
