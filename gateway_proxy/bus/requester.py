"""The asking end of the bus: one question, one answer, or the truth about why there is none. Blocking; needs no loop.

A DEALER instead of a REQ socket, because a REQ that lost its answer can never ask again. After a lost answer the
socket is thrown away, so that a late reply has nowhere to arrive.
"""

from __future__ import annotations

import itertools
import time
from typing import Any, Final

import zmq

from gateway_proxy.bus.codec import decode_reply, encode_request
from gateway_proxy.bus.runtime import Locator
from gateway_proxy.errors import ProxyUnreachable, from_reply

#: How often a waiting caller looks whether the proxy has restarted meanwhile.
LOOK_EVERY_S: Final = 0.25
#: The proxy is told a slightly earlier deadline than the caller's, so that its own answer arrives in time.
PROXY_SHARE: Final = 0.9
_NOBLOCK: Final = int(zmq.NOBLOCK)


class AnswerLost(ProxyUnreachable):
    """The question left, the answer did not come: the proxy may have acted on it. `restarted`: it died meanwhile."""

    def __init__(self, message: str, *, restarted: bool) -> None:
        super().__init__(message)
        self.restarted = restarted


class Requester:
    """Questions to one socket of the proxy ("request" or "trade"), one at a time, from one thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], locator: Locator, socket_name: str) -> None:
        self._context = context
        self._locator = locator
        self._name = socket_name
        self._socket: zmq.Socket[bytes] | None = None
        self._endpoint = ""
        self._wait_ms = -1
        self._ids = itertools.count(1)

    def ask(self, op: str, args: Any, timeout_s: float) -> Any:
        """The body of the answer. Raises the proxy's own refusal as one of our errors,

        AnswerLost if the question left but no answer came within `timeout_s`, and
        ProxyUnreachable if it never left, so that nothing can have happened.
        """
        deadline = time.monotonic() + timeout_s
        request_id = next(self._ids)
        frame = encode_request(request_id, op, args, max(1, int(timeout_s * PROXY_SHARE * 1000)))
        socket = self._send(frame, deadline, timeout_s)
        reply = self._await_reply(socket, request_id, op, deadline, timeout_s)
        if reply.get("ok") is True:
            return reply.get("body")
        raise from_reply(reply["error"])

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def wait_until_connected(self, timeout_s: float) -> None:
        """Raises ProxyUnreachable if nobody accepts the connection in time."""
        if not self._connected().poll(_ms(timeout_s), zmq.POLLOUT):
            self.close()
            raise ProxyUnreachable(f"nobody accepts at {self._endpoint}: {self._locator.why_silent()}")

    def _connected(self) -> zmq.Socket[bytes]:
        endpoint = self._locator.endpoint(self._name)
        if self._socket is None or endpoint != self._endpoint:
            self.close()
            self._socket = self._context.socket(zmq.DEALER)
            self._socket.setsockopt(zmq.LINGER, 0)
            # Without it a question would wait in a queue for a proxy that may start much later.
            self._socket.setsockopt(zmq.IMMEDIATE, 1)
            self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
            self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
            self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
            if self._locator.key is not None:
                self._locator.key.secure(self._socket)
            self._wait_ms = -1
            self._socket.connect(endpoint)
            self._endpoint = endpoint
        return self._socket

    def _send(self, frame: bytes, deadline: float, timeout_s: float) -> zmq.Socket[bytes]:
        """The socket that took the frame. With IMMEDIATE it takes none before somebody has accepted the connection."""
        while True:
            socket = self._connected()
            try:
                socket.send(frame, _NOBLOCK)
                return socket
            except zmq.Again:
                left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.close()
                why = self._locator.why_silent()
                raise ProxyUnreachable(f"nothing sent: {self._endpoint} did not accept within {timeout_s:.3g} s: {why}")
            socket.poll(_ms(min(LOOK_EVERY_S, left_s)), zmq.POLLOUT)

    def _await_reply(
        self, socket: zmq.Socket[bytes], request_id: int, op: str, deadline: float, timeout_s: float
    ) -> dict[str, Any]:
        epoch = self._locator.connection.epoch if self._locator.connection else ""
        while (left_s := deadline - time.monotonic()) > 0:
            wait_ms = max(1, _ms(min(LOOK_EVERY_S, left_s)))
            if wait_ms != self._wait_ms:
                socket.setsockopt(zmq.RCVTIMEO, wait_ms)
                self._wait_ms = wait_ms
            try:
                frames = [part for part in socket.recv_multipart() if part]
            except zmq.Again:
                if self._locator.epoch == epoch:
                    continue
                self.close()
                raise AnswerLost(f"{op}: the proxy restarted before it answered", restarted=True) from None
            reply = decode_reply(frames[0])
            # None: refused before its id could be read; ours is the only question under way.
            if reply.get("id") in (request_id, None):
                return reply
        self.close()
        raise AnswerLost(f"{op}: no answer within {timeout_s:.3g} s: {self._locator.why_silent()}", restarted=False)


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
