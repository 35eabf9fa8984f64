"""What ticks a quote subscription shows: contract and moment to a list of tick values. Pure.

A value is known by its tick type; the desk sends only those that changed. Types: wire reference b3, rule book 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from gateway_sim import messages
from gateway_sim.contracts import Contract
from gateway_sim.market import Market, Quote
from gateway_sim.option_series import OptionValue
from gateway_sim.pricing import Greeks

DELAYED_TYPES = {
    0: 69, 1: 66, 2: 67, 3: 70, 4: 68, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88, 10: 80, 11: 81, 12: 82,
    13: 83,
}  # fmt: skip
COMPUTATIONS_KEPT = 4096
GENERIC_TICKS = frozenset({
    100, 101, 104, 105, 106, 162, 165, 221, 225, 232, 233, 236, 256, 258, 292, 293, 294, 295, 318, 375, 411, 456, 586,
    588, 595, 619,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Price:
    """A price tick that carries a size (0 for those that have none)."""

    price: float
    size: int = 0


@dataclass(frozen=True, slots=True)
class Size:
    size: int


@dataclass(frozen=True, slots=True)
class Number:
    value: float


@dataclass(frozen=True, slots=True)
class Text:
    value: str


@dataclass(frozen=True, slots=True)
class Computation:
    """An option computation; values None: not available."""

    volatility: float
    price: float
    values: Greeks | None
    spot: float


Tick = Price | Size | Number | Text | Computation

SIZE_OF_PRICE = {1: 0, 2: 3, 4: 5, 66: 69, 67: 70, 68: 71}
"""Price tick -> the size tick that is sent when only the size changed (rule book 3.4)."""


def encode_tick(req_id: int, tick_type: int, tick: Tick, before: Tick | None) -> bytes:
    """The message for a tick; a price tick whose price did not change becomes a size tick."""
    if isinstance(tick, Price):
        if isinstance(before, Price) and before.price == tick.price and tick_type in SIZE_OF_PRICE:
            return messages.tick_size(req_id, SIZE_OF_PRICE[tick_type], tick.size)
        return messages.tick_price(req_id, tick_type, tick.price, tick.size, 1 if tick_type in (1, 2) else 0)
    if isinstance(tick, Size):
        return messages.tick_size(req_id, tick_type, tick.size)
    if isinstance(tick, Number):
        return messages.tick_generic(req_id, tick_type, tick.value)
    if isinstance(tick, Text):
        return messages.tick_string(req_id, tick_type, tick.value)
    return messages.tick_option_computation(req_id, tick_type, tick.volatility, tick.price, tick.values, tick.spot)


class TickBoard:
    """Ticks of a contract at a market time."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._computed: dict[int, tuple[tuple[int, bool], dict[int, Tick]]] = {}
        """Computations of the latest second, by contract."""

    def ticks(
        self, contract: Contract, generic: frozenset[int], market_s: float, greeks_missing: bool
    ) -> dict[int, Tick]:
        """Every tick the subscription shows now, by type, in the order they are sent."""
        quote = self._market.quote_of_second(contract, market_s)
        bid_size, ask_size = self._market.sizes(contract, quote, market_s)
        shown: dict[int, Tick] = {
            1: Price(quote.bid, bid_size),
            2: Price(quote.ask, ask_size),
            4: Price(quote.last, quote.last_size),
            8: Size(quote.volume),
            6: Price(quote.high),
            7: Price(quote.low),
            9: Price(quote.previous_close),
        }
        if not contract.is_option:
            shown[14] = Price(quote.open)
        if contract.sec_type == "IND":
            del shown[1], shown[2], shown[8]
        for tick_type in (6, 7, 14):
            if isinstance(tick := shown.get(tick_type), Price) and tick.price <= 0.0:
                del shown[tick_type]
        shown[45] = Text(str(quote.last_time))
        shown[49] = Number(1.0 if quote.halted else 0.0)
        if contract.is_option:
            shown.update(self._computations(contract, quote, market_s, greeks_missing))
        for number in sorted(generic):
            shown.update(self._generic(contract, number, quote, market_s))
        return shown

    def moving(self, contract: Contract, market_s: float) -> dict[int, Tick]:
        """The ticks that may change inside one second: the displayed sizes."""
        if contract.sec_type == "IND":
            return {}
        quote = self._market.quote_of_second(contract, market_s)
        bid_size, ask_size = self._market.sizes(contract, quote, market_s)
        return {1: Price(quote.bid, bid_size), 2: Price(quote.ask, ask_size)}

    def _computations(self, contract: Contract, quote: Quote, market_s: float, greeks_missing: bool) -> dict[int, Tick]:
        value = self._market.option_value(contract, market_s)
        key = (int(market_s), greeks_missing)
        known = self._computed.get(contract.con_id)
        if known is not None and known[0] == key:
            return known[1]
        nothing = Computation(-1.0, -1.0, None, -1.0)
        model: Tick = Computation(value.volatility, round(value.model.price, 6), value.model, round(value.spot, 4))
        rows: dict[int, Tick] = {13: nothing if greeks_missing else model}
        for tick_type, price in ((10, quote.bid), (11, quote.ask), (12, quote.last)):
            rows[tick_type] = _shifted(value, price) if price > 0.0 else nothing
        if len(self._computed) > COMPUTATIONS_KEPT:
            self._computed.clear()
        self._computed[contract.con_id] = (key, rows)
        return rows

    def _generic(self, contract: Contract, number: int, quote: Quote, market_s: float) -> dict[int, Tick]:
        maker = _GENERIC.get(number)
        return maker(self._market, contract, quote, market_s) if maker else {}


