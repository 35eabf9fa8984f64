"""The proxy's end of the bus: three plain sockets drained from the event loop. Decides nothing; hands requests up.

zmq.asyncio would cost ten times the throughput. A socket's FD is edge-triggered, so every wake-up and every send is
followed by a look at what else is there; otherwise a message could wait for ever.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal

import annotated_types
import zmq

from gateway_proxy.bus.auth import Gatekeeper, KeyRing, find_hole, require_safe_host
from gateway_proxy.bus.codec import decode_request, encode_reply_error, encode_reply_ok, learn
from gateway_proxy.bus.messages import PROTOCOL_VERSION, REQUEST_ARGS, TRADE_ARGS, Request
from gateway_proxy.bus.publisher import Publisher, SnapshotOf
from gateway_proxy.bus.runtime import SOCKETS, Connection, RuntimeDir
from gateway_proxy.errors import BadMessage, ConfigError, GatewayUnavailable, ProxyError, QueueFull

log = logging.getLogger(__name__)

#: Frames read from one socket before the others and the rest of the process get their turn.
FRAMES_PER_TURN: Final = 200
#: Frames up to this multiple of `max_frame_bytes` get a polite refusal; beyond it libzmq hangs up on the sender.
POLITE_FACTOR: Final = 4
_NOBLOCK: Final = int(zmq.NOBLOCK)
MARKET_BYTES_MAX: Final = 1024
BAD_FRAME_LOG_SPACING_S: Final = 1.0

Port = Annotated[int, annotated_types.Ge(0), annotated_types.Le(65535)]


@dataclass(frozen=True, slots=True)
class BusSettings:
    """How programs reach the proxy."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    runtime_dir: str = (
        ""  # "" means $GATEWAY_PROXY_RUNTIME, $XDG_RUNTIME_DIR/gateway-proxy or ~/.local/state/gateway-proxy
    )
    transport: Literal["ipc", "tcp"] = "ipc"  # ipc: the kernel vouches for the user; tcp: loopback, or with keys
    host: str = "127.0.0.1"  # tcp only; another address than loopback needs keys_dir
    keys_dir: str = ""  # tcp only: server.toml and clients/*.toml; "" means no keys
    market_port: Port = 5701  # tcp only; 0 lets the system choose, connection.json tells
    request_port: Port = 5702
    trade_port: Port = 5703
    sndhwm: Annotated[int, annotated_types.Ge(1), annotated_types.Le(1_000_000)] = 10_000  # frames kept per slow reader
    max_frame_bytes: Annotated[int, annotated_types.Ge(1024), annotated_types.Le(1 << 26)] = 1 << 20
    heartbeat_s: Annotated[float, annotated_types.Gt(0), annotated_types.Le(60)] = 0.25


@dataclass(frozen=True, slots=True)
class Client:
    """Whom to answer. `peer`: "localhost:uid:gid:pid" from the kernel (ipc), "key:<name>", an address (tcp), or ""."""

    socket: Literal["request", "trade"]
    route: bytes
    delimiter: bool
    peer: str = ""


OnRequest = Callable[[Client, Request], None]
OnSubscription = Callable[[str, bool], None]


