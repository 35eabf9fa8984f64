"""Slow, obvious twins of the compiled indicators, written from the definitions and not from the kernels.

Lists of floats in, lists out, oldest first; NaN where the indicator is not defined yet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

Series = Sequence[float]
NAN = math.nan


def sma(close: Series, period: int) -> list[float]:
    return [NAN if i < period - 1 else math.fsum(close[i - period + 1 : i + 1]) / period for i in range(len(close))]


def ema(close: Series, period: int) -> list[float]:
    out = [NAN] * len(close)
    if len(close) < period:
        return out
    out[period - 1] = math.fsum(close[:period]) / period
    alpha = 2 / (period + 1)
    for i in range(period, len(close)):
        out[i] = out[i - 1] + alpha * (close[i] - out[i - 1])
    return out


def rsi(close: Series, period: int) -> list[float]:
    out = [NAN] * len(close)
    if len(close) <= period:
        return out
    changes = [after - before for before, after in zip(close, close[1:], strict=False)]
    gain = math.fsum(max(change, 0.0) for change in changes[:period]) / period
    loss = math.fsum(max(-change, 0.0) for change in changes[:period]) / period
    for i in range(period, len(close)):
        if i > period:
            gain = (gain * (period - 1) + max(changes[i - 1], 0.0)) / period
            loss = (loss * (period - 1) + max(-changes[i - 1], 0.0)) / period
        out[i] = 100 * gain / (gain + loss) if gain + loss >= 1e-14 else 0.0
    return out


def vwap(high: Series, low: Series, close: Series, volume: Series, session: Sequence[int]) -> list[float]:
    return [middle for middle, _, _ in vwap_bands(high, low, close, volume, session, 0.0)]


def vwap_bands(
    high: Series, low: Series, close: Series, volume: Series, session: Sequence[int], width: float
) -> list[tuple[float, float, float]]:
    out = []
    for i in range(len(close)):
        first = i
        while first > 0 and session[first - 1] == session[i]:
            first -= 1
        shares = math.fsum(volume[first : i + 1])
        if shares == 0:
            out.append((NAN, NAN, NAN))
            continue
        prices = [(high[j] + low[j] + close[j]) / 3 for j in range(first, i + 1)]
        weights = volume[first : i + 1]
        mean = math.fsum(price * weight for price, weight in zip(prices, weights, strict=True)) / shares
        spread = math.fsum(weight * (price - mean) ** 2 for price, weight in zip(prices, weights, strict=True)) / shares
        out.append((mean, mean + width * math.sqrt(spread), mean - width * math.sqrt(spread)))
    return out


def macd(close: Series, fast: int, slow: int, signal: int) -> list[tuple[float, float, float]]:
    out = [(NAN, NAN, NAN)] * len(close)
    if len(close) < slow + signal - 1:
        return out
    calm = ema(close, slow)[slow - 1 :]
    quick = ema(close[slow - fast :], fast)[fast - 1 :]
    lines = [a - b for a, b in zip(quick, calm, strict=True)]
    for at, smooth in enumerate(ema(lines, signal)):
        if not math.isnan(smooth):
            out[slow - 1 + at] = (lines[at], smooth, lines[at] - smooth)
    return out


def bollinger(close: Series, period: int, width: float) -> list[tuple[float, float, float]]:
    out = []
    for i in range(len(close)):
        if i < period - 1:
            out.append((NAN, NAN, NAN))
            continue
        mean, deviation = moments(close[i - period + 1 : i + 1])
        out.append((mean + width * deviation, mean, mean - width * deviation))
    return out


def moments(values: Series) -> tuple[float, float]:
    """(mean, population standard deviation)."""
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def true_ranges(high: Series, low: Series, close: Series) -> list[float]:
    """From the second bar on."""
    return [
        max(high[i] - low[i], abs(high[i] - close[i - 1]), abs(low[i] - close[i - 1])) for i in range(1, len(close))
    ]


def atr(high: Series, low: Series, close: Series, period: int) -> list[float]:
    out = [NAN] * len(close)
    ranges = true_ranges(high, low, close)
    if len(ranges) < period:
        return out
    out[period] = math.fsum(ranges[:period]) / period
    for i in range(period + 1, len(close)):
        out[i] = (out[i - 1] * (period - 1) + ranges[i - 1]) / period
    return out


def stochastic(
    high: Series, low: Series, close: Series, look: int, smooth_k: int, smooth_d: int
) -> list[tuple[float, float]]:
    raw = []
    for i in range(look - 1, len(close)):
        top, bottom = max(high[i - look + 1 : i + 1]), min(low[i - look + 1 : i + 1])
        raw.append(100 * (close[i] - bottom) / (top - bottom) if top != bottom else 0.0)
    slow_k = sma(raw, smooth_k)[smooth_k - 1 :]
    slow_d = sma(slow_k, smooth_d)[smooth_d - 1 :]
    told = list(zip(slow_k[smooth_d - 1 :], slow_d, strict=True))
    return [(NAN, NAN)] * (len(close) - len(told)) + told


def adx(high: Series, low: Series, close: Series, period: int) -> list[tuple[float, float, float]]:
    out = [(NAN, NAN, NAN)] * len(close)
    ups, downs = [], []
    for i in range(1, len(close)):
        rise, fall = high[i] - high[i - 1], low[i - 1] - low[i]
        ups.append(rise if rise > max(fall, 0.0) else 0.0)
        downs.append(fall if fall > max(rise, 0.0) else 0.0)
    ranges = true_ranges(high, low, close)
    if len(ranges) < period:
        return out
    up, down, reach = (math.fsum(one[: period - 1]) for one in (ups, downs, ranges))
    index = 0.0
    for i in range(period, len(close)):
        up = up - up / period + ups[i - 1]
        down = down - down / period + downs[i - 1]
        reach = reach - reach / period + ranges[i - 1]
        plus, minus = (100 * up / reach, 100 * down / reach) if reach >= 1e-14 else (0.0, 0.0)
        directed = reach >= 1e-14 and plus + minus >= 1e-14
        strength = 100 * abs(plus - minus) / (plus + minus) if directed else 0.0
        seen = i - period + 1
        if seen <= period:
            index += strength / period
        elif directed:
            index = (index * (period - 1) + strength) / period
        out[i] = (index if seen >= period else NAN, plus, minus)
    return out


def supertrend(high: Series, low: Series, close: Series, period: int, width: float) -> list[tuple[float, float]]:
    ranges = atr(high, low, close, period)
    out = [(NAN, NAN)] * len(close)
    top = bottom = trend = 0.0
    for i in range(period, len(close)):
        middle = (high[i] + low[i]) / 2
        upper, lower = middle + width * ranges[i], middle - width * ranges[i]
        if i == period:
            top, bottom, trend = upper, lower, -1.0
        else:
            top = upper if upper < top or close[i - 1] > top else top
            bottom = lower if lower > bottom or close[i - 1] < bottom else bottom
            rising = close[i] > top if trend < 0 else close[i] >= bottom
            trend = 1.0 if rising else -1.0
        out[i] = (bottom if trend > 0 else top, trend)
    return out


def obv(close: Series, volume: Series) -> list[float]:
    out = [volume[0]] if close else []
    for i in range(1, len(close)):
        sign = (close[i] > close[i - 1]) - (close[i] < close[i - 1])
        out.append(out[-1] + sign * volume[i])
    return out


def zscore(volume: Series, period: int) -> list[float]:
    out = []
    for i in range(len(volume)):
        if i < period - 1:
            out.append(NAN)
            continue
        mean, deviation = moments(volume[i - period + 1 : i + 1])
        out.append((volume[i] - mean) / deviation if deviation else 0.0)
    return out
