"""The listening end of the bus: subscriptions in, messages and honest gaps out. Blocking; needs no event loop."""

from __future__ import annotations

import time
from collections import deque
from typing import Final

import zmq

from gateway_proxy.bus.codec import decode_market
from gateway_proxy.bus.messages import Message
from gateway_proxy.bus.runtime import Locator
from gateway_proxy.bus.sequence import Notice, Sequence
from gateway_proxy.bus.topics import HEALTH_BUS

#: Without even a heartbeat for this long, look whether the proxy has moved.
LOOK_AFTER_S: Final = 1.0


class Feed:
    """One SUB socket with its numbers checked. `maxlen` frames may wait here; more are lost, and told as Gap.

    The heartbeat is always listened to, because it alone tells of a lost tail; it is handed out only if asked for.
    """

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], locator: Locator, maxlen: int = 10_000) -> None:
        self._context = context
        self._locator = locator
        self._maxlen = maxlen
        self._topics: set[str] = set()
        self._sequence = Sequence()
        self._ready: deque[Message | Notice] = deque()
        self._heard_at = time.monotonic()
        self._has_heard = False
        self._socket = self._connect()

    def _connect(self) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, self._maxlen)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        if self._locator.key is not None:
            self._locator.key.secure(socket)
        self._endpoint = self._locator.endpoint("market")
        socket.setsockopt(zmq.IPV6, int("[" in self._endpoint))
        self._wait_ms = -1
        socket.connect(self._endpoint)
        for topic in (HEALTH_BUS, *self._topics):
            socket.subscribe(topic)
        return socket

    def subscribe(self, topic: str) -> None:
        """Ask for a topic, or for all topics under a prefix. A `welcome` answers; subscribing twice changes nothing."""
        if topic not in self._topics:
            self._topics.add(topic)
            self._socket.subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        if topic in self._topics:
            self._topics.discard(topic)
            self._socket.unsubscribe(topic)
            self._sequence.forget(topic)

    @property
    def silent_s(self) -> float:
        """Seconds since anything, heartbeats included, was heard."""
        if self._has_heard:
            # Looking at the clock for each message would cost more than counting it.
            self._has_heard, self._heard_at = False, time.monotonic()
        return time.monotonic() - self._heard_at

    def receive(self, timeout_s: float) -> Message | Notice | None:
        """The next message or notice; None if there is none within `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        self._wait_at_most(timeout_s)
        while not self._ready:
            try:
                frame = self._socket.recv()
            except zmq.Again:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return None
                if self.silent_s > LOOK_AFTER_S:
                    self._follow_the_proxy()
                self._wait_at_most(left_s)
            else:
                self._has_heard = True
                message = decode_market(frame)
                if self._take(message):
                    return message
        return self._ready.popleft()

    def _wait_at_most(self, seconds: float) -> None:
        """One blocking recv with a time-out instead of poll and recv: 4 µs less for each message that is waited for."""
        wait_ms = int(min(max(seconds, 0.0), LOOK_AFTER_S) * 1000)
        if wait_ms == 0 and seconds > 0:
            wait_ms = 1
        if wait_ms != self._wait_ms:
            self._socket.setsockopt(zmq.RCVTIMEO, wait_ms)
            self._wait_ms = wait_ms

    def close(self) -> None:
        self._socket.close(linger=0)

    def _take(self, message: Message) -> bool:
        """True if the message can be handed out as it is; otherwise notices (and then it) are put in line."""
        notices, wanted = self._sequence.receive(message)
        if message.topic == HEALTH_BUS:
            wanted = wanted and any(HEALTH_BUS.startswith(topic) for topic in self._topics)
        if not notices:
            return wanted
        self._ready.extend(notices)
        if wanted:
            self._ready.append(message)
        return False

    def _follow_the_proxy(self) -> None:
        """A restarted proxy may listen elsewhere. On the same address libzmq reconnects by itself."""
        self._locator.refresh()
        if self._locator.connection is not None and self._locator.endpoint("market") != self._endpoint:
            self._socket.close(linger=0)
            self._socket = self._connect()
