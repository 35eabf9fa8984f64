"""A broker made of a recording: answers the engine's questions and fills its orders. Every fill says on which ground.

While an option is quoted in the recording, its orders meet those quotes, one after another, from the first one after
the order was placed: an entry fills at the ask when that is within its limit, a stop at the bid that reached it, a
target at its price when the bid reached it, a closing order at the bid when that is within its limit.

Without quotes of that option the bars decide, through the model: an order can fill from the bar after it was placed; an
entry fills at its limit or at the opening ask if that is lower; exits are looked at from the bar after the entry; when
stop and target lie in one bar, the stop was first; a stop that the market jumps over fills at the opening bid; closing
orders fill at the opening bid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from engine.replay.options import OptionModel
from engine.replay.prices import Ground, Priced, Prices
from engine.replay.tape import TapeBar, TapeChain, TapeEvent
from engine.sessions import NS_PER_S
from gateway_proxy import Bar, Contract, Fill, Gap, Message, OrderLeg, OrderUpdate, Refused, Restarted, topics


@dataclass(slots=True)
class _Order:
    """A bracket, or with `exits` False a single closing order."""

    args: dict[str, Any]
    contract: Contract
    exits: bool
    state: str = "working"
    price: float | None = None
    target: tuple[str, float | None] = ("working", None)
    stop: tuple[str, float | None] = ("working", None)

    @property
    def alive(self) -> bool:
        return self.state == "working" or (self.exits and self.target[0] == "working")


class ReplayBroker:
    """Deterministic: the same bars and the same questions give the same fills."""

    def __init__(
        self,
        engine: str,
        size: str,
        equity: float,
        model: OptionModel,
        history: Mapping[str, Sequence[Bar]] | None = None,
    ) -> None:
        self._engine = engine
        self._size = size
        self._bar_ns = topics.BAR_SECONDS[size] * NS_PER_S
        self._model = model
        self._prices = Prices(model)
        self._history = dict(history or {})
        self._queue: deque[Message] = deque()
        self._orders: dict[str, _Order] = {}
        self._alive: set[str] = set()
        self._spot: dict[str, float] = {}
        self._held: dict[str, tuple[float, float]] = {}
        self._fills = 0
        self.equity = equity
        self.time_ns = 0
        for symbol, bars in self._history.items():
            self._spot[symbol] = bars[-1].close
            self.time_ns = max(self.time_ns, bars[-1].start_ns + self._bar_ns)

    # ------------------------------------------------------------ the Broker protocol

    def subscribe(self, topic: str) -> None:
        """Everything is told anyway."""

    def receive(self, timeout_s: float) -> Message | Gap | Restarted | None:
        return self._queue.popleft() if self._queue else None

    def request(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        asked = args or {}
        if op == "chain":
            symbol = str(asked["contract"])
            return self._prices.chain(symbol, self._spot[symbol], int(asked["width"]), self.time_ns)
        if op == "quote":
            contract = msgspec.convert(asked["contract"], Contract)
            now = self._prices.quote(contract, self._spot[contract.symbol], self.time_ns)
            return {"symbol": contract.key, "bid": now.bid, "ask": now.ask}
        if op == "bars":
            past = self._history.get(str(asked["contract"]), ())[-int(asked["count"]) :]
            return {"bars": [msgspec.to_builtins(bar) for bar in past]}
        answers: dict[str, Any] = {
            "executions": {"executions": []},
            "positions": {"positions": []},
        }
        return {"accounts": [self._account()]} if op == "account" else answers[op]

    def trade(self, op: str, args: dict[str, Any] | None = None, timeout_s: float | None = None) -> Any:
        asked = args or {}
        if op == "orders.open":
            return {"orders": []}
        order_id = str(asked["client_order_id"])
        if op in ("order.bracket", "order.place"):
            if order_id not in self._orders:
                contract = msgspec.convert(asked["contract"], Contract)
                self._orders[order_id] = _Order(asked, contract, exits=op == "order.bracket")
                self._alive.add(order_id)
            return self._update(order_id)
        if order_id not in self._orders:
            return {"client_order_id": order_id, "state": "not_found", "order_ids": []}
        if op == "order.cancel":
            self._cancel(order_id)
        elif op != "order.status":
            raise Refused(f"a replay does not know {op}")
        return self._update(order_id)

    # ------------------------------------------------------------ the market moves

    def play(self, event: TapeEvent) -> None:
        """One thing happens: orders that it reaches are filled, then it is told."""
        if isinstance(event, TapeBar):
            return self._play_bar(event)
        self.time_ns = event.time_ns
        if isinstance(event, TapeChain):
            self._spot[event.symbol] = event.body["underlying_price"]
            keys = set(self._prices.learn_chain(event))
        else:
            self._prices.learn_quote(event, self._spot.get(event.symbol))
            keys = {event.key}
        for order_id in [key for key in sorted(self._alive) if self._orders[key].contract.key in keys]:
            contract = self._orders[order_id].contract
            self._meet_quote(order_id, self._prices.quote(contract, self._spot.get(event.symbol, 0.0), event.time_ns))

    def _play_bar(self, row: TapeBar) -> None:
        bar = row.bar
        end_ns = bar.start_ns + self._bar_ns
        self.time_ns = bar.start_ns
        for order_id in [key for key in sorted(self._alive) if self._orders[key].contract.symbol == row.symbol]:
            # What is quoted meets its quotes; a bar would let it fill twice as easily.
            if not self._prices.is_recorded(self._orders[order_id].contract.key, end_ns):
                self._meet_bar(order_id, bar)
        self._spot[row.symbol] = bar.close
        self.time_ns = end_ns
        self._tell(topics.bars(row.symbol, self._size), "bar", msgspec.to_builtins(bar))

    def _meet_quote(self, order_id: str, now: Priced) -> None:
        order = self._orders[order_id]
        args = order.args
        if order.state == "working":
            if not order.exits and now.bid > 0 and now.bid >= (args.get("limit_price") or 0.0):
                self._close(order_id, now.bid, now.ground)
            elif order.exits and now.ask <= args["limit_price"]:
                self._enter(order_id, now.ask, now.ground)
        elif order.exits and order.target[0] == "working":
            if now.bid <= args["stop_loss"]:
                self._stop(order_id, now.bid, now.ground)
            elif now.bid >= args["take_profit"]:
                self._take_profit(order_id, now.ground)

    def _meet_bar(self, order_id: str, bar: Bar) -> None:
        order = self._orders[order_id]
        args, calls = order.args, order.contract.right == "C"
        best, worst = (bar.high, bar.low) if calls else (bar.low, bar.high)
        opening = self._prices.quote(order.contract, bar.open, bar.start_ns)
        lowest = self._prices.quote(order.contract, worst, bar.start_ns)
        if order.state == "working":
            if not order.exits:
                self._close(order_id, opening.bid, opening.ground)
            elif lowest.ask <= args["limit_price"]:
                self._enter(order_id, min(args["limit_price"], opening.ask), lowest.ground)
        elif order.exits and order.target[0] == "working":
            highest = self._prices.quote(order.contract, best, bar.start_ns)
            if lowest.bid <= args["stop_loss"]:
                self._stop(order_id, min(args["stop_loss"], opening.bid), lowest.ground)
            elif highest.bid >= args["take_profit"]:
                self._take_profit(order_id, highest.ground)

    def _enter(self, order_id: str, price: float, ground: Ground) -> None:
        order = self._orders[order_id]
        order.state, order.price = "filled", price
        self._book(order_id, "entry", "BUY", price, ground)

    def _stop(self, order_id: str, price: float, ground: Ground) -> None:
        order = self._orders[order_id]
        order.stop, order.target = ("filled", price), ("cancelled", None)
        self._book(order_id, "stop_loss", "SELL", price, ground)

    def _take_profit(self, order_id: str, ground: Ground) -> None:
        order = self._orders[order_id]
        price = float(order.args["take_profit"])
        order.target, order.stop = ("filled", price), ("cancelled", None)
        self._book(order_id, "take_profit", "SELL", price, ground)

    def _close(self, order_id: str, price: float, ground: Ground) -> None:
        order = self._orders[order_id]
        order.state, order.price = "filled", price
        self._book(order_id, "entry", "SELL", price, ground)

    def _cancel(self, order_id: str) -> None:
        order = self._orders[order_id]
        order.state = "cancelled" if order.state == "working" else order.state
        order.target = ("cancelled", None) if order.target[0] == "working" else order.target
        order.stop = ("cancelled", None) if order.stop[0] == "working" else order.stop
        self._alive.discard(order_id)
        self._tell_order(order_id)

    def _book(self, order_id: str, leg: str, action: Any, price: float, ground: Ground) -> None:
        if not self._orders[order_id].alive:
            self._alive.discard(order_id)
        order, self._fills = self._orders[order_id], self._fills + 1
        quantity = float(order.args["quantity"])
        commission = self._model.commission * quantity
        cash = quantity * price * 100.0 * (1 if action == "SELL" else -1)
        self.equity += cash - commission
        held = self._held.get(order.contract.key, (0.0, 0.0))
        self._held[order.contract.key] = (held[0] + (quantity if action == "BUY" else -quantity), price)
        self._held = {key: one for key, one in self._held.items() if one[0]}
        fill = Fill(
            f"r.{self._fills}", self._engine, order_id, leg, self._fills, order.contract.symbol, order.contract, action,
            quantity, price, self.time_ns, commission, simulated=True,
        )  # fmt: skip
        self._tell_order(order_id)
        # A field more than the bus has: readers of the contract ignore it, the report needs it.
        self._tell(topics.FILLS, "fill", {**msgspec.to_builtins(fill), "ground": ground})
        self._tell(topics.ACCOUNT, "account", self._account())

    # ------------------------------------------------------------ telling

    def _account(self) -> dict[str, Any]:
        """Net liquidation counts what is held at its last traded price."""
        held = sum(quantity * price * 100.0 for quantity, price in self._held.values())
        return {"account": "REPLAY", "net_liquidation": self.equity + held, "available_funds": self.equity}

    def _update(self, order_id: str) -> dict[str, Any]:
        order = self._orders[order_id]
        args, quantity = order.args, int(order.args["quantity"])
        filled = float(quantity) if order.state == "filled" else 0.0
        entry = OrderLeg(
            "entry", 1, 1, order.state, args["action"], quantity, filled, order.price, args.get("limit_price"), None
        )
        legs = [entry]
        if order.exits:
            for name, number, (state, price) in (("take_profit", 2, order.target), ("stop_loss", 3, order.stop)):
                done = float(quantity) if state == "filled" else 0.0
                limit, stop = (args[name], None) if name == "take_profit" else (None, args[name])
                legs.append(OrderLeg(name, number, number, state, "SELL", quantity, done, price, limit, stop))  # type: ignore[arg-type]
        update = OrderUpdate(
            self._engine, order_id, order.state, order.contract.symbol, args["action"], quantity, filled,
            tuple(leg.order_id for leg in legs), True, "", tuple(legs), order.contract, self.time_ns,
        )  # fmt: skip
        told: dict[str, Any] = msgspec.to_builtins(update)
        return told

    def _tell_order(self, order_id: str) -> None:
        self._tell(topics.orders(self._engine), "order", self._update(order_id))

    def _tell(self, topic: str, kind: str, body: Any) -> None:
        self._queue.append(Message(topic, kind, 1, "replay", self.time_ns, body))