def _shifted(value: OptionValue, price: float) -> Computation:
    """The computation for another price than the model's: volatility moved along vega."""
    vega = value.model.vega
    volatility = value.volatility + ((price - value.model.price) / vega / 100.0 if vega > 1e-4 else 0.0)
    return Computation(max(0.01, volatility), price, replace(value.model, price=price), round(value.spot, 4))


def _option_volumes(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    if contract.is_option:
        return {29 if contract.is_call else 30: Size(quote.volume)}
    return {29: Size(int(quote.volume * 0.021)), 30: Size(int(quote.volume * 0.024))}


def _open_interest(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    if contract.is_option:
        return {27 if contract.is_call else 28: Size(market.open_interest(contract, market_s))}
    return {27: Size(contract.listing.daily_volume // 9), 28: Size(contract.listing.daily_volume // 7)}


def _historical_volatility(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {23: Number(contract.listing.volatility)}


def _average_option_volume(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {} if contract.is_option else {87: Size(contract.listing.daily_volume // 20)}


def _implied_volatility(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {} if contract.is_option else {24: Number(round(contract.listing.volatility * 1.03, 6))}


def _year_range(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    spread = contract.listing.volatility
    close = quote.previous_close
    rows: dict[int, Tick] = {21: Size(contract.listing.daily_volume)}
    for low, high, share in ((15, 16, 0.25), (17, 18, 0.5), (19, 20, 1.0)):
        rows[low] = Price(round(close * math.exp(-spread * math.sqrt(share)), 2))
        rows[high] = Price(round(close * math.exp(spread * math.sqrt(share)), 2))
    return rows


def _mark_price(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {37: Price(round(quote.mark, 4))}


def _rt_volume(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    text = f"{quote.last:.2f};{quote.last_size};{quote.last_time * 1000};{quote.volume};{quote.mark:.4f};true"
    return {48: Text(text)}


def _shortable(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {} if contract.is_option else {46: Number(3.0), 89: Size(contract.listing.daily_volume // 3)}


def _trade_count(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {54: Number(float(quote.volume // 110))}


def _last_rth_trade(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {57: Price(quote.last)}


_GENERIC: dict[int, Callable[[Market, Contract, Quote, float], dict[int, Tick]]] = {
    100: _option_volumes,
    101: _open_interest,
    104: _historical_volatility,
    105: _average_option_volume,
    106: _implied_volatility,
    165: _year_range,
    221: _mark_price,
    232: _mark_price,
    233: _rt_volume,
    236: _shortable,
    293: _trade_count,
    318: _last_rth_trade,
}
