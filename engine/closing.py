"""Sells what is held when no exit is alive: one closing order at a time, at the bid, then at the market. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from engine.brackets import PriceGrid
from engine.effects import Answer, Ask, Effect, Failure, Log, Question, Reply
from engine.ledger import CLOSING_MARK, trade_of
from engine.trades import TERMINAL, Trade
from gateway_proxy import Contract, OrderUpdate

#: Limit orders at the bid before the market order; one per bar.
LIMIT_ATTEMPTS = 3
#: After this many orders a person has to look.
ATTEMPTS_MAX = 8


class Closer:
    """Closing orders carry the trade's id, a mark and their number, so a restart finds them again."""

    def __init__(self, engine: str, timeout_s: float, emit: Callable[[Effect], None]) -> None:
        self._engine = engine
        self._timeout_s = timeout_s
        self._emit = emit
        self._trades: dict[str, Trade] = {}

    def trade_of(self, client_order_id: str) -> str:
        return trade_of(client_order_id)

    def close(self, trade: Trade) -> None:
        """Begin the next closing order: first the quote, then the order."""
        contract = _contract(trade)
        if len(trade.closings) >= ATTEMPTS_MAX or contract is None:
            fields = {"symbol": trade.symbol, "order": trade.trade_id, "held": trade.held}
            self._emit(Log("error", "position left open, a person must close it", fields))
            return
        closing_id = f"{trade.trade_id}{CLOSING_MARK}{len(trade.closings) + 1}"
        trade.closings[closing_id] = 0.0
        trade.closing_alive = closing_id
        self._trades[closing_id] = trade
        args = {"contract": asdict(contract)}
        self._emit(Ask(Question("closing quote", closing_id), "request", "quote", args, self._timeout_s))

    def receive_reply(self, reply: Reply) -> bool:
        """True when the reply belonged to a closing order."""
        purpose, closing_id = reply.question.purpose, reply.question.subject
        trade = self._trades.get(closing_id)
        if purpose == "closing quote" and trade is not None:
            bid = reply.body.get("bid") if isinstance(reply, Answer) and isinstance(reply.body, dict) else None
            self._place(trade, closing_id, bid)
        elif purpose == "closing" and trade is not None:
            if isinstance(reply, Failure) and reply.certain:
                self._over(trade, closing_id, reply.message)
            elif isinstance(reply, Answer) and reply.body.get("state") in TERMINAL - {"filled"}:
                self._over(trade, closing_id, str(reply.body.get("reason", "")))
        elif purpose not in ("closing quote", "closing", "closing cancel"):
            return False
        return True

    def _place(self, trade: Trade, closing_id: str, bid: float | None) -> None:
        contract = _contract(trade)
        assert contract is not None, "a quote was asked for it"
        number = len(trade.closings)
        pick = trade.pick
        grid = PriceGrid.of_pick(trade.symbol, pick.min_tick if pick else 0.01, pick.price_bands if pick else ())
        limit = grid.down(bid) if bid and number <= LIMIT_ATTEMPTS else 0.0
        order = {
            "engine": self._engine,
            "client_order_id": closing_id,
            "contract": asdict(contract),
            "action": "SELL",
            "quantity": max(1, round(trade.held)),
            "order_type": "LMT" if limit > 0 else "MKT",
            "limit_price": limit if limit > 0 else None,
        }
        self._emit(Ask(Question("closing", closing_id), "trade", "order.place", order, self._timeout_s))
        fields = {
            "symbol": trade.symbol,
            "order": closing_id,
            "quantity": order["quantity"],
            "limit_price": limit or None,
        }
        self._emit(Log("info", "closing order sent", fields))

    def receive_update(self, update: OrderUpdate, trades: Mapping[str, Trade]) -> bool:
        """True when the update is about a closing order."""
        if CLOSING_MARK not in update.client_order_id:
            return False
        trade = trades.get(trade_of(update.client_order_id))
        if trade is None:
            return True
        before = trade.closings.get(update.client_order_id, 0.0)
        trade.closings[update.client_order_id] = max(before, update.filled)
        if update.filled > before:
            fields = {"symbol": trade.symbol, "order": update.client_order_id, "quantity": update.filled}
            self._emit(Log("info", "closing order filled", fields))
        if update.state in TERMINAL:
            self._over(trade, update.client_order_id, update.reason if update.state != "filled" else "")
        else:
            trade.closing_alive = update.client_order_id
        return True

    def bar_ended(self, trade: Trade) -> None:
        """A closing order that did not fill within a bar is cancelled; its end starts the next one."""
        if not trade.closing_alive:
            return self.close(trade)
        args = {"client_order_id": trade.closing_alive}
        self._emit(Ask(Question("closing cancel", trade.closing_alive), "trade", "order.cancel", args, self._timeout_s))

    def _over(self, trade: Trade, closing_id: str, why: str) -> None:
        if trade.closing_alive == closing_id:
            trade.closing_alive = ""
        if why:
            fields = {"symbol": trade.symbol, "order": closing_id, "why": why}
            self._emit(Log("warning", "closing order ended unfilled", fields))


def _contract(trade: Trade) -> Contract | None:
    return trade.pick.contract if trade.pick is not None else trade.contract