class BusServer:
    """`start` inside a running loop, `close` at the end; in between it calls back and is called, always in that loop.

    on_request, on_trade: every well-formed request of that socket; answer each exactly once with `reply`.
    on_subscription: a topic prefix got its first subscriber (True) or lost its last one (False).
    snapshot_of: body of a topic's welcome, None for its last body.
    A reader that falls `sndhwm` frames behind loses frames and sees it by their numbers; nobody waits for it.
    """

    def __init__(
        self,
        runtime_dir: Path,
        settings: BusSettings,
        epoch: str,
        *,
        on_request: OnRequest | None = None,
        on_trade: OnRequest | None = None,
        on_subscription: OnSubscription | None = None,
        snapshot_of: SnapshotOf | None = None,
    ) -> None:
        self.epoch = epoch
        self.connection: Connection | None = None
        self.on_request = on_request or self._not_serving
        self.on_trade = on_trade or self._not_serving
        self.on_subscription = on_subscription or (lambda topic, subscribed: None)
        self.counters = {"requests": 0, "refused": 0, "dropped": 0}
        self._settings = settings
        self._runtime = RuntimeDir(runtime_dir)
        self._publisher = Publisher(epoch, snapshot_of)
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._contexts: list[zmq.Context[zmq.Socket[bytes]]] = []
        self._ring: KeyRing | None = None
        self._gatekeepers: list[Gatekeeper] = []
        self._heartbeat_timer: asyncio.TimerHandle | None = None
        self._welcome_timer: asyncio.TimerHandle | None = None
        self._look_again_planned = False
        self._takes_orders = False
        self._bad_frame_logged_at = -BAD_FRAME_LOG_SPACING_S

    # ------------------------------------------------------------ life

    def start(self) -> None:
        """Own the runtime directory, bind, announce, begin to beat.

        Raises AlreadyRunning, or ConfigError for a bad address, a port in use or an unusable directory; then nothing
        is left behind.
        """
        self._loop = asyncio.get_running_loop()
        learn((*REQUEST_ARGS.values(), *TRADE_ARGS.values()))
        self._runtime.acquire()
        try:
            endpoints = self._bind_all()
            public = self._ring.server.public if self._ring else None
            self.connection = Connection(PROTOCOL_VERSION, self.epoch, os.getpid(), endpoints, public)
            self._runtime.write_connection(self.connection)
        except BaseException:
            self.close()
            raise
        for name, socket in self._sockets.items():
            self._loop.add_reader(socket, self._look, name)
        for keeper in self._gatekeepers:
            self._loop.add_reader(keeper.socket, keeper.answer_all)
        self._look_again()
        self.heartbeat()
        if public is not None:
            self._prove_closed(endpoints, public)

    def close(self) -> None:
        """Stop at once: what readers have not taken yet is lost. Leaves no file. May be called twice."""
        for timer in (self._heartbeat_timer, self._welcome_timer):
            if timer is not None:
                timer.cancel()
        for socket in (*self._sockets.values(), *(keeper.socket for keeper in self._gatekeepers)):
            self._loop.remove_reader(socket)
            socket.close(linger=0)
        self._sockets.clear()
        self._gatekeepers.clear()
        for context in self._contexts:
            context.term()
        self._contexts.clear()
        self._runtime.release()

    def _bind_all(self) -> dict[str, str]:
        # A context has its own I/O thread: a flood of data requests cannot slow the bytes of an order down.
        data, trade = zmq.Context(), zmq.Context()
        self._contexts = [data, trade]
        if self._settings.transport == "tcp":
            require_safe_host(self._settings.host, bool(self._settings.keys_dir))
            if self._settings.keys_dir:
                self._ring = KeyRing.load(Path(self._settings.keys_dir).expanduser())
                self._gatekeepers = [Gatekeeper(context, self._ring) for context in self._contexts]
        self._sockets["market"] = self._market_socket(data)
        self._sockets["request"] = self._router(data)
        self._sockets["trade"] = self._router(trade)
        return {name: self._bind(name) for name in SOCKETS}

    def _market_socket(self, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
        socket = self._socket(context, zmq.XPUB)
        socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        # The only thing that may come in here is a subscription; the frames of a CURVE handshake are the longest.
        socket.setsockopt(zmq.MAXMSGSIZE, MARKET_BYTES_MAX)
        return socket

    def _router(self, context: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
        socket = self._socket(context, zmq.ROUTER)
        # A reply to somebody who left is an error we count, not a silence.
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        socket.setsockopt(zmq.MAXMSGSIZE, POLITE_FACTOR * self._settings.max_frame_bytes)
        return socket

    def _socket(self, context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
        socket = context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, self._settings.sndhwm)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        if self._settings.transport == "tcp":
            # Finds hosts that vanished without closing; a killed local process is noticed by the kernel.
            socket.setsockopt(zmq.HEARTBEAT_IVL, 5000)
            socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 15_000)
            # Not always: it would announce 127.0.0.1 as [::ffff:127.0.0.1], which other clients cannot read.
            socket.setsockopt(zmq.IPV6, int(":" in self._settings.host))
        return socket

    def _bind(self, name: str) -> str:
        socket = self._sockets[name]
        if self._settings.transport == "ipc":
            endpoint = self._runtime.ipc_endpoint(name)
        else:
            if self._ring is not None:
                self._ring.secure(socket, name)
            host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
            endpoint = f"tcp://{host}:{getattr(self._settings, f'{name}_port')}"
        umask = os.umask(0o177)
        try:
            socket.bind(endpoint)
        except zmq.ZMQError as error:
            raise ConfigError(f"[bus] {name}: cannot bind {endpoint}: {error.strerror}") from error
        finally:
            os.umask(umask)
        return socket.getsockopt_string(zmq.LAST_ENDPOINT)

    def _prove_closed(self, endpoints: dict[str, str], public: str) -> None:
        """The canary: if a stranger gets in, close everything and fail loudly. It runs beside the loop."""
        near = {
            name: endpoint.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
            for name, endpoint in endpoints.items()
        }

        def judge(canary: asyncio.Future[str | None]) -> None:
            hole = f"the canary failed: {canary.exception()}" if canary.exception() else canary.result()
            if hole is None or not self._sockets:
                return
            log.critical("bus closed: it admitted a stranger", extra={"reason": hole})
            self.close()
            error = ConfigError(f"[bus] keys do not protect the sockets: {hole}")
            self._loop.call_exception_handler({"message": str(error), "exception": error})

        self._loop.run_in_executor(None, find_hole, near, public).add_done_callback(judge)

    # ------------------------------------------------------------ out

    def publish(self, topic: str, kind: str, body: Any) -> int:
        """Number it, remember it, send it to whoever subscribed; returns the number.

        Beyond the bounded number of topics it is dropped, and the answer is 0.
        """
        try:
            frame = self._publisher.publish(topic, kind, body, time.time_ns())
        except QueueFull as error:
            self.counters["dropped"] += 1
            self._log_bad_frame("message not published", str(error))
            return 0
        self._send_market(frame)
        return self._publisher.seq_of(topic)

    def reply(
        self,
        client: Client,
        request_id: str | int,
        *,
        body: Any = None,
        error: ProxyError | None = None,
        columns: bytes | None = None,
    ) -> None:
        """The one terminal answer to a request. `columns` goes out as a second, binary frame.

        If the client has left, or does not read its answers, the reply is dropped and counted.
        """
        if error is not None:
            self._send_reply(client, [encode_reply_error(request_id, error)])
        else:
            frame = encode_reply_ok(request_id, body)
            self._send_reply(client, [frame] if columns is None else [frame, columns])

    def snapshot(self, prefix: str) -> dict[str, dict[str, Any]]:
        """The answer to the op `snapshot`: the last value of every topic under `prefix`."""
        return self._publisher.snapshot(prefix)

    def heartbeat(self) -> None:
        """Beat now, and again every `heartbeat_s`."""
        if self._heartbeat_timer is not None:
            self._heartbeat_timer.cancel()
        self._heartbeat_timer = self._loop.call_later(self._settings.heartbeat_s, self.heartbeat)
        self._send_market(self._publisher.heartbeat(self.counters, time.time_ns()))

    def _send_market(self, frame: bytes) -> None:
        # XPUB without NODROP never blocks: it drops for the reader that is full, and only for that one.
        self._sockets["market"].send(frame, _NOBLOCK)
        self._look_again()

    def _send_reply(self, client: Client, frames: list[bytes]) -> None:
        envelope = [client.route, b""] if client.delimiter else [client.route]
        try:
            self._sockets[client.socket].send_multipart([*envelope, *frames], _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self.counters["dropped"] += 1
        self._look_again()

    # ------------------------------------------------------------ in

    def _look_again(self) -> None:
        if not self._look_again_planned:
            self._look_again_planned = True
            self._loop.call_soon(self._look_everywhere)

    def _look_everywhere(self) -> None:
        self._look_again_planned = False
        for name in ("trade", "request", "market"):
            self._look(name)

    def look_for_orders(self) -> None:
        """Between pieces of other work: take what waits on the trade socket, so that no order waits for all of them."""
        if not self._takes_orders:
            self._look("trade")

    def _look(self, name: str) -> None:
        """Take what waits on one socket, at most FRAMES_PER_TURN messages; plan another look if that was not all."""
        socket = self._sockets.get(name)
        if socket is None:
            return
        for _ in range(FRAMES_PER_TURN):
            try:
                frames = socket.recv_multipart(_NOBLOCK, copy=False)
            except zmq.Again:
                return
            if name == "market":
                self._receive_subscription(frames)
            elif name == "trade":
                self._takes_orders = True
                self._receive_request(name, frames)
                self._takes_orders = False
            else:
                self._receive_request(name, frames)
            if not self._sockets:
                return
        self._look_again()

    def _receive_subscription(self, frames: list[zmq.Frame]) -> None:
        raw = frames[0].bytes
        try:
            if len(frames) != 1 or raw[:1] not in (b"\0", b"\1"):
                raise BadMessage("market socket: only subscriptions may be sent to it")
            subscribed = raw[:1] == b"\1"
            if subscribed:
                topic = self._publisher.subscribed(raw[1:], self._loop.time())
            else:
                topic = self._publisher.unsubscribed(raw[1:])
        except (BadMessage, QueueFull) as error:
            self._refuse_frame(str(error))
            return
        if topic is not None:
            self.on_subscription(topic, subscribed)
        self._send_welcomes()

    def _send_welcomes(self) -> None:
        if not self._sockets:
            return
        now = self._loop.time()
        for frame in self._publisher.welcomes(now, time.time_ns()):
            self._send_market(frame)
        due = self._publisher.next_timer()
        if self._welcome_timer is not None:
            self._welcome_timer.cancel()
        self._welcome_timer = None if due is None else self._loop.call_at(max(due, now), self._send_welcomes)

    def _receive_request(self, name: str, frames: list[zmq.Frame]) -> None:
        socket: Literal["request", "trade"] = "trade" if name == "trade" else "request"
        client, payload = _sender(socket, frames, has_keys=self._ring is not None)
        self.counters["requests"] += 1
        ops, receive = (TRADE_ARGS, self.on_trade) if name == "trade" else (REQUEST_ARGS, self.on_request)
        try:
            if len(payload) != 1:
                raise BadMessage(f"want one frame of JSON, got {len(payload)} frames")
            request = decode_request(payload[0].bytes, ops, self._settings.max_frame_bytes)
        except BadMessage as error:
            self._refuse_frame(str(error))
            self._send_reply(client, [encode_reply_error(error.request_id, error)])
            return
        receive(client, request)

    def _refuse_frame(self, reason: str) -> None:
        self.counters["refused"] += 1
        self._log_bad_frame("frame refused", reason)

    def _log_bad_frame(self, event: str, reason: str) -> None:
        """At most one line a second: a broken peer must not fill the disk. The counters have the whole number."""
        if self._loop.time() - self._bad_frame_logged_at >= BAD_FRAME_LOG_SPACING_S:
            self._bad_frame_logged_at = self._loop.time()
            log.warning(event, extra={"reason": reason, **self.counters})

    def _not_serving(self, client: Client, request: Request) -> None:
        self.reply(client, request.id, error=GatewayUnavailable("the proxy is starting", retry_in_s=1.0))


def _sender(
    name: Literal["request", "trade"], frames: list[zmq.Frame], *, has_keys: bool
) -> tuple[Client, list[zmq.Frame]]:
    """Whom a request came from, and its frames. REQ puts an empty frame in front, DEALER does as it likes."""
    route, *payload = frames
    delimiter = len(payload) > 1 and not len(payload[0])
    if delimiter:
        payload = payload[1:]
    return Client(name, route.bytes, delimiter, _peer(frames[-1], has_keys)), payload


def _peer(frame: zmq.Frame, has_keys: bool) -> str:
    # Without keys nobody has a user id, and asking for one costs an exception with every request.
    for prefix, word in (("key:", "User-Id"), ("", "Peer-Address"))[not has_keys :]:
        try:
            if told := str(frame.get(word)):
                return prefix + told
        except zmq.ZMQError:
            continue
    return ""
