"""Plays a tape to an engine core and keeps what came of it: decisions, trades, equity."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from engine.broker import perform
from engine.core import CoreRules, EngineCore
from engine.decisions import DROPPED
from engine.effects import Ask, Record
from engine.ledger import trade_of
from engine.replay.broker import ReplayBroker
from engine.replay.options import OptionModel
from engine.replay.tape import Tape, TapeBar
from engine.strategy import Strategy
from gateway_proxy import Message

Progress = Callable[[int, int], None]


@dataclass(slots=True)
class ReplayTrade:
    """One round trip. `profit` after commission, in currency; the grounds say what the two prices rest on."""

    trade_id: str
    symbol: str
    right: str
    opened_ns: int
    quantity: float
    bought_at: float
    bought_on: str
    closed_ns: int = 0
    sold_at: float = 0.0
    sold_on: str = ""
    how: str = ""
    profit: float = 0.0


@dataclass(slots=True)
class Result:
    """`equity` is (time_ns, value) after every fill. `digest` names the decisions: equal means equal.

    `fills` counts executions by the ground their price stands on: recorded, anchored, model.
    """

    engine: str
    bars: int = 0
    decisions: list[dict[str, Any]] = field(default_factory=list)
    trades: list[ReplayTrade] = field(default_factory=list)
    equity: list[tuple[int, float]] = field(default_factory=list)
    fills: Counter[str] = field(default_factory=Counter)
    holes: list[str] = field(default_factory=list)
    digest: str = ""

    def summary(self) -> dict[str, Any]:
        """The numbers a trader asks first; money in the account's currency."""
        closed = [trade for trade in self.trades if trade.closed_ns]
        won = [trade for trade in closed if trade.profit > 0]
        return {
            "engine": self.engine,
            "bars": self.bars,
            "decisions": sum(one["rule"] != DROPPED for one in self.decisions),
            "signals": sum(bool(one["side"]) for one in self.decisions),
            "dropped": sum(one["rule"] == DROPPED for one in self.decisions),
            "trades": len(closed),
            "won": len(won),
            "profit": round(sum(trade.profit for trade in closed), 2),
            "drawdown": round(drawdown([value for _, value in self.equity]), 2),
            "fills": dict(sorted(self.fills.items())),
            "holes": len(self.holes),
            "digest": self.digest,
        }


def drawdown(values: Sequence[float]) -> float:
    """The deepest fall from a high, as a positive number."""
    deepest, high = 0.0, float("-inf")
    for value in values:
        high = max(high, value)
        deepest = max(deepest, high - value)
    return deepest


def replay(
    rules: CoreRules,
    strategy: Strategy,
    tape: Tape | Sequence[TapeBar],
    *,
    equity: float = 100_000.0,
    model: OptionModel | None = None,
    progress: Progress | None = None,
) -> Result:
    """Run the engine over a tape; the same inputs give the same result, byte for byte."""
    played = tape if isinstance(tape, Tape) else Tape(list(tape))
    broker = ReplayBroker(rules.name, rules.size, equity, model or OptionModel(), played.history)
    core = EngineCore(rules, strategy)
    bars = played.bars
    result = Result(
        rules.name, len(bars), equity=[(bars[0].bar.start_ns if bars else 0, equity)], holes=list(played.holes)
    )
    digest = hashlib.blake2b(digest_size=12)
    trades: dict[str, ReplayTrade] = {}

    def settle(now: float) -> None:
        while effects := core.effects():
            for effect in effects:
                if isinstance(effect, Ask):
                    core.receive_reply(perform(broker, effect), now)
                elif isinstance(effect, Record):
                    result.decisions.append(effect.body)
                    digest.update(orjson.dumps(effect.body, option=orjson.OPT_SORT_KEYS))

    core.start(broker.time_ns / 1e9)
    settle(broker.time_ns / 1e9)
    for number, event in enumerate(played.events, 1):
        broker.play(event)
        now = broker.time_ns / 1e9
        while (message := broker.receive(0.0)) is not None:
            assert isinstance(message, Message), "a replay loses nothing"
            if message.kind == "fill":
                _keep_fill(trades, message.body)
                result.fills[message.body["ground"]] += 1
            if message.kind == "account":
                result.equity.append((broker.time_ns, float(message.body["net_liquidation"])))
            core.receive_message(message, now)
            settle(now)
        if progress is not None and (number % 500 == 0 or number == len(played.events)):
            progress(number, len(played.events))
    result.trades = list(trades.values())
    result.digest = digest.hexdigest()
    return result


def _keep_fill(trades: dict[str, ReplayTrade], fill: dict[str, Any]) -> None:
    trade_id = trade_of(fill["client_order_id"])
    value = fill["quantity"] * fill["price"] * 100.0
    if fill["action"] == "BUY":
        contract = fill["contract"]
        trades[trade_id] = ReplayTrade(
            trade_id, fill["symbol"], contract["right"], fill["time_ns"], fill["quantity"], fill["price"],
            fill["ground"], profit=-value - fill["commission"],
        )  # fmt: skip
        return
    trade = trades[trade_id]
    trade.closed_ns, trade.sold_at, trade.sold_on = fill["time_ns"], fill["price"], fill["ground"]
    trade.how = "time" if fill["leg"] == "entry" else fill["leg"]
    trade.profit = round(trade.profit + value - fill["commission"], 6)


def totals(results: Iterable[Result]) -> dict[str, Any]:
    """One line over several engines, each of which had an account of its own."""
    summaries = [result.summary() for result in results]
    names = ("bars", "decisions", "signals", "trades", "won", "profit")
    return {"engines": len(summaries), **{name: round(sum(one[name] for one in summaries), 2) for name in names}}
