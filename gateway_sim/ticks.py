"""What ticks a quote subscription shows: contract and moment to a list of tick values. Pure.

A value is known by its tick type; the desk sends only those that changed. Types: wire reference b3, rule book 9.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway_sim import messages
from gateway_sim.contracts import Contract
from gateway_sim.market import Market
from gateway_sim.option_series import OptionValue
from gateway_sim.quotes import Quote

DELAYED_TYPES = {
    0: 69, 1: 66, 2: 67, 3: 70, 4: 68, 5: 71, 6: 72, 7: 73, 8: 74, 9: 75, 14: 76, 45: 88, 10: 80, 11: 81, 12: 82,
    13: 83,
}  # fmt: skip
COMPUTATIONS_KEPT = 4096
GENERIC_TICKS = frozenset({
    100, 101, 104, 105, 106, 162, 165, 221, 225, 232, 233, 236, 256, 258, 292, 293, 294, 295, 318, 375, 411, 456, 586,
    588, 595, 619,
})  # fmt: skip


Tick = tuple[float, int] | int | float | str
"""What a tick type shows: a price and its size (0 for those that have none), a size, a generic number or a text; the
text of a computation (types 10 to 13) is that of its fields, the same for every subscription."""

COMPUTED = frozenset({10, 11, 12, 13, 80, 81, 82, 83})
SIZE_OF_PRICE = {1: 0, 2: 3, 4: 5, 66: 69, 67: 70, 68: 71}
"""Price tick -> the size tick that is sent when only the size changed (rule book 3.4)."""


def tick_text(req_id: int, tick_type: int, tick: Tick, before: Tick | None) -> str:
    """The message for a tick; a price tick whose price did not change becomes a size tick."""
    if isinstance(tick, tuple):
        price, size = tick
        if isinstance(before, tuple) and before[0] == price and tick_type in SIZE_OF_PRICE:
            return messages.tick_size(req_id, SIZE_OF_PRICE[tick_type], size)
        return messages.tick_price(req_id, tick_type, price, size, 1 if tick_type in (1, 2) else 0)
    if isinstance(tick, int):
        return messages.tick_size(req_id, tick_type, tick)
    if isinstance(tick, float):
        return messages.tick_generic(req_id, tick_type, tick)
    if tick_type in COMPUTED:
        return messages.tick_option_computation(req_id, tick_type, tick)
    return messages.tick_string(req_id, tick_type, tick)


class TickBoard:
    """Ticks of a contract at a market time."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._computed: dict[int, tuple[tuple[int, bool], dict[int, str]]] = {}
        """Computations of the latest second, by contract."""

    def ticks(
        self, contract: Contract, quote: Quote, generic: tuple[int, ...], market_s: float, greeks_missing: bool
    ) -> dict[int, Tick]:
        """Every tick the subscription shows now, by type, in the order they are sent."""
        shown: dict[int, Tick] = {4: (quote.last, quote.last_size), 8: quote.volume, 9: (quote.previous_close, 0)}
        if contract.sec_type != "IND":
            bid_size, ask_size = self._market.sizes(contract, quote, market_s)
            shown = {1: (quote.bid, bid_size), 2: (quote.ask, ask_size), **shown}
        else:
            del shown[8]
        if quote.high > 0.0:
            shown[6], shown[7] = (quote.high, 0), (quote.low, 0)
        if quote.open > 0.0 and not contract.is_option:
            shown[14] = (quote.open, 0)
        shown[45] = str(quote.last_time)
        shown[49] = 1.0 if quote.halted else 0.0
        if contract.is_option:
            shown.update(self._computations(contract, quote, market_s, greeks_missing))
        for number in generic:
            shown.update(self._generic(contract, number, quote, market_s))
        return shown

    def _computations(self, contract: Contract, quote: Quote, market_s: float, greeks_missing: bool) -> dict[int, str]:
        key = (int(market_s), greeks_missing)
        known = self._computed.get(contract.con_id)
        if known is not None and known[0] == key:
            return known[1]
        value = self._market.option_value(contract, market_s)
        priced = [(kind, price) for kind, price in ((10, quote.bid), (11, quote.ask), (12, quote.last)) if price > 0.0]
        moments = [(value.volatility, value.model.price), *((_moved(value, price), price) for _, price in priced)]
        model, *others = messages.option_computations(moments, value.model, value.spot)
        rows = {13: messages.NOT_COMPUTED if greeks_missing else model, **NOTHING_COMPUTED}
        for (kind, _), text in zip(priced, others, strict=True):
            rows[kind] = text
        if len(self._computed) > COMPUTATIONS_KEPT:
            self._computed.clear()
        self._computed[contract.con_id] = (key, rows)
        return rows

    def _generic(self, contract: Contract, number: int, quote: Quote, market_s: float) -> dict[int, Tick]:
        maker = _GENERIC.get(number)
        return maker(self._market, contract, quote, market_s) if maker else {}


NOTHING_COMPUTED = dict.fromkeys((10, 11, 12), messages.NOT_COMPUTED)


def _moved(value: OptionValue, price: float) -> float:
    """The volatility at another price than the model's: moved along vega."""
    model = value.model
    moved = (price - model.price) / model.vega / 100.0 if model.vega > 1e-4 else 0.0
    return max(0.01, value.volatility + moved)


def _option_volumes(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    if contract.is_option:
        return {29 if contract.is_call else 30: quote.volume}
    return {29: int(quote.volume * 0.021), 30: int(quote.volume * 0.024)}


def _open_interest(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    if contract.is_option:
        return {27 if contract.is_call else 28: market.open_interest(contract, market_s)}
    return {27: contract.listing.daily_volume // 9, 28: contract.listing.daily_volume // 7}


def _historical_volatility(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {23: contract.listing.volatility}


def _average_option_volume(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {} if contract.is_option else {87: contract.listing.daily_volume // 20}


def _implied_volatility(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {} if contract.is_option else {24: round(contract.listing.volatility * 1.03, 6)}


def _year_range(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    spread = contract.listing.volatility
    close = quote.previous_close
    rows: dict[int, Tick] = {21: contract.listing.daily_volume}
    for low, high, share in ((15, 16, 0.25), (17, 18, 0.5), (19, 20, 1.0)):
        rows[low] = (round(close * math.exp(-spread * math.sqrt(share)), 2), 0)
        rows[high] = (round(close * math.exp(spread * math.sqrt(share)), 2), 0)
    return rows


def _mark_price(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {37: (round(quote.mark, 4), 0)}


def _rt_volume(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    text = f"{quote.last:.2f};{quote.last_size};{quote.last_time * 1000};{quote.volume};{quote.mark:.4f};true"
    return {48: text}


def _shortable(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {} if contract.is_option else {46: 3.0, 89: contract.listing.daily_volume // 3}


def _trade_count(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {54: float(quote.volume // 110)}


def _last_rth_trade(market: Market, contract: Contract, quote: Quote, market_s: float) -> dict[int, Tick]:
    return {57: (quote.last, 0)}


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
