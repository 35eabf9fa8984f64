"""RSI, EMA and session VWAP over one series, and all of the scalp rules' values in one pass: the tuned loops.

Each recursion is one fused multiply-add per bar: divisions stay off the chain, and RSI and EMA look four bars ahead,
so that the processor waits for one step in four. Results differ from the plain form by rounding only.
"""

from __future__ import annotations

import numpy as np

from engine.indicators.compile import FloatArray, IntArray, kernel

#: TA-Lib calls a sum of moves below this "no move" and answers 0; so do we.
NO_MOVE = 1e-14

#: Rows of the price matrix that windows hold and `strategy_set` reads.
HIGH, LOW, CLOSE, VOLUME, SESSION, OPEN = range(6)
PRICE_ROWS = 6
#: Rows of what `strategy_set` writes.
RSI, EMA_FAST, EMA_SLOW, VWAP = range(4)
SET_ROWS = 4


@kernel("void(float64[::1], int64, float64[::1])")
def rsi_into(close: FloatArray, period: int, out: FloatArray) -> None:
    """`rsi` without checks, into `out`.

    With g, l the smoothed gain and loss, RSI = 100 g / (g + l) = 50 + 50 (g - l) / (g + l): two chains, signed and
    absolute move, both scaled by `period`.
    """
    n = close.size
    out[: min(period, n)] = np.nan
    if n <= period:
        return
    moved = 0.0
    total = 0.0
    for i in range(1, period + 1):
        change = close[i] - close[i - 1]
        moved += change
        total += abs(change)
    floor = NO_MOVE * period
    out[period] = 0.0 if total < floor else 50.0 + 50.0 * (moved / total)
    k1 = 1.0 - 1.0 / period
    k2 = k1 * k1
    k3 = k2 * k1
    k4 = k2 * k2
    i = period + 1
    while i + 4 <= n:
        d1 = close[i] - close[i - 1]
        c2 = close[i + 1] - close[i]
        c3 = close[i + 2] - close[i + 1]
        c4 = close[i + 3] - close[i + 2]
        d2 = k1 * d1 + c2
        d3 = k1 * d2 + c3
        a1 = abs(d1)
        a2 = k1 * a1 + abs(c2)
        a3 = k1 * a2 + abs(c3)
        t1 = k1 * total + a1
        t2 = k2 * total + a2
        t3 = k3 * total + a3
        m1 = k1 * moved + d1
        m2 = k2 * moved + d2
        m3 = k3 * moved + d3
        total = k4 * total + (k1 * a3 + abs(c4))
        moved = k4 * moved + (k1 * d3 + c4)
        out[i] = 0.0 if t1 < floor else 50.0 + 50.0 * (m1 / t1)
        out[i + 1] = 0.0 if t2 < floor else 50.0 + 50.0 * (m2 / t2)
        out[i + 2] = 0.0 if t3 < floor else 50.0 + 50.0 * (m3 / t3)
        out[i + 3] = 0.0 if total < floor else 50.0 + 50.0 * (moved / total)
        i += 4
    while i < n:
        change = close[i] - close[i - 1]
        moved = k1 * moved + change
        total = k1 * total + abs(change)
        out[i] = 0.0 if total < floor else 50.0 + 50.0 * (moved / total)
        i += 1


@kernel("void(float64[::1], int64, float64[::1])")
def ema_into(close: FloatArray, period: int, out: FloatArray) -> None:
    """`ema` without checks, into `out`."""
    n = close.size
    out[: min(period - 1, n)] = np.nan
    if n < period:
        return
    mean = 0.0
    for i in range(period):
        mean += close[i]
    mean /= period
    out[period - 1] = mean
    alpha = 2.0 / (period + 1)
    b1 = 1.0 - alpha
    b2 = b1 * b1
    b3 = b2 * b1
    b4 = b2 * b2
    i = period
    while i + 4 <= n:
        y1 = alpha * close[i]
        y2 = b1 * y1 + alpha * close[i + 1]
        y3 = b1 * y2 + alpha * close[i + 2]
        y4 = b1 * y3 + alpha * close[i + 3]
        out[i] = b1 * mean + y1
        out[i + 1] = b2 * mean + y2
        out[i + 2] = b3 * mean + y3
        mean = b4 * mean + y4
        out[i + 3] = mean
        i += 4
    while i < n:
        mean = b1 * mean + alpha * close[i]
        out[i] = mean
        i += 1


