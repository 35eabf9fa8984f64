"""Price grids: IB's market rules, asked once each and remembered. Pure.

A contract's `min_tick` is only the smallest step anywhere; the step at a price is in the rule of its exchange
(rule book 9). A rule that does not come falls back to `min_tick`: IB then refuses a wrong price itself (error 110).
"""

from __future__ import annotations

from collections.abc import Callable

from gateway_proxy.core import effects as fx
from gateway_proxy.core import events as ev
from gateway_proxy.core.desk import Desk
from gateway_proxy.core.scheduler import Lane, RequestClass

#: (lower edge, increment) from that price on, lowest first; the first edge is 0.
Bands = tuple[tuple[float, float], ...]


class MarketRules:
    """`bands_of` answers or asks; `wake` is called with every key given to it when the answer came, or never will."""

    def __init__(self, desk: Desk, wake: Callable[[str], None], timeout_s: float) -> None:
        self._desk = desk
        self._wake = wake
        self._timeout_s = timeout_s
        self._rules: dict[int, Bands] = {}
        self._asked: dict[int, float] = {}
        self._waiting: dict[int, set[str]] = {}

    def bands_of(self, details: ev.ContractDetails, key: str, now: float) -> Bands | None:
        """The price grid on the contract's own exchange; None while it is being asked. Raises QueueFull."""
        rule_id = dict(details.market_rules).get(details.contract.exchange, 0)
        alone: Bands = ((0.0, details.min_tick),)
        if rule_id == 0:
            return alone
        if rule_id in self._rules:
            return self._rules[rule_id] or alone
        if rule_id not in self._asked:
            self._desk.tell(fx.RequestMarketRule(rule_id), RequestClass.SESSION, Lane.INTERACTIVE, now)
            self._asked[rule_id] = now
        self._waiting.setdefault(rule_id, set()).add(key)
        return None

    def receive(self, event: ev.MarketRuleReceived) -> None:
        self._rules[event.rule_id] = event.bands
        self._answered(event.rule_id)

    def session_lost(self) -> None:
        """What was asked is lost; whoever needs it asks again."""
        for rule_id in list(self._asked):
            self._answered(rule_id)

    def next_timer(self) -> float | None:
        return min((asked_at + self._timeout_s for asked_at in self._asked.values()), default=None)

    def handle_timer(self, now: float) -> None:
        """A rule that did not come in time counts as unknown for this life: `min_tick` serves."""
        for rule_id in [one for one, asked_at in self._asked.items() if asked_at + self._timeout_s <= now]:
            self._rules[rule_id] = ()
            self._answered(rule_id)

    def _answered(self, rule_id: int) -> None:
        self._asked.pop(rule_id, None)
        for key in sorted(self._waiting.pop(rule_id, ())):
            self._wake(key)
