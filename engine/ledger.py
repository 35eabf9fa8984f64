"""The engine's own profit and loss of the day, from fills. Pure.

Fills may come twice and their commission later; every execution counts once, every commission once.
"""

from __future__ import annotations

from dataclasses import dataclass

from engine.sessions import session_of
from gateway_proxy import Fill

#: Executions remembered against repeats; a day of scalping has hundreds.
REMEMBERED_MAX = 20_000
CLOSING_MARK = "-x"


@dataclass(slots=True)
class _Position:
    """What one trade holds. `cost` is what the held contracts were paid, in currency."""

    quantity: float = 0.0
    cost: float = 0.0


def trade_of(client_order_id: str) -> str:
    """The trade that an order belongs to: closing orders carry its id and a mark."""
    return client_order_id.partition(CLOSING_MARK)[0]


class Ledger:
    """Realized profit per session. `receive` returns what one fill adds to it, in currency."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._seen: dict[str, bool] = {}
        self._positions: dict[str, _Position] = {}
        self.profit_of: dict[int, float] = {}

    def receive(self, fill: Fill) -> float:
        """Book one fill of this engine; 0.0 for somebody else's, a repeat, or an entry without commission."""
        if fill.engine != self._engine:
            return 0.0
        profit = 0.0
        if fill.exec_id not in self._seen:
            profit += self._book(fill)
            self._remember(fill.exec_id, False)
        if fill.commission is not None and not self._seen[fill.exec_id]:
            profit -= fill.commission
            self._seen[fill.exec_id] = True
        session = session_of(fill.time_ns)
        self.profit_of[session] = self.profit_of.get(session, 0.0) + profit
        return profit

    def _book(self, fill: Fill) -> float:
        position = self._positions.setdefault(trade_of(fill.client_order_id), _Position())
        value = fill.quantity * fill.price * multiplier_of(fill)
        if fill.action == "BUY":
            position.quantity += fill.quantity
            position.cost += value
            return 0.0
        share = min(1.0, fill.quantity / position.quantity) if position.quantity > 0 else 0.0
        cost = position.cost * share
        position.quantity -= fill.quantity * (share > 0)
        position.cost -= cost
        # A sale of something bought before this memory began has no known cost: it cannot be booked.
        return value - cost if share > 0 else 0.0

    def _remember(self, exec_id: str, paid: bool) -> None:
        if len(self._seen) >= REMEMBERED_MAX:
            self._seen.pop(next(iter(self._seen)))
        self._seen[exec_id] = paid


def multiplier_of(fill: Fill) -> float:
    try:
        return float(fill.contract.multiplier or 1)
    except ValueError:
        return 1.0