@kernel("void(float64[::1], float64[::1], float64[::1], float64[::1], int64[::1], float64[::1])")
def vwap_into(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray, out: FloatArray
) -> None:
    """`vwap` without checks, into `out`."""
    turnover = 0.0
    shares = 0.0
    for i in range(close.size):
        if i > 0 and session[i] != session[i - 1]:
            turnover = 0.0
            shares = 0.0
        turnover += (high[i] + low[i] + close[i]) * volume[i]
        shares += volume[i]
        out[i] = turnover / (3.0 * shares)


@kernel("void(float64[:, ::1], int64, int64, int64, int64, int64, float64[:, ::1])")
def strategy_set(
    prices: FloatArray, first: int, stop: int, rsi_period: int, fast: int, slow: int, out: FloatArray
) -> None:
    """RSI, fast EMA, slow EMA and session VWAP of bars `first` to `stop` in one pass over memory.

    prices: float64 (PRICE_ROWS, capacity), rows HIGH LOW CLOSE VOLUME SESSION OPEN.
    out: float64 (SET_ROWS, at least stop - first), rows RSI EMA_FAST EMA_SLOW VWAP; columns from 0.
    Values, warm-up and NaN as `rsi`, `ema` and `vwap` give them; rounding may differ in the last digits.
    """
    high, low, closes = prices[HIGH, first:stop], prices[LOW, first:stop], prices[CLOSE, first:stop]
    volume, session = prices[VOLUME, first:stop], prices[SESSION, first:stop]
    rsi, ema_fast, ema_slow, vwap = out[RSI], out[EMA_FAST], out[EMA_SLOW], out[VWAP]
    n = closes.size
    if n == 0:
        return
    # Seven sums live in registers across the pass; hence one long body instead of four tidy calls.
    moved = 0.0
    total = 0.0
    quick = 0.0
    calm = 0.0
    turnover = 0.0
    shares = 0.0
    keep = 1.0 - 1.0 / rsi_period
    floor = NO_MOVE * rsi_period
    a_fast = 2.0 / (fast + 1)
    b_fast = 1.0 - a_fast
    a_slow = 2.0 / (slow + 1)
    b_slow = 1.0 - a_slow
    before = closes[0]
    day = np.int64(session[0])
    warm_up = min(n, max(rsi_period + 1, fast, slow))
    for i in range(n):
        close = closes[i]
        change = close - before
        before = close
        if i < warm_up:
            seed_rsi = i <= rsi_period
            moved = moved + change if seed_rsi else keep * moved + change
            total = total + abs(change) if seed_rsi else keep * total + abs(change)
            value = 0.0 if total < floor else 50.0 + 50.0 * (moved / total)
            rsi[i] = value if i >= rsi_period else np.nan
            quick = quick + close if i < fast else b_fast * quick + a_fast * close
            quick = quick / fast if i == fast - 1 else quick
            ema_fast[i] = quick if i >= fast - 1 else np.nan
            calm = calm + close if i < slow else b_slow * calm + a_slow * close
            calm = calm / slow if i == slow - 1 else calm
            ema_slow[i] = calm if i >= slow - 1 else np.nan
        else:
            moved = keep * moved + change
            total = keep * total + abs(change)
            rsi[i] = 0.0 if total < floor else 50.0 + 50.0 * (moved / total)
            quick = b_fast * quick + a_fast * close
            ema_fast[i] = quick
            calm = b_slow * calm + a_slow * close
            ema_slow[i] = calm
        today = np.int64(session[i])  # an integer test stays a branch; a float one lengthens both VWAP chains
        if today != day:
            day = today
            turnover = 0.0
            shares = 0.0
        turnover += (high[i] + low[i] + close) * volume[i]
        shares += volume[i]
        vwap[i] = turnover / (3.0 * shares)
