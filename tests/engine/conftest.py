"""A proxy in memory that answers what the engine asks, and bars of a made-up market."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any, ClassVar

import pytest

from engine.core import CoreRules, EngineCore
from engine.effects import Answer, Ask, Effect, Failure, Log, Question, Record, Subscribe
from engine.sessions import market_clock
from engine.strategy import Decision, no
from gateway_proxy import Bar, Contract, Message, OrderLeg, OrderUpdate

MINUTE_NS = 60_000_000_000
#: 2026-06-18 09:30 New York, a Thursday.
OPEN_NS = 1_781_789_400_000_000_000
EXPIRY = "20260618"


def make_bar(minute: int, close: float = 600.0, **changes: Any) -> Bar:
    """The bar that starts `minute` minutes after the open."""
    start_ns = OPEN_NS + minute * MINUTE_NS
    bar = Bar(start_ns, close - 0.05, close + 0.1, close - 0.1, close, 1000.0)
    return replace(bar, **changes)


def chain_body(price: float = 600.0, **changes: Any) -> dict[str, Any]:
    """Calls and puts at 599, 600, 601; the 600 strike is the busiest."""
    rows = [
        {
            "strike": strike, "right": right, "con_id": 1000 + int(strike) * 2 + (right == "P"), "bid": 2.0, "ask": 2.1,
            "last": 2.05, "volume": 500.0 if strike == 600 else 100.0, "open_interest": 10.0, "iv": 0.2,
        }
        for strike in (599.0, 600.0, 601.0)
        for right in ("C", "P")
    ]  # fmt: skip
    body = {"expiry": EXPIRY, "underlying_price": price, "rows": rows, "multiplier": "100", "trading_class": "SPY"}
    return {**body, "min_tick": 0.01, **changes}


class Plan:
    """A strategy that signals on the bars it was told to."""

    name: ClassVar[str] = "plan"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[Any]] = type(None)
    bars_needed = 2

    def __init__(self, signals: dict[int, str]) -> None:
        self.signals = signals

    def measure(self, window: Any) -> dict[str, float]:
        return {"close": float(window.close[-1])}

    def decide(self, window: Any, values: Any, clock: Any) -> Decision:
        side: Any = self.signals.get(round((clock.bar_start_ns - OPEN_NS) / MINUTE_NS))
        return Decision(side, "plan", "it is in the plan", values) if side else no("plan", "nothing planned", values)


class World:
    """An engine core with a proxy that has exactly the facts in `answers`. Nothing happens unless a test says so."""

    def __init__(self, core: EngineCore) -> None:
        self.core = core
        self.now = 0.0
        self.seen: list[Effect] = []
        self.answers: dict[str, Callable[[Ask], Any]] = {
            "bars": lambda ask: {"bars": [asdict(make_bar(minute)) for minute in range(-5, 0)]},
            "orders.open": lambda ask: {"orders": []},
            "executions": lambda ask: {"executions": []},
            "positions": lambda ask: {"positions": []},
            "account": lambda ask: {
                "accounts": [{"account": "DU1", "net_liquidation": 100_000.0, "available_funds": 50_000.0}]
            },
            "chain": lambda ask: chain_body(),
            "quote": lambda ask: {"symbol": "x", "bid": 2.0, "ask": 2.1},
            "order.bracket": lambda ask: self.reply(ask, "accepted"),
            "order.place": lambda ask: self.reply(ask, "accepted"),
            "order.cancel": lambda ask: self.reply(ask, "cancelled"),
            "order.status": lambda ask: self.reply(ask, "not_found"),
        }

    @staticmethod
    def reply(ask: Ask, state: str) -> dict[str, Any]:
        return {"client_order_id": ask.args["client_order_id"], "state": state, "order_ids": [1, 2, 3], "reason": ""}

    def start(self) -> World:
        self.core.start(self.now)
        self.run()
        return self

    def run(self) -> None:
        """Answer every Ask until the engine has nothing more to ask. An answer of None is left open."""
        for _ in range(100):
            effects = self.core.effects()
            if not effects:
                return
            self.seen += effects
            for effect in effects:
                if isinstance(effect, Ask):
                    self._answer(effect)
        raise AssertionError("the engine asks for ever")

    def _answer(self, ask: Ask) -> None:
        answer = self.answers[ask.op](ask)
        if isinstance(answer, Failure):
            self.core.receive_reply(replace(answer, question=ask.question), self.now)
        elif answer is not None:
            self.core.receive_reply(Answer(ask.question, answer), self.now)

    def bar(self, minute: int, symbol: str = "SPY", **changes: Any) -> None:
        self.hear(f"bars/{symbol}/1min/", "bar", asdict(make_bar(minute, **changes)))

    def hear(self, topic: str, kind: str, body: Any) -> None:
        self.core.receive_message(Message(topic, kind, 1, "e", 0, body), self.now)
        self.run()

    def order(self, update: OrderUpdate) -> None:
        self.hear("orders/alpha/", "order", asdict(update))

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.core.handle_timer(self.now)
        self.run()

    # ------------------------------------------------------------ reading

    def asked(self, op: str) -> list[dict[str, Any]]:
        return [effect.args for effect in self.seen if isinstance(effect, Ask) and effect.op == op]

    def records(self) -> list[dict[str, Any]]:
        return [effect.body for effect in self.seen if isinstance(effect, Record)]

    def logs(self, event: str) -> list[dict[str, Any]]:
        return [effect.fields for effect in self.seen if isinstance(effect, Log) and effect.event == event]

    def topics(self) -> list[str]:
        return [effect.topic for effect in self.seen if isinstance(effect, Subscribe)]


@pytest.fixture
def make_world() -> Callable[..., World]:
    def make(signals: dict[int, str] | None = None, symbols: tuple[str, ...] = ("SPY",), **rules: Any) -> World:
        core_rules = CoreRules(name="alpha", symbols=symbols, window=rules.pop("window", 60), **rules)
        return World(EngineCore(core_rules, Plan(signals or {})))

    return make


def update_of(
    order: dict[str, Any],
    state: str,
    *,
    filled: float = 0.0,
    take_profit: tuple[str, float] = ("working", 0.0),
    stop_loss: tuple[str, float] = ("working", 0.0),
) -> OrderUpdate:
    """What the proxy would publish for a bracket: (state, filled) of each exit."""
    quantity = order["quantity"]
    exits = (
        OrderLeg(
            "take_profit", 2, 0, take_profit[0], "SELL", quantity, take_profit[1], None, order["take_profit"], None
        ),
        OrderLeg("stop_loss", 3, 0, stop_loss[0], "SELL", quantity, stop_loss[1], None, None, order["stop_loss"]),
    )
    price = order["limit_price"]
    entry = OrderLeg("entry", 1, 0, state, "BUY", quantity, filled, price if filled else None, price, None)
    return OrderUpdate(
        engine=order["engine"],
        client_order_id=order["client_order_id"],
        state=state,
        symbol=order["contract"]["symbol"],
        action="BUY",
        quantity=quantity,
        filled=filled,
        order_ids=(1, 2, 3),
        simulated=False,
        legs=(entry, *exits),
        contract=Contract(**order["contract"]),
    )


def at(minute: int) -> Any:
    return market_clock(OPEN_NS + minute * MINUTE_NS, 60)


def lost(code: str = "unknown_outcome", certain: bool = False) -> Failure:
    return Failure(Question("", ""), code, "no answer came", certain)
