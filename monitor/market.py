"""Bars and option chains as the bus told them, bounded, for charts. Pure; nothing is computed from them here."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from gateway_proxy import Message
from monitor.bodies import Body, body_of, decisions, flag, inner, number, plain, rows, text, whole

BARS_MAX = 400
SERIES_MAX = 64
CHAINS_MAX = 32


@dataclass(frozen=True, slots=True)
class PricePoint:
    """One bar as drawn. `start_ns` is market time, which a simulator may let run faster."""

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    complete: bool


@dataclass(frozen=True, slots=True)
class SignalMark:
    """An engine wanted to trade on this bar; `guard` says what held it back, "" if nothing did."""

    start_ns: int
    engine: str
    symbol: str
    side: str
    reason: str
    guard: str


class MarketState:
    """Keeps the newest BARS_MAX bars of at most SERIES_MAX topics, the indicators that engines measured on them,
    and the last chain of at most CHAINS_MAX symbols.
    """

    def __init__(self) -> None:
        self._epoch = ""
        self._clear()

    def _clear(self) -> None:
        self._series: OrderedDict[str, dict[int, PricePoint]] = OrderedDict()
        self._chains: OrderedDict[str, Body] = OrderedDict()
        self._indicators: OrderedDict[str, dict[int, dict[str, float]]] = OrderedDict()
        self._signals: dict[tuple[str, str, int], SignalMark] = {}

    def receive_message(self, message: Message) -> None:
        """Bars and chains are kept; everything else is ignored."""
        if message.epoch != self._epoch:
            # A restarted simulator may begin another day: its bars and the old ones must not stand in one chart.
            self._epoch = message.epoch
            self._clear()
        body = body_of(message.body)
        welcome = message.kind == "welcome"
        topic = (text(body, "topic") or message.topic) if welcome else message.topic
        if topic.startswith("bars/"):
            told = body.get("snapshot") if welcome else body
            for bar in _bars(told):
                self._put_bar(topic, bar)
        elif topic.startswith("chain/"):
            chain = inner(body, "snapshot") if welcome else body
            if chain:
                _keep(self._chains, plain(topic.split("/")[1]), chain, CHAINS_MAX)
        elif topic.startswith("health/engine/"):
            report = inner(body, "snapshot") if welcome else body
            for decision in decisions(report):
                self._put_decision(plain(topic.split("/")[2]), decision)

    def topics(self) -> tuple[str, ...]:
        return tuple(sorted(self._series))

    def bars(self, topic: str) -> list[PricePoint]:
        """Oldest first; empty for a topic that was never heard."""
        series = self._series.get(topic, {})
        return [series[start_ns] for start_ns in sorted(series)]

    def chains(self) -> dict[str, Body]:
        """The last chain of each symbol, as published."""
        return dict(self._chains)

    def indicators(self, symbol: str) -> dict[int, dict[str, float]]:
        """What engines measured on the bars of a symbol, by the bar's start; engines with other names for it add up."""
        return dict(self._indicators.get(symbol, {}))

    def signals(self, symbol: str) -> list[SignalMark]:
        return [mark for mark in self._signals.values() if mark.symbol == symbol]

    def _put_decision(self, engine: str, decision: Body) -> None:
        symbol, start_ns = text(decision, "symbol"), whole(decision, "bar_start_ns")
        if not symbol or start_ns is None:
            return
        measured = inner(decision, "values")
        values = {plain(name): value for name in list(measured)[:20] if (value := number(measured, name)) is not None}
        known = self._indicators.get(symbol, {})
        known[start_ns] = {**known.get(start_ns, {}), **values}
        if len(known) > BARS_MAX:
            del known[min(known)]
        _keep(self._indicators, symbol, known, SERIES_MAX)
        if text(decision, "side"):
            self._signals[engine, symbol, start_ns] = SignalMark(
                start_ns, engine, symbol, text(decision, "side"), text(decision, "reason"), text(decision, "guard")
            )
            if len(self._signals) > BARS_MAX:
                del self._signals[next(iter(self._signals))]

    def _put_bar(self, topic: str, body: Body) -> None:
        point = _point(body)
        if point is None:
            return
        series = self._series.get(topic, {})
        series[point.start_ns] = point
        if len(series) > BARS_MAX:
            del series[min(series)]
        _keep(self._series, plain(topic), series, SERIES_MAX)


def _bars(told: Any) -> list[Body]:
    """One bar, a list of bars, or an object that holds the list."""
    if isinstance(told, list | tuple):
        return [row for row in told[-BARS_MAX:] if isinstance(row, dict)]
    body = body_of(told)
    return list(rows(body, "bars")) if "bars" in body else [body]


def _point(body: Body) -> PricePoint | None:
    start_ns, close = whole(body, "start_ns"), number(body, "close")
    if start_ns is None or close is None:
        return None
    return PricePoint(
        start_ns=start_ns,
        open=_or(number(body, "open"), close),
        high=_or(number(body, "high"), close),
        low=_or(number(body, "low"), close),
        close=close,
        volume=number(body, "volume") or 0.0,
        complete=flag(body, "complete"),
    )


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _keep(known: OrderedDict[str, Any], key: str, value: Any, limit: int) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > limit:
        known.popitem(last=False)
