"""Engine, bus contract, proxy and simulated Gateway in one process and in virtual time: no socket, no sleep.

Every word between engine and proxy goes through the codec, every word between proxy and Gateway through the TWS wire.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from itertools import count
from typing import Any

from engine.broker import _CERTAIN
from engine.config import from_table
from engine.core import EngineCore
from engine.decisions import Key, key_of
from engine.effects import Answer, Ask, Failure, Reply, Subscribe
from gateway_proxy.assembly import core_settings
from gateway_proxy.bus import codec, topics
from gateway_proxy.bus.messages import REQUEST_ARGS, TRADE_ARGS, Bar
from gateway_proxy.core import effects as fx
from gateway_proxy.core.citations import is_citable
from gateway_proxy.core.proxy import ProxyCore
from gateway_proxy.errors import Conflict, from_reply
from gateway_proxy.settings import Settings
from gateway_proxy.upstream import Upstream
from gateway_sim.settings import GatewaySettings
from gateway_sim.testing import World, run_virtual

ACCOUNT = "DU1234567"
PARAMETERS = {"entry": "trend", "ema_fast": 5, "ema_slow": 13, "rsi_period": 7, "rsi_high": 85.0}


class MemoryProxy:
    """The service of a proxy without process, bus and disk: performs effects in their order, keeps one timer."""

    def __init__(self, world: World) -> None:
        self._loop = world.loop
        settings = Settings()
        settings = replace(settings, trading=replace(settings.trading, mode="paper", account=ACCOUNT))
        self.core = ProxyCore(core_settings(settings, live_confirmed=""), self.now, 0)
        self.core.restore([], self.now)
        self.core.told.epoch = "epoch"
        self.upstream = Upstream(world.host, world.port, 1, connect_timeout_s=5.0, deliver=self._deliver)
        self.published: list[fx.Publish] = []
        self.log: list[fx.Log] = []
        self.appended: list[fx.Append] = []
        self.engines: list[MemoryEngine] = []
        self._seq: Counter[str] = Counter()
        self._queue: list[fx.Effect] = []
        self._is_performing = False
        self._timer: asyncio.TimerHandle | None = None
        self.failure: BaseException | None = None

    @property
    def now(self) -> float:
        return self._loop.time()

    def step(self, feed: Callable[[float], None]) -> None:
        """Feed, perform, re-arm: the same step as the real service's."""
        try:
            feed(self.now)
            self._queue += self.core.effects()
            if self._is_performing:
                return
            self._is_performing = True
            while self._queue:
                self._perform(self._queue.pop(0))
            self._is_performing = False
            self._arm()
        except BaseException as failure:
            self.failure = self.failure or failure
            raise

    def _deliver(self, event: Any) -> None:
        self.step(lambda now: self.core.receive_upstream(event, now))

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Connect():
                self.upstream.connect()
            case fx.Disconnect(reason):
                self.upstream.disconnect(reason)
            case fx.Send(call):
                self.upstream.send(call)
            case fx.Append():
                self.appended.append(effect)
            case fx.Publish(topic, kind, body):
                self.published.append(effect)
                self._seq[topic] += 1
                if is_citable(topic):
                    self.core.told.note(topic, self._seq[topic], self.now)
                frame = codec.encode_market(topic, kind, self._seq[topic], self.core.told.epoch, 0, body)
                for engine in self.engines:
                    engine.hear(topic, frame)
            case fx.Reply():
                engine, ask = effect.client
                frame = (
                    codec.encode_reply_ok(effect.request_id, effect.body)
                    if effect.error is None
                    else codec.encode_reply_error(effect.request_id, effect.error)
                )
                self._loop.call_soon(engine.answered, ask, frame)
            case fx.Log():
                self.log.append(effect)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.next_timer()
        self._timer = None if due is None else self._loop.call_later(max(0.0, due - self.now), self._wake)

    def _wake(self) -> None:
        self.step(self.core.handle_timer)

    def bars(self, topic: str) -> list[Bar]:
        """Finished bars published on a topic."""
        return [
            each.body for each in self.published if each.topic == topic and each.kind == "bar" and each.body.complete
        ]

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.upstream.disconnect("the test ends")
        if self._timer is not None:
            self._timer.cancel()


