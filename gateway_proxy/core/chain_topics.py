"""Subscribed chains: `chain/<symbol>/` is collected, published and refreshed while somebody listens. Pure."""

from __future__ import annotations

from collections.abc import Callable

from gateway_proxy.bus import topics
from gateway_proxy.core import effects as fx
from gateway_proxy.core.chains import ChainDesk, ChainPlan, ChainSettings, ChainSpec, columns
from gateway_proxy.core.contracts import parse
from gateway_proxy.errors import ProxyError


class ChainTopics:
    """One plan per symbol. `advance_all` is cheap and called when anything it may wait for changed."""

    def __init__(self, desk: ChainDesk, settings: ChainSettings, on_failure: Callable[[str, ProxyError], None]) -> None:
        self._desk = desk
        self._settings = settings
        self._on_failure = on_failure
        self._plans: dict[str, ChainPlan] = {}
        self._due: dict[str, float] = {}
        self._waits_for: dict[str, frozenset[str]] = {}
        self._effects: list[fx.Effect] = []
        self._is_open = False

    def subscribe(self, symbol: str, now: float) -> None:
        if symbol not in self._plans:
            spec = ChainSpec(parse(symbol), "nearest", None, self._settings.width)
            self._plans[symbol] = ChainPlan(spec, f"topic:chain/{symbol}/")
        self._due[symbol] = now
        self._advance(symbol, now)

    def unsubscribe(self, symbol: str, now: float) -> None:
        plan = self._plans.pop(symbol, None)
        self._due.pop(symbol, None)
        self._waits_for.pop(symbol, None)
        if plan is not None:
            self._desk.release(plan, now)

    def wake(self, key: str, now: float) -> None:
        for symbol, keys in list(self._waits_for.items()):
            if key in keys:
                self._advance(symbol, now)

    def session_ready(self, now: float) -> None:
        self._is_open = True
        for symbol in list(self._plans):
            self._due[symbol] = now
            self._advance(symbol, now)

    def session_lost(self) -> None:
        self._is_open = False

    def _advance(self, symbol: str, now: float) -> None:
        if not self._is_open:
            return
        plan = self._plans[symbol]
        try:
            chain = self._desk.advance(plan, "proxy", now)
        except ProxyError as failure:
            self._waits_for.pop(symbol, None)
            self._due[symbol] = now + max(self._settings.refresh_s, failure.retry_in_s or 0.0)
            self._on_failure(topics.chain(symbol), failure)
            return
        if isinstance(chain, frozenset):
            self._waits_for[symbol] = chain
            self._due[symbol] = plan.settle_at if plan.settle_at > now else now + self._settings.refresh_s
            return
        self._waits_for.pop(symbol, None)
        self._due[symbol] = now + self._settings.refresh_s
        self._effects.append(fx.Publish(topics.chain(symbol), "chain", columns(chain)))

    def next_timer(self) -> float | None:
        return min(self._due.values(), default=None) if self._is_open else None

    def handle_timer(self, now: float) -> None:
        for symbol in [symbol for symbol, due in self._due.items() if due <= now]:
            self._advance(symbol, now)

    def effects(self) -> list[fx.Effect]:
        done, self._effects = self._effects, []
        return done
