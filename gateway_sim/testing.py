"""Virtual time: unmodified asyncio clients against the simulator in one process, without sockets and without waiting.

    from gateway_sim.testing import run_virtual

    async def conversation(world):
        ib = ib_async.IB()
        await ib.connectAsync(world.host, world.port, clientId=1)
        ...
        await asyncio.sleep(3600)          # an hour passes at once

    world = run_virtual(conversation, seed=7)
    assert not world.violations()

The loop's clock jumps to the next timer instead of sleeping; `create_connection` to the world's host and port gives an
in-memory transport. The same seed gives the same bytes on the wire and the same ledger. What uses threads, real
sockets or the wall clock does not follow virtual time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import selectors
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from gateway_sim.fault_state import FaultValue
from gateway_sim.gateway import Gateway
from gateway_sim.memory_transport import connected_pair
from gateway_sim.scenario import Scenario, build, load
from gateway_sim.server import GatewayServer
from gateway_sim.settings import GatewaySettings

HOST, PORT = "virtual-gateway", 4102
CLOCK_STEP_S = 1e-6
"""Added to every jump: a client that compares `now - t0 > 1.0` strictly would otherwise spin on the deadline."""

T = TypeVar("T")
Conversation = Callable[["World"], Awaitable[T]]


class Stalled(Exception):
    """Nothing is left to happen and the conversation still waits."""


class _JumpingSelector(selectors.SelectSelector):
    """Never blocks: asked to wait, it moves the clock instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or timeout == 0 or (timeout is not None and timeout < 0):
            return ready
        if timeout is None:
            raise Stalled("nothing left to happen: every task waits for something that no timer will bring")
        self.now += timeout + CLOCK_STEP_S
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time that connects to servers registered with it."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._acceptors: dict[tuple[str, int], Callable[[], asyncio.Protocol]] = {}

    def time(self) -> float:
        return self._jumping.now

    def register(self, host: str, port: int, acceptor: Callable[[], asyncio.Protocol]) -> None:
        """Connections to that address reach `acceptor`, without a socket."""
        self._acceptors[(host, port)] = acceptor

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any) -> Any:
        """As in asyncio; only registered addresses exist."""
        acceptor = self._acceptors.get((host, port))
        if acceptor is None:
            raise ConnectionRefusedError(111, f"nothing listens on {host}:{port} in this virtual world")
        protocol = protocol_factory()
        transport = connected_pair(self, protocol, acceptor())
        return transport, protocol


@dataclass
class World:
    """One virtual world: a gateway, its clock and everything it noted."""

    loop: VirtualLoop
    gateway: Gateway
    server: GatewayServer
    ledger: list[dict[str, Any]] = field(default_factory=list)
    host: str = HOST
    port: int = PORT
    notes: dict[str, Any] = field(default_factory=dict)
    """Whatever a conversation wants to hand to the test."""
    _wire: Any = field(default_factory=hashlib.sha256)

    @property
    def now(self) -> float:
        """Elapsed simulated seconds."""
        return self.server.now()

    @property
    def wire_digest(self) -> str:
        """Digest of every byte the gateway sent; equal for equal seeds and conversations."""
        return str(self._wire.hexdigest())

    def inject(self, name: str, lasts_s: float | None = None, **parameters: FaultValue) -> None:
        """Begin a fault now."""
        self.gateway.handle_timer(self.now)
        self.gateway.faults.inject(name, lasts_s, parameters)
        self.server.step()

    def clear(self, name: str) -> None:
        """End a fault now."""
        self.gateway.handle_timer(self.now)
        self.gateway.faults.clear(name)
        self.server.step()

    def events(self, name: str) -> list[dict[str, Any]]:
        """Ledger lines of one kind, oldest first."""
        return [line for line in self.ledger if line["event"] == name]

    def violations(self) -> list[dict[str, Any]]:
        return self.events("violation")


@contextmanager
def virtual_world(
    scenario: Scenario | Path | str | None = None, settings: GatewaySettings | None = None, **changes: Any
) -> Iterator[World]:
    """A world on a fresh loop, which is also the current one inside the block.

    scenario: a loaded scenario or a file. settings, changes: instead of or on top of it (`seed=7`, `start=…`,
    `limits=…`).
    """
    if isinstance(scenario, Path | str):
        scenario = load(Path(scenario))
    scenario = scenario or Scenario(settings or GatewaySettings())
    scenario = replace(scenario, settings=replace(scenario.settings, **changes))
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        yield loop.run_until_complete(_start(loop, scenario))
    finally:
        _end(loop)
        asyncio.set_event_loop(None)


def run_virtual(
    conversation: Conversation[T],
    scenario: Scenario | Path | str | None = None,
    settings: GatewaySettings | None = None,
    **changes: Any,
) -> World:
    """Run a conversation to its end in a fresh world; returns the world for judging. Its exceptions come through."""
    with virtual_world(scenario, settings, **changes) as world:
        world.loop.run_until_complete(conversation(world))
        world.loop.run_until_complete(world.server.stop())
    return world


async def _start(loop: VirtualLoop, scenario: Scenario) -> World:
    gateway = build(scenario)
    ledger: list[dict[str, Any]] = []
    wire = hashlib.sha256()
    server = GatewayServer(gateway, 1.0, lambda line: ledger.append(json.loads(line)), wire.update)
    loop.register(HOST, PORT, server.accept)
    server.step()
    return World(loop, gateway, server, ledger, _wire=wire)


def _end(loop: VirtualLoop) -> None:
    """Cancel what is left and close the loop."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
