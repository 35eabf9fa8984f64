"""The engine, joined: bars in, decisions and orders out. Wiring only; every rule lives in the file that owns it. Pure.

core.start(now)                 subscribe and ask for what a fresh or restarted engine must know
core.receive_message(what, now) something was heard on the market socket
core.receive_reply(what, now)   one Ask was answered, or was not
core.effects()                  what the shell must do now, in order; empties the list
core.next_timer(), core.handle_timer(now)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.desk import Desk
from engine.effects import Ask, Effect, Failure, Log, Question, Record, Reply, Subscribe
from engine.feed import Feed, NewBar
from engine.guards import GuardRules, Guards
from engine.ledger import Ledger, trade_of
from engine.rules import DeskRules
from engine.sessions import MarketClock, market_clock
from engine.strategy import Decider, Decision, Strategy, no
from gateway_proxy import AccountValues, BadMessage, Fill, Gap, Message, OrderUpdate, Position, Restarted, topics

ASK_AGAIN_S = 2.0
#: What a restarted engine takes from the proxy instead of its own memory, in this order.
_RECOVERY = {"orders": "orders.open", "executions": "executions", "positions": "positions", "account": "account"}


@dataclass(frozen=True)
class CoreRules:
    """What the core needs to know of its configuration."""

    name: str
    symbols: tuple[str, ...]
    size: str = "1min"
    window: int = 480
    rth: bool = True
    desk: DeskRules = field(default_factory=DeskRules)
    guards: GuardRules = field(default_factory=GuardRules)


class EngineCore:
    """One strategy over a group of symbols."""

    def __init__(self, rules: CoreRules, strategy: Strategy) -> None:
        self.rules = rules
        self.strategy = strategy
        self.feed = Feed(rules.symbols, rules.size, max(rules.window, strategy.bars_needed), rules.rth)
        self.guards = Guards(rules.guards)
        self.ledger = Ledger(rules.name)
        self.decider = Decider(rules.name, strategy.name, strategy.version)
        self.desk = Desk(self.decider, self.feed.bar_s, rules.desk, self.guards)
        self.positions: dict[str, Position] = {}
        self.signals = 0
        self.decisions = 0
        self.last_decision: dict[str, dict[str, Any]] = {}
        self._effects: list[Effect] = []
        self._unknown: dict[str, float] = {}
        self._state = "starting"

    # ------------------------------------------------------------ reading

    @property
    def state(self) -> str:
        """starting: the proxy has not told yet what is open; ready; halted: a guard stops entries for the session."""
        return "halted" if self._state == "ready" and self.guards.tripped else self._state

    def view(self) -> dict[str, Any]:
        """The heartbeat's body, as far as the core knows it."""
        return {
            "state": self.state,
            "strategy": self.strategy.name,
            "symbols": list(self.rules.symbols),
            "last_bar_ns": self.feed.last_bar_ns(),
            "decisions": self.decisions,
            "last_decision": self.last_decision,
            "signals": self.signals,
            "orders": self.desk.orders_sent,
            "trades": [
                {"symbol": one.symbol, "phase": one.phase.value, "order": one.trade_id} for one in self.desk.trades
            ],
            "daily_pnl": round(self.guards.own_profit, 2),
            "guards": self.guards.view(),
        }

    # ------------------------------------------------------------ the contract of pure cores

    def start(self, now: float) -> None:
        """Subscribe to everything and ask the proxy what is already true. Decisions wait for the answers."""
        own = (topics.orders(self.rules.name), topics.FILLS, topics.ACCOUNT, topics.POSITIONS, topics.HEALTH_GATEWAY)
        self._effects += [Subscribe(topic) for topic in own]
        self._effects += [Subscribe(self.feed.topic(symbol)) for symbol in self.rules.symbols]
        self._recover(now)
        self.feed.ask_history(now)
        self._work(now)

    def receive_message(self, message: Message | Gap | Restarted, now: float) -> None:
        if isinstance(message, Restarted):
            self._effects.append(Log("info", "the proxy began a new life", {"epoch": message.new_epoch}))
            self._recover(now)
        elif isinstance(message, Gap):
            self._receive_gap(message, now)
        else:
            self._receive_data(message, now)
        self._work(now)

    def receive_reply(self, reply: Reply, now: float) -> None:
        if reply.question.purpose == "bars":
            self.feed.receive_reply(reply, now)
        elif reply.question.purpose == "recover":
            self._recovered(reply, now)
        else:
            self.desk.receive_reply(reply, now)
        self._work(now)

    def effects(self) -> list[Effect]:
        done = self._effects.copy()
        self._effects.clear()
        return done

    def next_timer(self) -> float | None:
        timers = (self.feed.next_timer(), self.desk.next_timer(), min(self._unknown.values(), default=None))
        due = [timer for timer in timers if timer is not None and timer != math.inf]
        return min(due, default=None)

    def handle_timer(self, now: float) -> None:
        for what, op in _RECOVERY.items():
            if self._unknown.get(what, math.inf) <= now:
                self._ask_recovery(what, op)
        self.feed.ask_history(now)
        self.desk.handle_timer(now)
        self._work(now)

    # ------------------------------------------------------------ messages

    def _receive_data(self, message: Message, now: float) -> None:
        try:
            message.body  # noqa: B018 - it is parsed at the first look, and may be broken
        except BadMessage as error:
            self._effects.append(Log("error", "message not understood", {"topic": message.topic, "why": str(error)}))
            return
        family = message.topic.partition("/")[0]
        if family == "bars":
            return self.feed.receive_message(message)
        handlers: dict[str, Callable[[Any, float], None]] = {
            "orders": self._take_order,
            "fills": self._take_fill,
            "account": self._take_account,
            "positions": self._take_position,
            "health": self._take_gateway,
        }
        handle = handlers.get(family)
        if handle is None:
            return
        bodies = message.body
        if message.kind == "welcome":
            bodies = message.body.get("snapshot") if isinstance(message.body, dict) else None
        for body in bodies if isinstance(bodies, list) else [bodies]:
            if body:
                self._guarded(handle, body, message.topic, now)

    def _guarded(self, handle: Callable[[Any, float], None], body: Any, where: str, now: float) -> None:
        """A body that is not what the contract says is told and left out; it must not stop the engine."""
        try:
            handle(body, now)
        except msgspec.ValidationError as error:
            self._effects.append(Log("error", "message not understood", {"topic": where, "why": str(error)}))

    def _take_order(self, body: Any, now: float) -> None:
        self.desk.receive_update(msgspec.convert(body, OrderUpdate), now)

    def _take_fill(self, body: Any, now: float) -> None:
        fill = msgspec.convert(body, Fill)
        if fill.engine != self.rules.name:
            return
        if fill.action == "BUY":
            self.guards.entry_seen(fill.symbol, trade_of(fill.client_order_id))
        else:
            self.guards.exit_seen(fill.symbol, fill.time_ns)
        if profit := self.ledger.receive(fill):
            self.guards.booked(profit)

    def _take_account(self, body: Any, now: float) -> None:
        account = msgspec.convert(body, AccountValues)
        self.desk.account = account
        self.guards.account_is(account.net_liquidation, account.daily_pnl)

    def _take_position(self, body: Any, now: float) -> None:
        position = msgspec.convert(body, Position)
        self.positions[position.contract.key] = position

    def _take_gateway(self, body: Any, now: float) -> None:
        if isinstance(body, dict) and "state" in body:
            self.guards.gateway_ready = body["state"] == "ready"

    def _receive_gap(self, gap: Gap, now: float) -> None:
        self._effects.append(Log("warning", "messages lost", {"topic": gap.topic, "missed": gap.missed}))
        self.feed.receive_gap(gap.topic)
        self.feed.ask_history(now)
        if not gap.topic.startswith(("bars/", "quote/")):
            self._recover(now)

    # ------------------------------------------------------------ recovery: start-up and restart are one path

    def _recover(self, now: float) -> None:
        self._state = "starting"
        for what, op in _RECOVERY.items():
            self._ask_recovery(what, op)

    def _ask_recovery(self, what: str, op: str) -> None:
        self._unknown[what] = math.inf
        socket: Any = "trade" if op.startswith("orders") else "request"
        args = {"engine": self.rules.name} if op == "orders.open" else {}
        self._effects.append(Ask(Question("recover", what), socket, op, args, 5.0))

    def _recovered(self, reply: Reply, now: float) -> None:
        what = reply.question.subject
        if isinstance(reply, Failure):
            if math.isinf(self._unknown.get(what, 0.0)):
                self._effects.append(Log("warning", "cannot recover yet", {"what": what, "why": reply.message}))
            self._unknown[what] = now + max(ASK_AGAIN_S, reply.retry_in_s or 0.0)
            return
        self._unknown.pop(what, None)
        handle = {
            "orders": self._take_order, "executions": self._take_fill, "positions": self._take_position,
            "account": self._take_account,
        }[what]  # fmt: skip
        bodies = list(reply.body.get("accounts" if what == "account" else what, ()))
        if what == "positions":
            self.positions.clear()
        for body in bodies:
            self._guarded(handle, body, what, now)
        if what == "orders":
            self.desk.recovered({str(body.get("client_order_id")) for body in bodies}, now)
        if not self._unknown and self._state != "ready":
            self._state = "ready"
            self._effects.append(Log("info", "engine ready", {"open": len(self.desk.trades)}))
            self._tell_strange_positions()

    def _tell_strange_positions(self) -> None:
        """Options on our symbols that no trade of ours explains: they block entries, and a person should know."""
        for key, position in self.positions.items():
            symbol = position.contract.symbol
            ours = symbol in self.rules.symbols and position.contract.sec_type == "OPT" and position.quantity != 0
            if ours and self.desk.trade_on(symbol) is None:
                facts = {"symbol": symbol, "position": key, "quantity": position.quantity}
                self._effects.append(Log("warning", "position without a trade of this engine", facts))

    # ------------------------------------------------------------ decisions

    def _work(self, now: float) -> None:
        """Collect what the parts want, and decide on every bar that became complete."""
        if self._state == "ready":
            for bar in self.feed.new_bars():
                self._decide(bar, now)
        self._effects += self.feed.effects()
        self._effects += self.desk.effects()

    def _decide(self, bar: NewBar, now: float) -> None:
        clock = market_clock(bar.start_ns, self.feed.bar_s)
        self.guards.session_is(clock.session)
        self.desk.bar_ended(bar.symbol, clock, now)
        decision = self._judge(bar, clock)
        guard, reason = self._against(bar, clock) if decision.is_signal else ("", "")
        self._record(bar, decision, guard, reason)
        if decision.is_signal and not guard:
            self.desk.start(bar, decision, now)

    def _judge(self, bar: NewBar, clock: MarketClock) -> Decision:
        if len(bar.window) < self.strategy.bars_needed:
            return no("warm_up", f"{len(bar.window)} of {self.strategy.bars_needed} bars")
        try:
            values = self.strategy.measure(bar.window)
            return self.strategy.decide(bar.window, values, clock)
        except Exception as error:  # a strategy is a guest: its fault is a "no" on this bar, not the end of the engine
            self._effects.append(Log("error", "strategy failed", {"symbol": bar.symbol, "why": repr(error)}))
            return no("error", f"the strategy failed: {error!r}")

    def _against(self, bar: NewBar, clock: MarketClock) -> tuple[str, str]:
        """(guard, reason) that stands against a signal, or two empty strings."""
        trade = self.desk.trade_on(bar.symbol)
        if trade is not None:
            return "busy", f"a trade is {trade.phase.value}"
        held = [key for key, one in self.positions.items() if one.contract.symbol == bar.symbol and one.quantity]
        if held:
            return "position", f"a position is held already: {', '.join(sorted(held))}"
        stop = self.guards.against(bar.symbol, clock, self.feed.bar_s, bar.window.bars_since_gap, len(bar.window))
        return (stop.guard, stop.reason) if stop is not None else ("", "")

    def _record(self, bar: NewBar, decision: Decision, guard: str, reason: str) -> None:
        self.decisions += 1
        self.signals += decision.is_signal
        body = self.decider.record(bar.symbol, bar.start_ns, decision, guard, reason)
        before = self.last_decision.get(bar.symbol, {})
        self.last_decision[bar.symbol] = body
        self._effects.append(Record(body))
        self._tell_decision(body, before)

    def _tell_decision(self, body: dict[str, Any], before: dict[str, Any]) -> None:
        """For people: every signal, and a "no" when its rule changed."""
        facts = {"symbol": body["symbol"], "reason": body["reason"]}
        if body["side"] and not body["guard"]:
            self._effects.append(Log("info", "signal", {**facts, "side": body["side"]}))
        elif body["side"]:
            level: Any = "debug" if before.get("guard") == body["guard"] else "info"
            held = {"side": body["side"], "guard": body["guard"], "why": body["guard_reason"]}
            self._effects.append(Log(level, "signal held back", {**facts, **held}))
        else:
            level = "debug" if before.get("rule") == body["rule"] else "info"
            self._effects.append(Log(level, "no signal", facts))
