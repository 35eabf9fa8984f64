"""Indicators of range, direction and volume, in the one shape that kernels.py describes."""

from __future__ import annotations

import numpy as np

from engine.indicators.compile import BoolArray, FloatArray, IntArray, kernel, step
from engine.indicators.fast import NO_MOVE
from engine.indicators.kernels import COUNT, SHAPE
from engine.indicators.window import push_moments


@step
def true_range(high: float, low: float, before: float) -> float:
    """The largest of today's range and its distances from yesterday's close; NaN if one of them is."""
    reach, above, below = high - low, abs(high - before), abs(low - before)
    reach = above if not above <= reach else reach
    return below if not below <= reach else reach


@kernel(SHAPE)
def atr(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: Wilder's average true range, seeded with the mean of the first p[0] true ranges (from the second bar on)."""
    period = int(p[0])
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[0, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            mean = state[2, s]
            if count > 0:
                reach = true_range(high[t, s], low[t, s], state[1, s])
                mean = mean + reach / period if count <= period else mean + (reach - mean) / period
            out[0, t, s] = mean if count >= period else np.nan
            state[1, s], state[2, s] = close[t, s], mean
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def supertrend(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: line, trend (+1 rising, -1 falling); p: ATR period, width in ATRs.

    state: last close, ATR, upper band, lower band, trend. The first trend is falling, as on the common chart sites.
    """
    period, width = int(p[0]), p[1]
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[:, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            before, mean = state[1, s], state[2, s]
            if count > 0:
                reach = true_range(high[t, s], low[t, s], before)
                mean = mean + reach / period if count <= period else mean + (reach - mean) / period
            state[1, s], state[2, s] = close[t, s], mean
            state[COUNT, s] = count + 1
            if count < period:
                out[0, t, s], out[1, t, s] = np.nan, np.nan
                continue
            middle = (high[t, s] + low[t, s]) / 2.0
            upper, lower = middle + width * mean, middle - width * mean
            trend = -1.0
            if count > period:
                # A band only ever tightens while the price stays on its side of it.
                upper = upper if upper < state[3, s] or before > state[3, s] else state[3, s]
                lower = lower if lower > state[4, s] or before < state[4, s] else state[4, s]
                if state[5, s] < 0.0:
                    trend = 1.0 if close[t, s] > upper else -1.0
                else:
                    trend = -1.0 if close[t, s] < lower else 1.0
            state[3, s], state[4, s], state[5, s] = upper, lower, trend
            out[0, t, s] = lower if trend > 0.0 else upper
            out[1, t, s] = trend
            if mean != mean:
                out[0, t, s], out[1, t, s] = np.nan, np.nan


@kernel(SHAPE)
def adx(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: ADX, +DI, -DI; p: period.

    state: last high, low, close; Wilder's sums of +DM, -DM, true range; ADX. A bar without range or direction leaves
    ADX as it is.
    """
    period = int(p[0])
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[:, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            up, down, reach, index = state[4, s], state[5, s], state[6, s], state[7, s]
            if count > 0:
                rise, fall = high[t, s] - state[1, s], state[2, s] - low[t, s]
                held = 1.0 if count < period else 1.0 - 1.0 / period
                up = held * up + (rise if rise > 0.0 and rise > fall else 0.0)
                down = held * down + (fall if fall > 0.0 and fall > rise else 0.0)
                reach = held * reach + true_range(high[t, s], low[t, s], state[3, s])
            state[1, s], state[2, s], state[3, s] = high[t, s], low[t, s], close[t, s]
            state[4, s], state[5, s], state[6, s] = up, down, reach
            out[1, t, s] = 100.0 * up / reach if reach >= NO_MOVE else 0.0
            out[2, t, s] = 100.0 * down / reach if reach >= NO_MOVE else 0.0
            directed = reach >= NO_MOVE and out[1, t, s] + out[2, t, s] >= NO_MOVE
            if count >= period and reach != reach:
                index = np.nan
            elif count >= period:
                both = out[1, t, s] + out[2, t, s]
                strength = 100.0 * abs(out[1, t, s] - out[2, t, s]) / both if directed else 0.0
                if count < 2 * period:
                    index += strength / period
                elif directed:
                    index += (strength - index) / period
            state[7, s] = index
            out[0, t, s] = index if count >= 2 * period - 1 else np.nan
            if count < period or reach != reach:
                out[1, t, s], out[2, t, s] = np.nan, np.nan
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def obv(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: on-balance volume; it starts with the first bar's volume, as TA-Lib's does."""
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[0, t, s] = np.nan
                continue
            change = close[t, s] - state[1, s]
            first = state[COUNT, s] == 0.0
            sign = 1.0 if first or change > 0.0 else (-1.0 if change < 0.0 else 0.0 * change)
            state[1, s] = close[t, s]
            state[2, s] += sign * volume[t, s]
            out[0, t, s] = state[2, s]
            state[COUNT, s] += 1.0


@kernel(SHAPE)
def volume_zscore(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: (volume - mean) / standard deviation over the newest p[0] bars, this one included; even volume gives 0."""
    period = int(p[0])
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[0, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            mean, spread = push_moments(state, s, 1, count, period, volume[t, s])
            far = (volume[t, s] - mean) / np.sqrt(spread / period) if spread != 0.0 else 0.0
            out[0, t, s] = far if count >= period - 1 else np.nan
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def vwap_bands(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: session VWAP, upper, lower; p: width in volume-weighted standard deviations of the typical price.

    state: session, shares, mean, weighted sum of squares, joined bar by bar as West (1979) does.
    """
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[:, t, s] = np.nan
                continue
            if state[COUNT, s] == 0.0 or state[1, s] != session[t]:
                state[1, s] = session[t]
                state[2, s], state[3, s], state[4, s] = 0.0, 0.0, 0.0
            price = (high[t, s] + low[t, s] + close[t, s]) / 3.0
            shares = state[2, s] + volume[t, s]
            far = price - state[3, s]
            mean = state[3, s] + far * (volume[t, s] / shares) if shares != 0.0 else state[3, s]
            spread = state[4, s] + volume[t, s] * far * (price - mean)
            state[2, s], state[3, s], state[4, s] = shares, mean, spread
            band = p[0] * np.sqrt(spread / shares)
            out[0, t, s] = mean if shares != 0.0 else np.nan
            out[1, t, s] = mean + band if shares != 0.0 else np.nan
            out[2, t, s] = mean - band if shares != 0.0 else np.nan
            state[COUNT, s] += 1.0
