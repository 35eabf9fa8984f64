"""Black-Scholes prices, greeks and the volatility smile. Pure arithmetic over floats and numpy arrays.

Greeks as IB states them: delta per 1 of the underlying, gamma per 1 squared, vega per volatility point (0.01),
theta per calendar day.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

RATE = 0.043
YEAR_S = 365.0 * 86_400.0
EXPIRY_FLOOR_S = 60.0
"""Time to expiry never falls below a minute, so greeks stay finite at the close of expiry day."""


class Greeks(NamedTuple):
    price: float
    delta: float
    gamma: float
    vega: float
    theta: float


_A, _B, _C, _D, _E = 0.319381530, -0.356563782, 1.781477937, -1.821255978, 1.330274429


def normal_cdf(x: float) -> float:
    """Normal distribution function, error below 7.5e-8 (Abramowitz and Stegun 26.2.17); the scalar twin of the array
    form,
    so that a quote and the close of a bar agree to the last digit."""
    t = 1.0 / (1.0 + 0.2316419 * abs(x))
    upper = math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi) * (t * (_A + t * (_B + t * (_C + t * (_D + t * _E)))))
    return 1.0 - upper if x >= 0 else upper


def normal_cdf_array(x: FloatArray) -> FloatArray:
    """`normal_cdf` of an array."""
    t = 1.0 / (1.0 + 0.2316419 * np.abs(x))
    polynomial = t * (_A + t * (_B + t * (_C + t * (_D + t * _E))))
    upper = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi) * polynomial
    result: FloatArray = np.where(x >= 0, 1.0 - upper, upper)
    return result


def smile(moneyness: float, years: float, base: float) -> float:
    """Implied volatility at ln(strike/spot) = `moneyness`: skewed to the put side, steeper for short expiries.

    base: the underlying's yearly volatility. Between 0.4 and 3 times base.
    """
    x = moneyness / (base * math.sqrt(max(years, 2.0 / 365.0)))
    factor = 1.03 - 0.06 * x + 0.028 * x * x / (1.0 + 0.15 * abs(x))
    return base * min(3.0, max(0.4, factor))


def smile_array(moneyness: FloatArray, years: FloatArray, base: float) -> FloatArray:
    """`smile` of an array."""
    x = moneyness / (base * np.sqrt(np.maximum(years, 2.0 / 365.0)))
    factor = 1.03 - 0.06 * x + 0.028 * x * x / (1.0 + 0.15 * np.abs(x))
    result: FloatArray = base * np.minimum(3.0, np.maximum(0.4, factor))
    return result


def greeks(spot: float, strike: float, years: float, volatility: float, is_call: bool) -> Greeks:
    """Price and greeks of a European option; years > 0, volatility > 0."""
    root = math.sqrt(years)
    d1 = (math.log(spot / strike) + (RATE + 0.5 * volatility**2) * years) / (volatility * root)
    d2 = d1 - volatility * root
    discounted = strike * math.exp(-RATE * years)
    density = math.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    sign = 1.0 if is_call else -1.0
    price = sign * (spot * normal_cdf(sign * d1) - discounted * normal_cdf(sign * d2))
    decay = -spot * density * volatility / (2.0 * root) - sign * RATE * discounted * normal_cdf(sign * d2)
    return Greeks(
        price=max(price, 0.0),
        delta=sign * normal_cdf(sign * d1),
        gamma=density / (spot * volatility * root),
        vega=spot * density * root / 100.0,
        theta=decay / 365.0,
    )


def greeks_array(
    spot: FloatArray, strike: float, years: FloatArray, volatility: FloatArray, is_call: bool
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """`greeks` over arrays of one shape: price, delta, gamma, vega, theta."""
    root = np.sqrt(years)
    d1 = (np.log(spot / strike) + (RATE + 0.5 * volatility**2) * years) / (volatility * root)
    d2 = d1 - volatility * root
    discounted = strike * np.exp(-RATE * years)
    density = np.exp(-0.5 * d1 * d1) / math.sqrt(2.0 * math.pi)
    sign = 1.0 if is_call else -1.0
    near, far = normal_cdf_array(sign * d1), normal_cdf_array(sign * d2)
    decay = -spot * density * volatility / (2.0 * root) - sign * RATE * discounted * far
    return (
        np.maximum(sign * (spot * near - discounted * far), 0.0),
        sign * near,
        density / (spot * volatility * root),
        spot * density * root / 100.0,
        decay / 365.0,
    )


def price_array(
    spot: FloatArray, strike: float, years: FloatArray, volatility: FloatArray, is_call: bool
) -> FloatArray:
    """`greeks(...).price` over arrays of one shape."""
    return greeks_array(spot, strike, years, volatility, is_call)[0]


def implied_volatility(price: float, spot: float, strike: float, years: float, is_call: bool) -> float | None:
    """The volatility that gives `price`, by bisection; None if no volatility in 0.001..10 does."""
    low, high = 0.001, 10.0
    if not greeks(spot, strike, years, low, is_call).price <= price <= greeks(spot, strike, years, high, is_call).price:
        return None
    for _ in range(60):
        middle = 0.5 * (low + high)
        if greeks(spot, strike, years, middle, is_call).price < price:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)
