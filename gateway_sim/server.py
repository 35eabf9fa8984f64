"""The server: a thin asyncio shell around the gateway core. Sockets, timers and the ledger file live here and nowhere
else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

from gateway_sim.effects import Close, Effect, PauseReading, Record, ResumeReading, Send
from gateway_sim.gateway import Gateway

OUTPUT_BYTES_MAX = 32 * 1024 * 1024
"""Bytes queued for a client that does not read; beyond it the client is cut."""


class GatewayServer:
    """Runs one Gateway on the running event loop.

    speed: simulated seconds per loop second. write_line: receives each ledger line without newline. tap: sees every
    byte sent, in order.
    """

    def __init__(
        self,
        gateway: Gateway,
        speed: float = 1.0,
        write_line: Callable[[str], None] | None = None,
        tap: Callable[[bytes], None] | None = None,
    ) -> None:
        self.gateway = gateway
        self._speed = speed
        self._write_line = write_line
        self._tap = tap
        self._loop = asyncio.get_running_loop()
        self._origin = self._loop.time()
        self._clients: dict[int, _ClientProtocol] = {}
        self._numbers = count(1)
        self._timer: asyncio.TimerHandle | None = None
        self._armed_for: float | None = None
        self._server: asyncio.Server | None = None

    def now(self) -> float:
        """Elapsed simulated seconds."""
        return (self._loop.time() - self._origin) * self._speed

    async def listen(self, host: str, port: int) -> int:
        """Start accepting clients; returns the port. Raises OSError if it is taken."""
        self._server = await self._loop.create_server(self.accept, host, port)
        self.step()
        bound: int = self._server.sockets[0].getsockname()[1]
        return bound

    def accept(self) -> _ClientProtocol:
        """A protocol for a new connection (also used for in-memory transports)."""
        return _ClientProtocol(self, next(self._numbers))

    async def stop(self) -> None:
        """Close the listener and every client."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._server is not None:
            self._server.close()
        for client in list(self._clients.values()):
            client.abort()
        await asyncio.sleep(0)

    # --- what clients report ---

    def connected(self, client: _ClientProtocol, peer: str) -> None:
        self._clients[client.number] = client
        self.gateway.receive_connection(client.number, peer, self.now())
        self.step()

    def received(self, client: _ClientProtocol, data: bytes) -> None:
        self.gateway.receive_bytes(client.number, data, self.now())
        self.step()

    def disconnected(self, client: _ClientProtocol, reason: str) -> None:
        self._clients.pop(client.number, None)
        self.gateway.receive_disconnect(client.number, self.now(), reason)
        self.step()

    # --- the shell's step ---

    def step(self) -> None:
        """Perform the effects and re-arm the timer."""
        for effect in self.gateway.effects():
            self._perform(effect)
        due = self.gateway.next_timer()
        if due == self._armed_for and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._armed_for = due
        self._timer = None if due is None else self._loop.call_at(self._origin + due / self._speed, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        due = self._armed_for
        now = self.now()
        # The loop may wake a clock tick early; the entry is due all the same.
        self.gateway.handle_timer(now if due is None else max(now, due))
        self.step()

    def _perform(self, effect: Effect) -> None:
        if isinstance(effect, Record):
            if self._write_line is not None:
                self._write_line(effect.line)
            return
        client = self._clients.get(effect.connection)
        if client is None:
            return
        if isinstance(effect, Send):
            if self._tap is not None:
                self._tap(effect.data)
            client.send(effect.data)
        elif isinstance(effect, Close):
            client.close(effect.abort)
        elif isinstance(effect, PauseReading):
            client.pause()
        elif isinstance(effect, ResumeReading):
            client.resume()


class _ClientProtocol(asyncio.Protocol):
    """One client's socket."""

    def __init__(self, server: GatewayServer, number: int) -> None:
        self.number = number
        self._server = server
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._server.connected(self, f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else "memory")

    def data_received(self, data: bytes) -> None:
        self._server.received(self, data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.disconnected(self, str(exc) if exc else "client closed")

    def send(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > OUTPUT_BYTES_MAX:
            self._transport.abort()

    def close(self, abort: bool) -> None:
        if self._transport is None:
            return
        if abort:
            self._transport.abort()
        else:
            self._transport.close()

    def abort(self) -> None:
        self.close(abort=True)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()