class MemoryEngine:
    """An engine's core on the same loop; what it asks travels as frames of the bus.

    `late_s`: operation -> how many seconds its answers take to be read. `replies` has each with the decision
    before it, as a decision log has.
    """

    def __init__(self, proxy: MemoryProxy, name: str, symbols: tuple[str, ...]) -> None:
        table = {
            "engines": {
                name: {
                    "strategy": "scalp", "symbols": list(symbols), "parameters": PARAMETERS,
                    "sizing": {"max_quantity": 2}, "bracket": {"stop_loss": 0.2}, "exits": {"max_bars": 10},
                }
            }
        }  # fmt: skip
        config = from_table(table, name, "the joined test")
        self.core = EngineCore(config.core_rules, config.strategy)
        self.records: list[dict[str, Any]] = []
        self.replies: list[tuple[Key | None, Reply]] = []
        self.late_s: dict[str, float] = {}
        self.asked: list[Ask] = []
        self.failures: list[tuple[str, str]] = []
        self._proxy = proxy
        self._loop = proxy._loop
        self._topics: set[str] = set()
        self._ids = count(1)
        self._timer: asyncio.TimerHandle | None = None
        proxy.engines.append(self)

    def start(self) -> None:
        self._step(self.core.start)

    def _step(self, feed: Callable[[float], None]) -> None:
        feed(self._loop.time())
        for effect in self.core.effects():
            if isinstance(effect, Subscribe):
                self._topics.add(effect.topic)
                if topics.stream_of(effect.topic) is not None:
                    self._loop.call_soon(self._subscribe, effect.topic)
            elif isinstance(effect, Ask):
                self.asked.append(effect)
                self._loop.call_soon(self._ask, effect)
            elif hasattr(effect, "body"):
                self.records.append(effect.body)
        self._arm()

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due = self.core.next_timer()
        self._timer = None if due is None else self._loop.call_later(max(0.0, due - self._loop.time()), self._wake)

    def _wake(self) -> None:
        self._step(self.core.handle_timer)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _subscribe(self, topic: str) -> None:
        self._proxy.step(lambda now: self._proxy.core.receive_subscription(topic, True, now))

    def _ask(self, ask: Ask) -> None:
        frame = codec.encode_request(next(self._ids), ask.op, ask.args, int(ask.timeout_s * 1_000))
        core = self._proxy.core
        if ask.socket == "trade":
            request = codec.decode_request(frame, TRADE_ARGS)
            self._proxy.step(lambda now: core.receive_trade((self, ask), self.core.rules.name, request, now))
        else:
            request = codec.decode_request(frame, REQUEST_ARGS)
            self._proxy.step(lambda now: core.receive_request((self, ask), self.core.rules.name, request, now))

    def answered(self, ask: Ask, frame: bytes) -> None:
        self._loop.call_later(self.late_s.get(ask.op, 0.0), self._read_answer, ask, frame)

    def _read_answer(self, ask: Ask, frame: bytes) -> None:
        reply = codec.decode_reply(frame)
        if reply["ok"]:
            return self._told(Answer(ask.question, reply["body"]))
        error = from_reply(reply["error"])
        self.failures.append((ask.op, error.code))
        certain = isinstance(error, _CERTAIN) and not isinstance(error, Conflict)
        self._told(Failure(ask.question, error.code, str(error), certain, error.retry_in_s))

    def _told(self, reply: Reply) -> None:
        self.replies.append((key_of(self.records[-1]) if self.records else None, reply))
        self._step(lambda now: self.core.receive_reply(reply, now))

    def hear(self, topic: str, frame: bytes) -> None:
        if topic in self._topics:
            message = codec.decode_market(frame)
            self._loop.call_soon(lambda: self._step(lambda now: self.core.receive_message(message, now)))


class Joined:
    """Everything together, for a conversation of a test."""

    def __init__(self, world: World, names: tuple[str, ...], symbols: tuple[str, ...]) -> None:
        self.world = world
        self.proxy = MemoryProxy(world)
        self.engines = [MemoryEngine(self.proxy, name, symbols) for name in names]

    async def run(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self.proxy.failure is not None:
            raise self.proxy.failure


def play(
    story: Callable[[Joined], Awaitable[None]],
    *,
    engines: tuple[str, ...] = ("alpha",),
    symbols: tuple[str, ...] = ("SPY",),
    **changes: Any,
) -> Joined:
    """Start everything, wait until the session is ready and the engines run, play the story, stop everything."""
    kept: list[Joined] = []

    async def conversation(world: World) -> None:
        joined = Joined(world, engines, symbols)
        kept.append(joined)
        joined.proxy.step(joined.proxy.core.handle_timer)
        await joined.run(5.0)
        assert joined.proxy.core.health.state.value == "ready", joined.proxy.core.health.reason
        for engine in joined.engines:
            engine.start()
        await story(joined)
        for engine in joined.engines:
            engine.stop()
        joined.proxy.stop()
        await asyncio.sleep(0.1)
        joined.proxy.stop()

    facts: dict[str, Any] = {"start": "2026-06-15 11:00", "seed": 1} | changes
    run_virtual(conversation, settings=GatewaySettings(**facts))
    return kept[0]
