"""The trading desk: turns a signal into one bracket order and follows it to the end. Pure.

One trade per symbol at a time. An answer that does not come is "unknown", never "no": the same id is asked about until
the proxy tells, and nothing else is opened on that symbol meanwhile (reliability 6.5).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from engine.closing import Closer
from engine.decisions import DROPPED
from engine.effects import Ask, Effect, Failure, Log, Question, Record, Reply
from engine.exits import time_is_up
from engine.feed import NewBar
from engine.guards import Guards
from engine.ledger import CLOSING_MARK, trade_of
from engine.proposal import propose
from engine.rules import DeskRules
from engine.sessions import NS_PER_S, MarketClock
from engine.strategy import Decider, Decision, no
from engine.strikes import Pick
from engine.trades import TERMINAL, Event, Phase, Trade, client_order_id
from gateway_proxy import AccountValues, OrderUpdate

#: Ended trades kept for late updates; a session of scalping has tens.
REMEMBERED_MAX = 1000


class Desk:
    """`decider.engine` is the name that orders carry; `bar_s` the length of the bars that signals come from."""

    def __init__(self, decider: Decider, bar_s: int, rules: DeskRules, guards: Guards) -> None:
        self._decider = decider
        self._engine = engine = decider.engine
        self._bar_s = bar_s
        self._rules = rules
        self._guards = guards
        self._current: dict[str, Trade] = {}
        self._by_id: dict[str, Trade] = {}
        self._bar_ns: dict[str, int] = {}
        self._ask_at: dict[str, float] = {}
        self._effects: list[Effect] = []
        self._closer = Closer(engine, rules.orders.order_timeout_s, self._effects.append)
        self.account: AccountValues | None = None
        self.orders_sent = 0

    # ------------------------------------------------------------ reading

    def trade_on(self, symbol: str) -> Trade | None:
        """The trade that is, or may be, alive on this symbol."""
        return self._current.get(symbol)

    @property
    def trades(self) -> list[Trade]:
        return list(self._current.values())

    def effects(self) -> list[Effect]:
        done = self._effects.copy()
        self._effects.clear()
        return done

    # ------------------------------------------------------------ a signal

    def start(self, bar: NewBar, decision: Decision, now: float) -> Trade:
        """Begin the trade of a signal. An earlier life of this engine may have acted on a bar that is not live."""
        symbol, bar_start_ns = bar.symbol, bar.start_ns
        assert decision.side is not None, "only a signal starts a trade"
        assert symbol not in self._current, "one trade per symbol"
        who = self._decider
        trade_id = client_order_id(who.engine, who.strategy, who.version, symbol, bar_start_ns, decision.side, 1)
        phase = Phase.CHOOSING if bar.live else Phase.CHECKING
        trade = Trade(trade_id, symbol, decision.side, bar_start_ns, phase, decision.reason, cites=bar.cites)
        self._bar_ns[symbol] = max(bar_start_ns, self._bar_ns.get(symbol, 0))
        self._keep(trade)
        self._guards.trade_started(symbol, trade_id)
        if phase is Phase.CHECKING:
            self._ask_status(trade, now)
        else:
            self._ask_chain(trade)
        return trade

    def _keep(self, trade: Trade) -> None:
        self._current[trade.symbol] = trade
        self._by_id[trade.trade_id] = trade
        if len(self._by_id) > REMEMBERED_MAX:
            ended = next((key for key, known in self._by_id.items() if known.phase is Phase.ENDED), None)
            if ended is not None:
                del self._by_id[ended]

    def _ask_chain(self, trade: Trade) -> None:
        rules = self._rules
        args = {"contract": trade.symbol, "expiry": "nearest", "width": rules.strikes.width}
        question = Question("chain", trade.trade_id)
        self._effects.append(Ask(question, "request", "chain", args, rules.orders.chain_timeout_s))

    # ------------------------------------------------------------ answers

    def receive_reply(self, reply: Reply, now: float) -> None:
        """The answer to one of this desk's questions. Answers to trades that moved on are ignored."""
        if self._closer.receive_reply(reply):
            return
        trade = self._by_id.get(reply.question.subject)
        if trade is None:
            return
        handle: dict[str, Callable[[Trade, Reply, float], None]] = {
            "chain": self._chain_answered,
            "place": self._placed,
            "status": self._status_answered,
            "cancel": self._cancel_answered,
        }
        handle[reply.question.purpose](trade, reply, now)

    def _chain_answered(self, trade: Trade, reply: Reply, now: float) -> None:
        if trade.phase is not Phase.CHOOSING:
            return
        if isinstance(reply, Failure):
            return self._drop(trade, f"no option chain: {reply.message}")
        if not self._is_fresh(trade):
            return self._drop(trade, "the option chain came too late for this signal")
        proposal = propose(self._engine, trade, reply.body, self.account, self._rules)
        if isinstance(proposal, str):
            return self._drop(trade, proposal)
        trade.order, trade.pick, trade.quantity = proposal.order, proposal.pick, proposal.quantity
        trade.advance(Event.CHOSEN)
        self._send(trade)

    def _send(self, trade: Trade) -> None:
        assert trade.order is not None
        trade.sends += 1
        self.orders_sent += 1
        order, question = trade.order, Question("place", trade.trade_id)
        self._effects.append(Ask(question, "trade", "order.bracket", order, self._rules.orders.order_timeout_s))
        self._log(
            "info", "bracket sent", trade, option=_option_name(trade.pick), quantity=trade.quantity,
            limit_price=order["limit_price"], take_profit=order["take_profit"], stop_loss=order["stop_loss"],
        )  # fmt: skip

    def _placed(self, trade: Trade, reply: Reply, now: float) -> None:
        if isinstance(reply, Failure):
            if not reply.certain:
                return self._lost(trade, reply.message, now)
            if trade.phase in (Phase.SENDING, Phase.UNKNOWN):
                self._log("warning", "order refused", trade, code=reply.code, why=reply.message)
                self._end(trade, Event.DEAD, f"refused: {reply.message}")
            return
        self._state_told(trade, reply.body, now)

    def _state_told(self, trade: Trade, body: Any, now: float) -> None:
        """A reply knows the state of the entry; the updates on orders/<engine>/ know the rest."""
        state = str(body.get("state", "unknown")) if isinstance(body, dict) else "unknown"
        if trade.phase not in (Phase.SENDING, Phase.UNKNOWN, Phase.CHECKING):
            return
        if isinstance(body, dict) and body.get("legs"):
            self.receive_update(self._as_update(trade, body), now)
        elif state in ("unknown", "pending"):
            self._lost(trade, str(body.get("reason", "")) if isinstance(body, dict) else "", now)
        elif state in TERMINAL and state != "filled":
            reason = str(body.get("reason") or state)
            self._end(trade, Event.DEAD, f"{state}: {reason}")
        else:
            self._settle(trade, Event.ACCEPTED)

    def _as_update(self, trade: Trade, body: dict[str, Any]) -> OrderUpdate:
        """An order reply as an update: it lacks only what this desk knows itself."""
        known = {"engine": self._engine, "symbol": trade.symbol, "action": "BUY", "quantity": max(trade.quantity, 1)}
        return msgspec.convert({**known, "filled": 0.0, "order_ids": (), "simulated": False, **body}, OrderUpdate)

    def _status_answered(self, trade: Trade, reply: Reply, now: float) -> None:
        if isinstance(reply, Failure):
            return self._lost(trade, reply.message, now)
        if reply.body.get("state") != "not_found":
            return self._state_told(trade, reply.body, now)
        if trade.phase not in (Phase.CHECKING, Phase.UNKNOWN):
            return
        was_checking = trade.phase is Phase.CHECKING
        trade.advance(Event.ABSENT)
        if not was_checking:
            self._repeat_or_drop(trade)
        elif self._is_fresh(trade):
            self._ask_chain(trade)
        else:
            self._drop(trade, "the signal is from before the restart")

    def _repeat_or_drop(self, trade: Trade) -> None:
        """The proxy never saw the order. The identical one, same id, may go again while the signal is fresh."""
        if trade.order is not None and self._is_fresh(trade) and trade.sends < self._rules.orders.max_sends:
            trade.advance(Event.CHOSEN)
            return self._send(trade)
        self._drop(trade, "the proxy never saw the order, and it is too late now")

    def _cancel_answered(self, trade: Trade, reply: Reply, now: float) -> None:
        # The update on orders/<engine>/ tells what the cancel did; a lost one is repeated at the next bar.
        if isinstance(reply, Failure):
            self._log("warning", "cancel not confirmed", trade, code=reply.code, why=reply.message)

    def _lost(self, trade: Trade, why: str, now: float) -> None:
        if trade.phase not in (Phase.SENDING, Phase.UNKNOWN, Phase.CHECKING):
            return
        if trade.phase is Phase.SENDING:
            self._log("warning", "order outcome unknown", trade, why=why)
        trade.advance(Event.LOST)
        self._ask_at[trade.trade_id] = now + self._rules.orders.ask_again_s

    # ------------------------------------------------------------ order updates

    def receive_update(self, update: OrderUpdate, now: float) -> None:
        """What the proxy says about one order of this engine, live or after a restart of either side."""
        if CLOSING_MARK in update.client_order_id and trade_of(update.client_order_id) not in self._by_id:
            self._adopt_closing(update)
        if self._closer.receive_update(update, self._by_id):
            trade = self._by_id.get(self._closer.trade_of(update.client_order_id))
            if trade is not None and trade.phase is Phase.CLOSING:
                self._settle(trade, Event.FLAT if trade.held <= 0 else Event.EXPOSED)
            return
        trade = self._by_id.get(update.client_order_id) or self._adopt(update)
        if trade is None:
            return
        bought, sold = trade.bought, trade.sold_by_exits
        event = trade.learn(update)
        if event is Event.LOST and trade.phase not in (Phase.SENDING, Phase.UNKNOWN, Phase.CHECKING, Phase.WORKING):
            return
        self._tell_fills(trade, update, bought, sold)
        if event is Event.DEAD and trade.phase is not Phase.ENDED:
            return self._end(trade, event, f"{update.state}: {update.reason}" if update.reason else update.state)
        if event is Event.LOST:
            self._ask_at.setdefault(trade.trade_id, now + self._rules.orders.ask_again_s)
        self._settle(trade, event)

    def recovered(self, open_ids: set[str], now: float) -> None:
        """The proxy named every open order. Ask about each trade of ours that it did not name."""
        for trade in self._current.values():
            if trade.trade_id not in open_ids and trade.phase not in (Phase.CHOOSING, Phase.CLOSING):
                self._ask_at[trade.trade_id] = now

    def _adopt(self, update: OrderUpdate) -> Trade | None:
        """An order of an earlier life. Finished ones are none of this life's business."""
        legs_alive = any(leg.state not in TERMINAL for leg in update.legs) or update.state not in TERMINAL
        if not legs_alive or update.symbol in self._current or update.engine != self._engine:
            return None
        bar_ns = self._bar_ns.get(update.symbol, 0)
        trade = Trade(update.client_order_id, update.symbol, None, bar_ns, Phase.WORKING, "adopted", adopted=True)
        self._keep(trade)
        self._guards.trade_adopted(update.symbol)
        self._log("info", "trade adopted", trade, state=update.state, filled=update.filled)
        return trade

    def _adopt_closing(self, update: OrderUpdate) -> None:
        """A closing order of an earlier life that is still alive: what it sells is what that trade held."""
        if update.state in TERMINAL or update.symbol in self._current or update.engine != self._engine:
            return
        bar_ns = self._bar_ns.get(update.symbol, 0)
        trade_id = trade_of(update.client_order_id)
        trade = Trade(trade_id, update.symbol, None, bar_ns, Phase.CLOSING, "adopted", adopted=True)
        trade.contract, trade.quantity, trade.bought = update.contract, update.quantity, float(update.quantity)
        trade.opened_bar_ns, trade.closing_alive = bar_ns, update.client_order_id
        self._keep(trade)
        self._guards.trade_adopted(update.symbol)
        self._log("info", "trade adopted", trade, state="closing", filled=update.filled)

    def _tell_fills(self, trade: Trade, update: OrderUpdate, bought: float, sold: float) -> None:
        if trade.bought > bought:
            if trade.opened_bar_ns is None:
                trade.opened_bar_ns = self._bar_ns.get(trade.symbol, trade.bar_start_ns)
            self._log("info", "entry filled", trade, quantity=trade.bought, price=_rounded(trade.bought_at))
        if trade.sold_by_exits > sold:
            for leg in update.legs:
                if leg.leg != "entry" and leg.filled > 0:
                    event = f"{leg.leg.replace('_', ' ')} filled"
                    self._log("info", event, trade, quantity=leg.filled, price=_rounded(leg.average_price))
                    trade.ending = event

    def _settle(self, trade: Trade, event: Event) -> None:
        """Follow the table and do what the new phase asks for."""
        was_ended = trade.phase is Phase.ENDED
        changed = trade.advance(event)
        if trade.phase is Phase.ENDED:
            if not was_ended:
                self._forget(trade)
            return
        self._ask_at.pop(trade.trade_id, None)
        if trade.phase is Phase.UNKNOWN:
            self._ask_at[trade.trade_id] = 0.0
        if was_ended:
            self._current.setdefault(trade.symbol, trade)
            self._guards.trade_adopted(trade.symbol)
            self._log("warning", "trade came back to life", trade, phase=trade.phase.value)
        if trade.phase is Phase.CLOSING and (changed or not trade.closing_alive):
            self._closer.close(trade)

    def _end(self, trade: Trade, event: Event, why: str) -> None:
        """Over without a fill."""
        trade.ending = trade.ending or why
        trade.advance(event)
        self._log("info", "order ended unfilled", trade, why=trade.ending)
        self._forget(trade)

    def _drop(self, trade: Trade, why: str) -> None:
        """Nothing was sent and nothing will be: a recorded "no" after the signal."""
        self._log("info", "signal dropped", trade, why=why)
        self._effects.append(Record(self._decider.record(trade.symbol, trade.bar_start_ns, no(DROPPED, why))))
        trade.ending = why
        trade.advance(Event.DROPPED)
        self._guards.trade_void(trade.symbol, trade.trade_id)
        self._forget(trade)

    def _forget(self, trade: Trade) -> None:
        self._ask_at.pop(trade.trade_id, None)
        self._current.pop(trade.symbol, None)
        bar_ns = self._bar_ns.get(trade.symbol, trade.bar_start_ns)
        self._guards.trade_ended(trade.symbol, bar_ns, cool_down=trade.sends > 0 or trade.adopted)
        if trade.bought > 0:
            self._log("info", "trade ended", trade, how=trade.ending, bought=trade.bought)

    # ------------------------------------------------------------ time

    def bar_ended(self, symbol: str, clock: MarketClock, now: float) -> None:
        """A bar of this symbol is complete: old entries are cancelled and old positions closed."""
        self._bar_ns[symbol] = clock.bar_start_ns
        trade = self._current.get(symbol)
        if trade is None or trade.phase not in (Phase.WORKING, Phase.OPEN, Phase.LEAVING, Phase.CLOSING):
            return
        # An adopted trade does not know its bars: its time runs from the first bar of this life.
        trade.bar_start_ns = trade.bar_start_ns or clock.bar_start_ns
        trade.opened_bar_ns = clock.bar_start_ns if trade.opened_bar_ns == 0 else trade.opened_bar_ns
        if trade.phase is Phase.CLOSING:
            return self._closer.bar_ended(trade)
        why = time_is_up(self._rules.exits, clock, self._bar_s, trade.bar_start_ns, trade.opened_bar_ns)
        if why is None and trade.phase is not Phase.LEAVING:
            return
        if trade.advance(Event.LEAVE):
            trade.ending = why or trade.ending
            self._log("info", "leaving", trade, why=why)
        # The proxy only drops the exits of a held position when it is told to in so many words.
        args = {"client_order_id": trade.trade_id, "exits": trade.bought > 0}
        question = Question("cancel", trade.trade_id)
        self._effects.append(Ask(question, "trade", "order.cancel", args, self._rules.orders.order_timeout_s))

    def next_timer(self) -> float | None:
        return min(self._ask_at.values(), default=None)

    def handle_timer(self, now: float) -> None:
        """Ask again about every order whose fate is not known."""
        for trade_id in [trade_id for trade_id, at in self._ask_at.items() if at <= now]:
            del self._ask_at[trade_id]
            self._ask_status(self._by_id[trade_id], now)

    def _ask_status(self, trade: Trade, now: float) -> None:
        args = {"client_order_id": trade.trade_id}
        question = Question("status", trade.trade_id)
        self._effects.append(Ask(question, "trade", "order.status", args, self._rules.orders.status_timeout_s))

    def _is_fresh(self, trade: Trade) -> bool:
        age_ns = self._bar_ns.get(trade.symbol, trade.bar_start_ns) - trade.bar_start_ns
        return age_ns <= self._rules.orders.max_age_bars * self._bar_s * NS_PER_S

    def _log(self, level: Any, event: str, trade: Trade, **fields: Any) -> None:
        self._effects.append(Log(level, event, {"symbol": trade.symbol, "order": trade.trade_id, **fields}))


def _option_name(chosen: Pick | None) -> str:
    return chosen.contract.key if chosen is not None else ""


def _rounded(price: float | None) -> float | None:
    """For people: averages carry binary dust."""
    return None if price is None else round(price, 6)
