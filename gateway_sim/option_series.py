"""Option prices and volumes derived from the underlying's seconds. Pure.

The same formulas exist for one second (quotes) and for a whole session (bars); both give the same cents.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gateway_sim.calendar import TradingDay
from gateway_sim.contracts import Contract
from gateway_sim.prices import IntArray, Segment
from gateway_sim.pricing import (
    EXPIRY_FLOOR_S,
    YEAR_S,
    FloatArray,
    Greeks,
    greeks,
    greeks_array,
    price_array,
    smile,
    smile_array,
)

VOLUME_SHARE = 0.002
"""Contracts a front-expiry strike at the money trades in a day, as a share of the underlying's shares."""
INDEX_VOLUME = 40_000_000
"""Stands in for the shares of an index, which has none."""


class OptionValue(NamedTuple):
    """An option at one second: cents-exact market around the model value. bid is 0.0 when nobody bids."""

    model: Greeks
    volatility: float
    bid: float
    ask: float
    last: float
    spot: float
    years: float


def strike_noise(contract: Contract, low: float, high: float) -> float:
    """A fixed pseudo-random factor of the contract between `low` and `high`."""
    return low + (high - low) * (zlib.crc32(contract.local_symbol.encode()) % 1009) / 1008.0


def years_to_expiry(contract: Contract, epoch_s: float) -> float:
    return max(contract.expiry_close - epoch_s, EXPIRY_FLOOR_S) / YEAR_S


def value_at(contract: Contract, spot: float, epoch_s: float) -> OptionValue:
    """The option when its underlying's middle is `spot`."""
    years = years_to_expiry(contract, epoch_s)
    volatility = smile(math.log(contract.strike / spot), years, contract.listing.volatility)
    model = greeks(spot, contract.strike, years, volatility, contract.is_call)
    cents = model.price * 100.0
    tick = 1 if contract.listing.penny or cents < 300.0 else 5
    half = 0.5 * max(tick, 0.012 * cents)
    bid = max(0.0, math.floor((cents - half) / tick + 1e-9) * tick)
    ask = max(math.ceil((cents + half) / tick - 1e-9) * tick, bid + tick)
    last = max(float(tick), float(np.rint(cents / tick)) * tick)
    return OptionValue(model, volatility, bid / 100.0, ask / 100.0, last / 100.0, spot, years)


def values_over(contract: Contract, spot: FloatArray, start: int) -> list[OptionValue]:
    """`value_at` for consecutive seconds from epoch second `start`, the underlying's middle being `spot`."""
    years = _years_over(contract, start, len(spot))
    volatility = smile_array(np.log(contract.strike / spot), years, contract.listing.volatility)
    models = greeks_array(spot, contract.strike, years, volatility, contract.is_call)
    bid, ask, last = _market_over(contract, models[0])
    columns = (volatility, bid, ask, last, spot, years)
    rows = zip(map(Greeks._make, zip(*(column.tolist() for column in models), strict=True)),
               *(column.tolist() for column in columns), strict=True)  # fmt: skip
    return list(map(OptionValue._make, rows))


def _years_over(contract: Contract, start: int, seconds: int) -> FloatArray:
    left = contract.expiry_close - (start + np.arange(seconds, dtype=np.float64))
    result: FloatArray = np.maximum(left, EXPIRY_FLOOR_S) / YEAR_S
    return result


def _market_over(contract: Contract, price: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Bid, ask and last around the model's price, on the price grid."""
    cents = price * 100.0
    tick = np.where(cents < 300.0, 1.0, 1.0 if contract.listing.penny else 5.0)
    half = 0.5 * np.maximum(tick, 0.012 * cents)
    bid = np.maximum(0.0, np.floor((cents - half) / tick + 1e-9) * tick)
    ask = np.maximum(np.ceil((cents + half) / tick - 1e-9) * tick, bid + tick)
    last = np.maximum(tick, np.rint(cents / tick) * tick)
    return bid / 100.0, ask / 100.0, last / 100.0


@dataclass(frozen=True)
class OptionSegment:
    """A regular session of an option, one sample per second."""

    start: int
    bid: FloatArray
    ask: FloatArray
    last: FloatArray
    volume: IntArray


def session_values(contract: Contract, underlying: Segment) -> OptionSegment:
    """`value_at` for every second of the underlying's session."""
    years = _years_over(contract, underlying.start, len(underlying))
    volatility = smile_array(np.log(contract.strike / underlying.mid), years, contract.listing.volatility)
    price = price_array(underlying.mid, contract.strike, years, volatility, contract.is_call)
    bid, ask, last = _market_over(contract, price)
    volume = np.diff(volume_so_far(contract, underlying), prepend=0)
    return OptionSegment(underlying.start, bid, ask, last, volume)


def volume_by_minute(contract: Contract, underlying: Segment) -> FloatArray:
    """Contracts traded until the end of each minute of the session.

    Volume flows where the price is: each minute's share goes to strikes by their distance from the price in that
    minute.
    """
    spot = underlying.mid[::60]
    traded = np.add.reduceat(underlying.volume, np.arange(0, len(underlying), 60)).astype(np.float64)
    if traded.sum() == 0.0:
        traded = np.ones(len(traded))
    share = traded / traded.sum()
    listing = contract.listing
    width = np.maximum(spot * listing.volatility / math.sqrt(252.0) * 0.5, 0.5)
    centre = spot + (0.15 if contract.is_call else -0.15) * width
    nearness = np.exp(-0.5 * ((contract.strike - centre) / width) ** 2) + 0.002
    days_left = max(0.0, (contract.expiry_close - underlying.start) / 86_400.0)
    total = (listing.daily_volume or INDEX_VOLUME) * VOLUME_SHARE * (0.08 + math.exp(-days_left / 4.0))
    round_strike = 1.25 if contract.strike % 5 == 0 else 1.0
    result: FloatArray = np.cumsum(share * nearness) * total * round_strike * strike_noise(contract, 0.8, 1.2)
    return result


def volume_so_far(contract: Contract, underlying: Segment) -> IntArray:
    """Contracts traded until and including each second."""
    by_minute = volume_by_minute(contract, underlying)
    ends = np.arange(len(by_minute), dtype=np.float64) * 60.0 + 60.0
    seconds = np.arange(len(underlying), dtype=np.float64) + 1.0
    result: IntArray = np.floor(np.interp(seconds, np.concatenate(([0.0], ends)), np.concatenate(([0.0], by_minute))))
    return result.astype(np.int64)


def open_interest(contract: Contract, reference: float, day: TradingDay) -> int:
    """Contracts open at the start of the day; fixed for the day. reference: the underlying's previous close."""
    listing = contract.listing
    width = max(reference * listing.volatility / math.sqrt(252.0) * 2.5, 1.0)
    nearness = math.exp(-0.5 * ((contract.strike - reference) / width) ** 2) + 0.01
    growth = 1.0 + 0.05 * (day.index % 7)
    base = (listing.daily_volume or INDEX_VOLUME) * VOLUME_SHARE * 0.25
    return int(base * nearness * growth * strike_noise(contract, 0.5, 1.6))
