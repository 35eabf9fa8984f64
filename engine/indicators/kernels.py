"""Every indicator as one loop over bars and symbols: the three forms are this loop with one column, all, or one row.

All kernels have one shape: bars oldest first, time-major, so that a bar's symbols lie side by side.
high, low, close, volume: float64 (bars, symbols). session: int64 (bars,). active: bool (symbols,); False leaves that
symbol's state alone and writes NaN. state: float64 (rows, symbols), all zero at the start; row 0 counts bars.
p: float64 (parameters,). out: float64 (outputs, bars, symbols). A NaN input makes NaN outputs: for as long as it is in
the window of windowed indicators, for ever in recursive ones.
"""

from __future__ import annotations

import numpy as np

from engine.indicators.compile import BoolArray, FloatArray, IntArray, kernel
from engine.indicators.fast import NO_MOVE
from engine.indicators.window import moment_rows, push_highest, push_lowest, push_moments, push_sum, sum_rows

SHAPE = (
    "void(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], int64[::1], boolean[::1], "
    "float64[:, ::1], float64[::1], float64[:, :, ::1])"
)
COUNT = 0


@kernel(SHAPE)
def sma(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: mean of the newest p[0] closes."""
    period = int(p[0])
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[0, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            total = push_sum(state, s, 1, count, period, close[t, s])
            out[0, t, s] = total / period if count >= period - 1 else np.nan
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def ema(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: exponential mean, seeded with the plain mean of the first p[0] closes."""
    period = int(p[0])
    alpha = 2.0 / (period + 1)
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[0, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            mean = state[1, s]
            if count < period:
                mean += close[t, s]
                mean = mean / period if count == period - 1 else mean
            else:
                mean = (1.0 - alpha) * mean + alpha * close[t, s]
            state[1, s] = mean
            out[0, t, s] = mean if count >= period - 1 else np.nan
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def rsi(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: Wilder's RSI. state: last close, smoothed signed move, smoothed absolute move, both times p[0]."""
    period = int(p[0])
    keep = 1.0 - 1.0 / period
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[0, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            change = close[t, s] - state[1, s] if count > 0 else 0.0
            held = 1.0 if count <= period else keep
            moved = held * state[2, s] + change
            total = held * state[3, s] + abs(change)
            value = 0.0 if total < NO_MOVE * period else 50.0 + 50.0 * (moved / total)
            out[0, t, s] = value if count >= period else np.nan
            state[1, s] = close[t, s]
            state[2, s] = moved
            state[3, s] = total
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def macd(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: macd, signal, histogram; p: fast, slow, signal. Both EMAs are seeded where the slow one can be."""
    fast, slow, smooth = int(p[0]), int(p[1]), int(p[2])
    a_fast, a_slow, a_smooth = 2.0 / (fast + 1), 2.0 / (slow + 1), 2.0 / (smooth + 1)
    ready = slow + smooth - 2
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[:, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            quick, calm, line = state[1, s], state[2, s], state[3, s]
            if count < slow:
                calm += close[t, s]
                quick += close[t, s] if count >= slow - fast else 0.0
                if count == slow - 1:
                    calm /= slow
                    quick /= fast
            else:
                quick = (1.0 - a_fast) * quick + a_fast * close[t, s]
                calm = (1.0 - a_slow) * calm + a_slow * close[t, s]
            value = quick - calm
            if count >= slow - 1:
                line = line + value if count <= ready else (1.0 - a_smooth) * line + a_smooth * value
                line = line / smooth if count == ready else line
            state[1, s], state[2, s], state[3, s] = quick, calm, line
            told = count >= ready
            out[0, t, s] = value if told else np.nan
            out[1, t, s] = line if told else np.nan
            out[2, t, s] = value - line if told else np.nan
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def bollinger(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: upper, middle, lower; p: period, width in (population) standard deviations."""
    period, width = int(p[0]), p[1]
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[:, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            mean, spread = push_moments(state, s, 1, count, period, close[t, s])
            band = width * np.sqrt(spread / period)
            told = count >= period - 1
            out[0, t, s] = mean + band if told else np.nan
            out[1, t, s] = mean if told else np.nan
            out[2, t, s] = mean - band if told else np.nan
            state[COUNT, s] = count + 1


@kernel(SHAPE)
def stochastic(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    active: BoolArray, state: FloatArray, p: FloatArray, out: FloatArray,
) -> None:  # fmt: skip
    """out: slow %K, slow %D; p: fast %K period, %K smoothing, %D smoothing, all plain means. No range gives 0."""
    look, smooth_k, smooth_d = int(p[0]), int(p[1]), int(p[2])
    at_low = 1 + sum_rows(look)
    at_k = at_low + sum_rows(look)
    at_d = at_k + sum_rows(smooth_k)
    first = look + smooth_k + smooth_d - 3
    for t in range(close.shape[0]):
        for s in range(close.shape[1]):
            if not active[s]:
                out[:, t, s] = np.nan
                continue
            count = int(state[COUNT, s])
            highest = push_highest(state, s, 1, count, look, high[t, s])
            lowest = push_lowest(state, s, at_low, count, look, low[t, s])
            slow_k, slow_d = np.nan, np.nan
            if count >= look - 1:
                reach = highest - lowest
                fast_k = 100.0 * (close[t, s] - lowest) / reach if reach != 0.0 else 0.0
                slow_k = push_sum(state, s, at_k, count - look + 1, smooth_k, fast_k) / smooth_k
                if count >= look + smooth_k - 2:
                    slow_d = push_sum(state, s, at_d, count - look - smooth_k + 2, smooth_d, slow_k) / smooth_d
            out[0, t, s] = slow_k if count >= first else np.nan
            out[1, t, s] = slow_d if count >= first else np.nan
            state[COUNT, s] = count + 1


def stochastic_rows(look: int, smooth_k: int, smooth_d: int) -> int:
    return 1 + 2 * sum_rows(look) + sum_rows(smooth_k) + sum_rows(smooth_d)


def moments_state_rows(period: int) -> int:
    return 1 + moment_rows(period)
