"""The blocking client: what strategies, notebooks and scripts use. No event loop, and it works inside a running one.

A time-out or a refusal is an exception of `gateway_proxy.errors`, never an empty list.
One Client belongs to one thread.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import zmq

from gateway_proxy.bus import calls
from gateway_proxy.bus.auth import ClientKey
from gateway_proxy.bus.calls import Call
from gateway_proxy.bus.feed import Feed
from gateway_proxy.bus.messages import AccountValues, Contract, Fill, Message, OrderReply, OrderUpdate, Position, Quote
from gateway_proxy.bus.requester import AnswerLost, Requester
from gateway_proxy.bus.results import Bars, ChainTable
from gateway_proxy.bus.runtime import Locator, read_connection
from gateway_proxy.bus.sequence import Notice
from gateway_proxy.errors import ProxyUnreachable, UnknownOutcome

TIMEOUT_S: Final = 10.0
#: A stream that hears nothing at all, not even a heartbeat, says so after this long.
SILENCE_S: Final = 30.0

_T = TypeVar("_T")


class Client:
    """One program's connection to the proxy; a context manager. Make it with `Client.connect`.

    `timeout_s` of any method is how long it may block; None takes the client's own default.
    """

    def __init__(self, locator: Locator, *, name: str = "client", timeout_s: float = TIMEOUT_S) -> None:
        self.name = name
        self.timeout_s = timeout_s
        self._thread = threading.get_ident()
        self._locator = locator
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._request = Requester(self._context, locator, "request")
        self._trade = Requester(self._context, locator, "trade")
        self._feeds: list[Feed] = []
        self._own_feed: Feed | None = None

    @classmethod
    def connect(
        cls,
        runtime_dir: str | Path | None = None,
        *,
        endpoints: dict[str, str] | None = None,
        keys: str | Path | None = None,
        name: str | None = None,
        timeout_s: float = 5.0,
        request_timeout_s: float = TIMEOUT_S,
    ) -> Self:
        """A client of the proxy that lives in `runtime_dir`, or at `endpoints` {"market", "request", "trade"}.

        Default directory: $GATEWAY_PROXY_RUNTIME, $XDG_RUNTIME_DIR/gateway-proxy, ~/.local/state/gateway-proxy.
        `keys` is this client's key file, for a proxy that asks for keys. `name` is the engine name that orders carry.
        Waits up to `timeout_s` for a proxy, then raises ProxyUnreachable.
        """
        directory = Path(runtime_dir).expanduser() if runtime_dir is not None else None
        key = ClientKey.load(Path(keys).expanduser()) if keys is not None else None
        client = cls(Locator(directory, endpoints, key), name=name or "client", timeout_s=request_timeout_s)
        try:
            client._wait_for_proxy(timeout_s)
        except BaseException:
            client.close()
            raise
        return client

    def _wait_for_proxy(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            self._locator.refresh()
            left_s = deadline - time.monotonic()
            try:
                if self._locator.connection is None:
                    read_connection(self._locator.directory)
                return self._request.wait_until_connected(min(0.5, max(left_s, 0.0)))
            except ProxyUnreachable:
                if left_s <= 0:
                    raise
                time.sleep(min(0.05, left_s))

    def close(self) -> None:
        """Leave: the proxy notices, and closes streams that nobody else wants."""
        for feed in self._feeds:
            feed.close()
        self._feeds.clear()
        self._own_feed = None
        self._request.close()
        self._trade.close()
        self._context.term()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # ------------------------------------------------------------ asking anything

    def request(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        """The body of the answer to any op of the request socket. Retried once if the proxy restarts meanwhile."""
        return self._ask(op, args or {}, timeout_s)

    def trade(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        """The body of the answer to any op of the trade socket. Never retried: UnknownOutcome if no answer came."""
        return self._ask_once(op, args or {}, timeout_s)

    def _ask(self, op: str, args: Any, timeout_s: float | None) -> Any:
        self._assert_thread()
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        try:
            return self._request.ask(op, args, deadline - time.monotonic())
        except AnswerLost as error:
            left_s = deadline - time.monotonic()
            if not error.restarted or left_s <= 0:
                raise
            return self._request.ask(op, args, left_s)

    def _ask_once(self, op: str, args: dict[str, Any], timeout_s: float | None) -> Any:
        self._assert_thread()
        try:
            return self._trade.ask(op, args, self.timeout_s if timeout_s is None else timeout_s)
        except AnswerLost as error:
            raise calls.unknown_outcome(error, args) from error
        except UnknownOutcome as error:
            error.ref = error.ref or str(args.get("client_order_id", ""))
            raise

    def _perform(self, call: Call[_T], timeout_s: float | None = None) -> _T:
        ask = self._ask_once if call.is_trade else self._ask
        return call.read(ask(call.op, call.args, timeout_s))

    def _assert_thread(self) -> None:
        assert threading.get_ident() == self._thread, "ZeroMQ sockets belong to one thread: make one Client per thread"

    # ------------------------------------------------------------ state

    def health(self) -> dict[str, Any]:
        """The last body of every health topic, by topic."""
        return self._perform(calls.plain("health"))

    def status(self) -> dict[str, Any]:
        """Short: state, mode, accounts, gateway, streams."""
        return self._perform(calls.plain("status"))

    def explain(self, op: str = "bars", **args: Any) -> dict[str, Any]:
        """Would this request go now, which rule holds it, until when? `explain("bars", contract="SPY")`."""
        return self._perform(calls.explain(op, args))

    def diagnose(self) -> dict[str, Any]:
        """Why is something missing? A verdict with its evidence and an advice."""
        return self._perform(calls.plain("diagnose"))

    def report(self, kind: str, name: str, body: dict[str, Any]) -> None:
        """Publish a heartbeat on health/engine/<name>/ or health/process/<name>/."""
        self._perform(calls.plain("report", kind=kind, name=name, body=body))

    # ------------------------------------------------------------ market data

    def qualify(self, *contracts: Any, timeout_s: float | None = None) -> list[Contract]:
        """Each contract with its con_id. Raises ContractUnknown for one that IB does not know."""
        return [self._perform(calls.contract(contract), timeout_s) for contract in contracts]

    def bars(
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
        """The newest `count` bars, oldest first, the unfinished one last.

        max_age_s: when the Gateway cannot be asked now, bars held by the proxy and at most so old will do; they then
        carry their `age_s`. Left out, the error is raised.
        """
        return self._perform(calls.bars(contract, size, count, what, rth, fresh, max_age_s), timeout_s)

    def quote(self, contract: Any, *, timeout_s: float | None = None) -> Quote:
        return self._perform(calls.quote(contract), timeout_s)

    def chain(
        self,
        contract: Any,
        *,
        expiry: str = "nearest",
        around: float | None = None,
        width: int = 1,
        timeout_s: float | None = None,
    ) -> ChainTable:
        """`width` listed strikes on each side of the one nearest to `around` (default: the underlying's price)."""
        return self._perform(calls.chain(contract, expiry, around, width), timeout_s)

    # ------------------------------------------------------------ listening

    def stream(
        self, *topics: str, maxlen: int = 10_000, silence_s: float = SILENCE_S
    ) -> Generator[Message | Notice, None, None]:
        """Messages of these topics as they come, with Gap and Restarted in between; ends when you leave the loop.

        Subscribing is asking: `bars/SPY/1min/` makes the proxy open that stream. Raises ProxyUnreachable after
        `silence_s` seconds without even a heartbeat.
        """
        self._assert_thread()
        feed = self._new_feed(maxlen)
        try:
            for topic in topics:
                feed.subscribe(topic)
            while True:
                heard = feed.receive(1.0)
                if heard is not None:
                    yield heard
                elif feed.silent_s > silence_s:
                    raise ProxyUnreachable(f"not even a heartbeat for {silence_s:g} s: {self._locator.why_silent()}")
        finally:
            if feed in self._feeds:
                self._feeds.remove(feed)
                feed.close()

    def subscribe(self, topic: str) -> None:
        """For engines with a loop of their own: `receive` gives what comes on all topics subscribed here."""
        self._listening().subscribe(topic)

    def unsubscribe(self, topic: str) -> None:
        self._listening().unsubscribe(topic)

    def receive(self, timeout_s: float) -> Message | Notice | None:
        """The next message or notice of the subscribed topics, None if there is none in time."""
        return self._listening().receive(timeout_s)

    @property
    def silent_s(self) -> float:
        """Seconds since the subscriptions heard anything, heartbeats included."""
        return self._listening().silent_s

    def _listening(self) -> Feed:
        self._assert_thread()
        if self._own_feed is None:
            self._own_feed = self._new_feed(10_000)
        return self._own_feed

    def _new_feed(self, maxlen: int) -> Feed:
        feed = Feed(self._context, self._locator, maxlen)
        self._feeds.append(feed)
        return feed

    # ------------------------------------------------------------ orders and account

    def place(
        self,
        contract: Any,
        action: str,
        quantity: int,
        *,
        order_type: str = "LMT",
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: str = "DAY",
        ref: str | None = None,
        cites: Iterable[Any] = (),
        engine: str | None = None,
        timeout_s: float | None = None,
    ) -> OrderReply:
        """One order. `ref` is its client_order_id: the same ref and order again give the same answer, never a second
        order. Raises UnknownOutcome(ref) if no answer came: ask `order(ref)`, do not place again under another ref.

        cites: the messages (of bars/, quote/ or chain/ topics) it was decided on; the proxy refuses to open a position
        on data that is old by then, or of a stream that has died.
        """
        call = calls.place(
            engine or self.name,
            contract,
            action,
            quantity,
            order_type=order_type,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            ref=ref,
            cites=cites,
        )
        return self._perform(call, timeout_s)

    def bracket(
        self,
        contract: Any,
        action: str,
        quantity: int,
        *,
        limit_price: float,
        take_profit: float,
        stop_loss: float,
        tif: str = "DAY",
        ref: str | None = None,
        cites: Iterable[Any] = (),
        engine: str | None = None,
        timeout_s: float | None = None,
    ) -> OrderReply:
        """An entry with take-profit and stop-loss, placed whole or not at all; `ref` and `cites` as in `place`."""
        call = calls.bracket(
            engine or self.name,
            contract,
            action,
            quantity,
            limit_price=limit_price,
            take_profit=take_profit,
            stop_loss=stop_loss,
            tif=tif,
            ref=ref,
            cites=cites,
        )
        return self._perform(call, timeout_s)

    def modify(
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
        return self._perform(call, timeout_s)

    def cancel(self, ref: str, *, exits: bool = False, timeout_s: float | None = None) -> OrderReply:
        """Cancel what is unfilled of the entry; `exits` also cancels the exits of a filled one."""
        return self._perform(calls.order("order.cancel", ref, exits=exits), timeout_s)

    def order(self, ref: str, *, timeout_s: float | None = None) -> OrderReply:
        """What is known of the order with this client_order_id; state "not_found" if there is none, for certain."""
        return self._perform(calls.order("order.status", ref), timeout_s)

    def orders(self, engine: str | None = None) -> list[OrderUpdate]:
        """Orders that are not finished; None means every engine's."""
        return self._perform(calls.open_orders(engine))

    def trades(self) -> list[Fill]:
        """Today's executions."""
        return self._perform(calls.executions())

    def positions(self) -> list[Position]:
        return self._perform(calls.positions())

    def account(self, account: str | None = None) -> AccountValues:
        """The values of one account; None takes the first. Raises NoData if IB has sent none yet."""
        return calls.pick_account(self._perform(calls.accounts()), account)

    def kill(self, reason: str = "", *, cancel_open: bool = True) -> dict[str, Any]:
        """Stop every opening order of every engine until `resume`; survives restarts of the proxy."""
        return self._perform(calls.plain("kill", reason=reason, cancel_open=cancel_open))

    def resume(self) -> dict[str, Any]:
        return self._perform(calls.plain("resume"))
