"""In-memory transports: a connected pair of asyncio protocols without a socket. Order of bytes is exact, timing is the
loop's."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any


class MemoryTransport(asyncio.Transport):
    """One end. Bytes written here are handed to the other end's protocol in the loop's next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: asyncio.Protocol) -> None:
        super().__init__({"peername": ("memory", 0)})
        self._loop = loop
        self._protocol = protocol
        self._other: MemoryTransport | None = None
        self._closing = False
        self._lost = False
        self._paused = False
        self._waiting: deque[bytes] = deque()

    def join(self, other: MemoryTransport) -> None:
        self._other = other

    # --- asyncio.Transport ---

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._closing or self._other is None:
            return
        self._loop.call_soon(self._other.deliver, bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """Nothing to do: closing follows, and the other end then hears of it."""

    def close(self) -> None:
        self._close(None)

    def abort(self) -> None:
        self._close(ConnectionResetError(104, "Connection reset by peer"))

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        self._paused = False
        while self._waiting and not self._paused:
            self._protocol.data_received(self._waiting.popleft())

    def is_reading(self) -> bool:
        return not self._paused

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self._other._waiting)) if self._other is not None else 0

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self._protocol = protocol

    # --- between the ends ---

    def deliver(self, data: bytes) -> None:
        if self._lost:
            return
        if self._paused:
            self._waiting.append(data)
        else:
            self._protocol.data_received(data)

    def _close(self, reason: Exception | None) -> None:
        if self._closing:
            return
        self._closing = True
        self._loop.call_soon(self._lose, None)
        if self._other is not None:
            self._loop.call_soon(self._other.hear_close, reason)

    def hear_close(self, reason: Exception | None) -> None:
        """The other end closed, after everything it wrote was delivered."""
        if not self._closing:
            self._closing = True
            self._lose(reason)

    def _lose(self, reason: Any) -> None:
        if not self._lost:
            self._lost = True
            self._protocol.connection_lost(reason)


def connected_pair(
    loop: asyncio.AbstractEventLoop, client: asyncio.Protocol, server: asyncio.Protocol
) -> MemoryTransport:
    """Connect two protocols; returns the client's transport."""
    near, far = MemoryTransport(loop, client), MemoryTransport(loop, server)
    near.join(far)
    far.join(near)
    server.connection_made(far)
    client.connection_made(near)
    return near
