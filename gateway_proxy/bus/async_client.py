"""The same client for programs that live in an asyncio loop: same names, `await` and `async for`.

Many questions may be under way at once. The proxy itself never uses this module: zmq.asyncio is ten times slower
than plain sockets (performance 2), which does not matter to a reader.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import zmq
import zmq.asyncio

from gateway_proxy.bus import calls
from gateway_proxy.bus.auth import ClientKey
from gateway_proxy.bus.calls import Call
from gateway_proxy.bus.client import SILENCE_S, TIMEOUT_S
from gateway_proxy.bus.codec import decode_market, decode_reply, encode_request
from gateway_proxy.bus.feed import LOOK_AFTER_S
from gateway_proxy.bus.messages import AccountValues, Contract, Fill, Message, OrderReply, OrderUpdate, Position, Quote
from gateway_proxy.bus.requester import LOOK_EVERY_S, PROXY_SHARE, AnswerLost
from gateway_proxy.bus.results import Bars, ChainTable
from gateway_proxy.bus.runtime import Locator
from gateway_proxy.bus.sequence import Notice, Sequence
from gateway_proxy.bus.topics import HEALTH_BUS
from gateway_proxy.errors import ProxyUnreachable, UnknownOutcome, from_reply

_T = TypeVar("_T")


class _Line:
    """One DEALER socket and the questions under way on it, by id. A reply that nobody waits for any more is dropped."""

    def __init__(self, context: zmq.asyncio.Context, endpoint: str, key: ClientKey | None) -> None:
        self.endpoint = endpoint
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        self._socket.setsockopt(zmq.RECONNECT_IVL, 50)
        self._socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        self._socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        if key is not None:
            key.secure(self._socket)
        self._socket.connect(endpoint)
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def ask(self, op: str, args: Any, timeout_s: float, locator: Locator) -> Any:
        deadline = asyncio.get_running_loop().time() + timeout_s
        request_id, epoch = next(self._ids), locator.epoch
        frame = encode_request(request_id, op, args, max(1, int(timeout_s * PROXY_SHARE * 1000)))
        # Before sending: the answer may be here before this task is.
        answer = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            await self._send(frame, timeout_s, locator)
            while (left_s := deadline - asyncio.get_running_loop().time()) > 0:
                await asyncio.wait({answer}, timeout=min(LOOK_EVERY_S, left_s))
                if answer.done():
                    return _body(answer.result())
                if locator.epoch != epoch:
                    raise AnswerLost(f"{op}: the proxy restarted before it answered", restarted=True)
        finally:
            del self._waiting[request_id]
        raise AnswerLost(f"{op}: no answer within {timeout_s:.3g} s: {locator.why_silent()}", restarted=False)

    async def _send(self, frame: bytes, timeout_s: float, locator: Locator) -> None:
        try:
            await asyncio.wait_for(self._socket.send(frame), timeout_s)
        except TimeoutError:
            why = f"{self.endpoint} did not accept within {timeout_s:.3g} s: {locator.why_silent()}"
            raise ProxyUnreachable(f"nothing sent: {why}") from None

    async def _read(self) -> None:
        while True:
            frames = [frame for frame in await self._socket.recv_multipart() if frame]
            reply = decode_reply(frames[0])
            answer = self._waiting.get(reply.get("id", 0))
            if answer is not None and not answer.done():
                answer.set_result(reply)

    async def close(self) -> None:
        self._reader.cancel()
        await asyncio.wait({self._reader})
        self._socket.close(linger=0)


def _body(reply: dict[str, Any]) -> Any:
    if reply.get("ok") is True:
        return reply.get("body")
    raise from_reply(reply["error"])


async def _hear(socket: zmq.asyncio.Socket) -> bytes | None:
    """The next frame; None if there is none for LOOK_AFTER_S."""
    try:
        return await asyncio.wait_for(socket.recv(), LOOK_AFTER_S)
    except TimeoutError:
        return None


class AsyncClient:
    """See `Client`; every method here is awaited. Use it from one event loop."""

    def __init__(self, locator: Locator, *, name: str = "client", timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._locator = locator
        self._context = zmq.asyncio.Context()
        self._lines: dict[str, _Line] = {}

    @classmethod
    async def connect(
        cls,
        runtime_dir: str | Path | None = None,
        *,
        endpoints: dict[str, str] | None = None,
        keys: str | Path | None = None,
        name: str | None = None,
        timeout_s: float = 5.0,
        request_timeout_s: float = TIMEOUT_S,
    ) -> Self:
        """As `Client.connect`: waits up to `timeout_s` for an answering proxy, then raises ProxyUnreachable."""
        directory = Path(runtime_dir).expanduser() if runtime_dir is not None else None
        key = ClientKey.load(Path(keys).expanduser()) if keys is not None else None
        client = cls(Locator(directory, endpoints, key), name=name or "client", timeout_s=request_timeout_s)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            try:
                await client.request("status", timeout_s=max(0.05, deadline - asyncio.get_running_loop().time()))
                return client
            except ProxyUnreachable:
                if asyncio.get_running_loop().time() >= deadline:
                    await client.close()
                    raise
                await asyncio.sleep(0.05)

    async def close(self) -> None:
        for line in self._lines.values():
            await line.close()
        self._lines.clear()
        self._context.destroy(linger=0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self.close()

    async def _line(self, name: str) -> _Line:
        endpoint = self._locator.endpoint(name)
        line = self._lines.get(name)
        if line is None or line.endpoint != endpoint:
            self._lines[name] = _Line(self._context, endpoint, self._locator.key)
            if line is not None:
                await line.close()
        return self._lines[name]

    async def request(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        """The body of the answer to any op of the request socket. Retried once if the proxy restarts meanwhile."""
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            return await (await self._line("request")).ask(op, args or {}, wait_s, self._locator)
        except AnswerLost as error:
            if not error.restarted:
                raise
            return await (await self._line("request")).ask(op, args or {}, wait_s, self._locator)

    async def trade(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        """The body of the answer to any op of the trade socket. Never retried: UnknownOutcome if no answer came."""
        asked = args or {}
        wait_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            return await (await self._line("trade")).ask(op, asked, wait_s, self._locator)
        except AnswerLost as error:
            raise calls.unknown_outcome(error, asked) from error
        except UnknownOutcome as error:
            error.ref = error.ref or str(asked.get("client_order_id", ""))
            raise

    async def _perform(self, call: Call[_T], timeout_s: float | None = None) -> _T:
        ask = self.trade if call.is_trade else self.request
        return call.read(await ask(call.op, call.args, timeout_s))

    # ------------------------------------------------------------ state

    async def health(self) -> dict[str, Any]:
        return await self._perform(calls.plain("health"))

    async def status(self) -> dict[str, Any]:
        return await self._perform(calls.plain("status"))

    async def explain(self, op: str = "bars", **args: Any) -> dict[str, Any]:
        return await self._perform(calls.explain(op, args))

    async def diagnose(self) -> dict[str, Any]:
        return await self._perform(calls.plain("diagnose"))

    async def report(self, kind: str, name: str, body: dict[str, Any]) -> None:
        await self._perform(calls.plain("report", kind=kind, name=name, body=body))

    # ------------------------------------------------------------ market data

    async def qualify(self, *contracts: Any, timeout_s: float | None = None) -> list[Contract]:
        return list(await asyncio.gather(*(self._perform(calls.contract(one), timeout_s) for one in contracts)))

    async def bars(
        self,
        contract: Any,
        size: str = "1min",
        *,
        count: int = 60,
        what: str = "TRADES",
        rth: bool = True,
        fresh: bool = False,
        max_age_s: float | None = None,
        timeout_s: float | None = None,
    ) -> Bars:
        return await self._perform(calls.bars(contract, size, count, what, rth, fresh, max_age_s), timeout_s)

    async def quote(self, contract: Any, *, timeout_s: float | None = None) -> Quote:
        return await self._perform(calls.quote(contract), timeout_s)

    async def chain(
        self,
        contract: Any,
        *,
        expiry: str = "nearest",
        around: float | None = None,
        width: int = 1,
        timeout_s: float | None = None,
    ) -> ChainTable:
        return await self._perform(calls.chain(contract, expiry, around, width), timeout_s)

    async def stream(
        self, *topics: str, maxlen: int = 10_000, silence_s: float = SILENCE_S
    ) -> AsyncGenerator[Message | Notice, None]:
        """Messages of these topics as they come, with Gap and Restarted in between.

        Raises ProxyUnreachable after `silence_s` seconds without even a heartbeat.
        """
        sequence = Sequence()
        wants_heartbeat = any(HEALTH_BUS.startswith(topic) for topic in topics)
        endpoint = self._locator.endpoint("market")
        socket = self._listen(endpoint, topics, maxlen)
        heard_at = asyncio.get_running_loop().time()
        try:
            while True:
                frame = await _hear(socket)
                if frame is None:
                    if asyncio.get_running_loop().time() - heard_at > silence_s:
                        why = self._locator.why_silent()
                        raise ProxyUnreachable(f"not even a heartbeat for {silence_s:g} s: {why}")
                    if endpoint != (endpoint := self._locator.endpoint("market")):
                        socket.close(linger=0)
                        socket = self._listen(endpoint, topics, maxlen)
                    continue
                heard_at = asyncio.get_running_loop().time()
                message = decode_market(frame)
                notices, wanted = sequence.receive(message)
                for notice in notices:
                    yield notice
                if wanted and (message.topic != HEALTH_BUS or wants_heartbeat):
                    yield message
        finally:
            socket.close(linger=0)

    def _listen(self, endpoint: str, topics: tuple[str, ...], maxlen: int) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, maxlen)
        socket.setsockopt(zmq.IPV6, int("[" in endpoint))
        if self._locator.key is not None:
            self._locator.key.secure(socket)
        socket.connect(endpoint)
        for topic in {HEALTH_BUS, *topics}:
            socket.subscribe(topic)
        return socket

    # ------------------------------------------------------------ orders and account

    async def place(
        self, contract: Any, action: str, quantity: int, *, timeout_s: float | None = None, **terms: Any
    ) -> OrderReply:
        """`terms` as in `Client.place`."""
        return await self._perform(calls.place(self.name, contract, action, quantity, **terms), timeout_s)

    async def bracket(
        self, contract: Any, action: str, quantity: int, *, timeout_s: float | None = None, **terms: Any
    ) -> OrderReply:
        """`terms` as in `Client.bracket`."""
        return await self._perform(calls.bracket(self.name, contract, action, quantity, **terms), timeout_s)

    async def modify(
        self,
        ref: str,
        *,
        leg: str = "entry",
        limit_price: float | None = None,
        stop_price: float | None = None,
        timeout_s: float | None = None,
    ) -> OrderReply:
        """Move the price of one working leg: entry, take_profit or stop_loss."""
        call = calls.order("order.modify", ref, leg=leg, limit_price=limit_price, stop_price=stop_price)
        return await self._perform(call, timeout_s)

    async def cancel(self, ref: str, *, exits: bool = False, timeout_s: float | None = None) -> OrderReply:
        """Cancel what is unfilled of the entry; `exits` also cancels the exits of a filled one."""
        return await self._perform(calls.order("order.cancel", ref, exits=exits), timeout_s)

    async def order(self, ref: str, *, timeout_s: float | None = None) -> OrderReply:
        """What is known of the order with this client_order_id; state "not_found" if there is none, for certain."""
        return await self._perform(calls.order("order.status", ref), timeout_s)

    async def orders(self, engine: str | None = None) -> list[OrderUpdate]:
        return await self._perform(calls.open_orders(engine))

    async def trades(self) -> list[Fill]:
        return await self._perform(calls.executions())

    async def positions(self) -> list[Position]:
        return await self._perform(calls.positions())

    async def account(self, account: str | None = None) -> AccountValues:
        return calls.pick_account(await self._perform(calls.accounts()), account)

    async def kill(self, reason: str = "", *, cancel_open: bool = True) -> dict[str, Any]:
        return await self._perform(calls.plain("kill", reason=reason, cancel_open=cancel_open))

    async def resume(self) -> dict[str, Any]:
        return await self._perform(calls.plain("resume"))
