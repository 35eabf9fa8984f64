"""The proxy's core and its real upstream shell in the simulator's virtual time: IB's wire between them, no sockets.

Hours of market pass in seconds. The line from proxy to simulator delays every message by its own random moment,
in order, as a network does; the simulator judges when they arrive.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

from gateway_proxy.assembly import core_settings
from gateway_proxy.bus.codec import convert
from gateway_proxy.bus.messages import REQUEST_ARGS, Request
from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.proxy import ProxyCore
from gateway_proxy.settings import Settings
from gateway_proxy.upstream import Upstream
from gateway_sim.testing import World

JITTERED_HOST = "jittered-gateway"
START_NS = 1_781_535_600_000_000_000

OnReply = Callable[[fx.Reply], None]


class LateLine(asyncio.Protocol):
    """Hands on what arrives after up to `jitter_s`, never out of order."""

    def __init__(self, inner: asyncio.Protocol, dice: random.Random, jitter_s: float) -> None:
        self._inner = inner
        self._dice = dice
        self._jitter_s = jitter_s
        self._loop = asyncio.get_running_loop()
        self._latest = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        # Timers of one moment have no order among themselves.
        self._latest = max(self._latest + 1e-7, self._loop.time() + self._dice.uniform(0, self._jitter_s))
        self._loop.call_at(self._latest, self._inner.data_received, data)

    def connection_lost(self, reason: Exception | None) -> None:
        self._loop.call_at(max(self._latest + 1e-7, self._loop.time()), self._inner.connection_lost, reason)


class VirtualProxy:
    """One proxy in a world; `ask` calls back with the one reply. `sent` has every call by its request id."""

    def __init__(
        self, world: World, *, settings: Settings | None = None, jitter_s: float = 0.05, seed: int = 1
    ) -> None:
        dice = random.Random(seed)
        loop = world.loop
        loop.register(JITTERED_HOST, world.port, lambda: LateLine(world.server.accept(), dice, jitter_s))
        self._loop = loop
        core = replace(core_settings(settings or Settings(), live_confirmed=""), simulated=True, publish_s=60.0)
        self.core = ProxyCore(core, loop.time(), START_NS)
        self.core.restore([], loop.time())
        self.sent: dict[int, Any] = {}
        self.published: dict[str, list[Any]] = {}
        self.logs: list[fx.Log] = []
        self._upstream = Upstream(JITTERED_HOST, world.port, 1, connect_timeout_s=10.0, deliver=self._receive_upstream)
        self._numbers = count(1)
        self._waiting: dict[Any, OnReply] = {}
        self._queue: list[fx.Effect] = []
        self._is_performing = False
        self._timer: asyncio.TimerHandle | None = None
        self._performers: dict[type, Callable[[Any], None]] = {
            fx.Connect: lambda effect: self._upstream.connect(),
            fx.Disconnect: lambda effect: self._upstream.disconnect(effect.reason),
            fx.Send: self._send,
            fx.Reply: self._reply,
            fx.Publish: lambda effect: self.published.setdefault(effect.topic, []).append(effect.body),
            fx.Log: self.logs.append,
            fx.Append: lambda effect: None,
        }

    async def start(self) -> None:
        """Connected and ready."""
        self._step(self.core.handle_timer)
        for _ in range(100):
            if self.core.health.state.value == "ready":
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"not ready: {self.core.health.state} {self.core.health.reason}")

    def ask(self, op: str, owner: str, on_reply: OnReply, *, expires_in_s: float | None = None, **args: Any) -> None:
        number = next(self._numbers)
        self._waiting[number] = on_reply
        request = Request(number, op, convert(args, REQUEST_ARGS[op], op), expires_in_s)
        self._step(lambda now: self.core.receive_request("client", owner, request, now))

    async def answer(self, op: str, owner: str = "one", **args: Any) -> Any:
        """The body of the reply. Raises its error."""
        done = self._loop.create_future()
        self.ask(op, owner, done.set_result, **args)
        reply = await done
        if reply.error is not None:
            raise reply.error
        return reply.body

    def subscribe(self, topic: str, wanted: bool = True) -> None:
        self._step(lambda now: self.core.receive_subscription(topic, wanted, now))

    @property
    def unanswered(self) -> int:
        return len(self._waiting)

    # ------------------------------------------------------------ the shell

    def _receive_upstream(self, event: ev.UpstreamEvent) -> None:
        self._step(lambda now: self.core.receive_upstream(event, now))

    def _step(self, feed: Callable[[float], None]) -> None:
        feed(self._loop.time())
        self._queue += self.core.effects()
        if self._is_performing:
            return
        self._is_performing = True
        while self._queue:
            effect = self._queue.pop(0)
            self._performers[type(effect)](effect)
        self._is_performing = False
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.next_timer()
        if due is not None:
            self._timer = self._loop.call_at(max(due, self._loop.time()), self._step, self.core.handle_timer)

    def _send(self, effect: fx.Send) -> None:
        if self._upstream.send(effect.call) and (req_id := getattr(effect.call, "req_id", None)) is not None:
            self.sent.setdefault(req_id, effect.call)

    def _reply(self, effect: fx.Reply) -> None:
        self._waiting.pop(effect.request_id)(effect)
