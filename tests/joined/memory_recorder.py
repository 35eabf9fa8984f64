"""A recorder on the same loop as proxy and engines: hears the frames they hear, and writes real files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count
from pathlib import Path

import msgspec

from gateway_proxy import Bar
from gateway_proxy.bus import codec, topics
from gateway_proxy.bus.messages import REQUEST_ARGS
from gateway_proxy.recorder.core import AskBars, RecorderCore, RecordRules, Subscribe, Unsubscribe, Write
from gateway_proxy.recorder.files import Files
from tests.joined.joined_world import MemoryProxy
from tests.support.virtual_proxy import START_NS


class MemoryRecorder:
    """Use it as one more engine of the proxy."""

    def __init__(self, proxy: MemoryProxy, rules: RecordRules, directory: Path) -> None:
        self.core = RecorderCore(rules)
        self.files = Files(directory)
        self._proxy = proxy
        self._loop = proxy._loop
        self._topics: set[str] = set()
        self._ids = count(1)
        proxy.engines.append(self)  # type: ignore[arg-type]

    def start(self) -> None:
        self._step(self.core.start)

    def stop(self) -> None:
        self._step(self.core.finish)
        self.files.close()

    def hear(self, topic: str, frame: bytes) -> None:
        if any(topic.startswith(prefix) for prefix in self._topics):
            message = codec.decode_market(frame)
            self._loop.call_soon(self._step, lambda now, wall_ns: self.core.receive_message(message, now, wall_ns))

    def answered(self, ask: AskBars, frame: bytes) -> None:
        bars = msgspec.convert(codec.decode_reply(frame)["body"]["bars"], list[Bar])
        self._step(lambda now, wall_ns: self.core.receive_bars(ask.topic, bars, now, wall_ns))

    def _step(self, feed: Callable[[float, int], None]) -> None:
        now = self._loop.time()
        feed(now, START_NS + int(now * 1e9))
        due = self.core.next_timer()
        if due is not None and due <= now:
            self.core.handle_timer(now)
        for effect in self.core.effects():
            if isinstance(effect, Write):
                self.files.write(effect)
            elif isinstance(effect, AskBars):
                self._loop.call_soon(self._ask, effect)
            elif isinstance(effect, Subscribe):
                self._topics.add(effect.topic)
                self._want(effect.topic, True)
            elif isinstance(effect, Unsubscribe):
                self._topics.discard(effect.topic)
                self._want(effect.topic, False)

    def _want(self, topic: str, wanted: bool) -> None:
        if topics.stream_of(topic) is not None:
            self._loop.call_soon(
                self._proxy.step, lambda now: self._proxy.core.receive_subscription(topic, wanted, now)
            )

    def _ask(self, ask: AskBars) -> None:
        args = {"contract": ask.symbol, "size": ask.size, "count": ask.count, "rth": ask.rth}
        request = codec.decode_request(codec.encode_request(next(self._ids), "bars", args, 20_000), REQUEST_ARGS)
        self._proxy.step(lambda now: self._proxy.core.receive_request((self, ask), "recorder", request, now))


async def settle() -> None:
    """What was put on the loop is done."""
    await asyncio.sleep(0.01)
