"""RSI, EMA and session VWAP over one series, and all of the scalp rules' values in one pass: the tuned loops.

Each recursion is one fused multiply-add per bar: divisions stay off the chain. RSI and EMA look four bars ahead:
y[i+3] = b^4 y[i-1] + (b^3 x[i] + b^2 x[i+1] + b x[i+2] + x[i+3]), and all but its first term is known before y[i-1] is,
so that the processor waits for one step in four. Results differ from the plain form by rounding only.

Fours are read as rows of a (n / 4, 4) view: with `close[i + 1]` the compiler would test each index for being negative,
as Python has it, and those tests cost more than the arithmetic.
"""

from __future__ import annotations

import numpy as np

from engine.indicators.compile import FloatArray, IntArray, kernel, step

#: TA-Lib calls a sum of moves below this "no move" and answers 0; so do we.
NO_MOVE = 1e-14
#: Bars whose sums RSI keeps before it divides them: few enough for the caches, enough to make starting a block cheap.
BLOCK = 4096

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
    absolute move, both scaled by `period`. The sums of a block of bars come first and are divided afterwards, because
    divisions side by side fill the processor's vectors.
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
    room = np.empty(min(n, BLOCK))
    for first in range(period + 1, n, BLOCK):
        rsi = out[first : first + BLOCK]
        totals = room[: rsi.size]
        moved, total = _wilder_sums(close[first - 1 : first + rsi.size], period, moved, total, rsi, totals)
        for i in range(rsi.size):
            rsi[i] = 0.0 if totals[i] < floor else 50.0 + 50.0 * (rsi[i] / totals[i])


@step
def _wilder_sums(
    close: FloatArray, period: int, moved: float, total: float, moves: FloatArray, totals: FloatArray
) -> tuple[float, float]:
    """Smoothed signed and absolute moves into `moves` and `totals`, going on from `moved` and `total`; the last of
    each. close: one bar before the first move, and a bar for each.
    """
    k1 = 1.0 - 1.0 / period
    k2 = k1 * k1
    k3 = k2 * k1
    k4 = k2 * k2
    before, after = close[:-1], close[1:]
    fours = after.size // 4
    whole = 4 * fours
    ago, now = before[:whole].reshape(fours, 4), after[:whole].reshape(fours, 4)
    m, t = moves[:whole].reshape(fours, 4), totals[:whole].reshape(fours, 4)
    for i in range(fours):
        c1 = now[i, 0] - ago[i, 0]
        c2 = now[i, 1] - ago[i, 1]
        c3 = now[i, 2] - ago[i, 2]
        c4 = now[i, 3] - ago[i, 3]
        d2 = k1 * c1 + c2
        d3 = k1 * d2 + c3
        a1 = abs(c1)
        a2 = k1 * a1 + abs(c2)
        a3 = k1 * a2 + abs(c3)
        m[i, 0] = k1 * moved + c1
        m[i, 1] = k2 * moved + d2
        m[i, 2] = k3 * moved + d3
        t[i, 0] = k1 * total + a1
        t[i, 1] = k2 * total + a2
        t[i, 2] = k3 * total + a3
        moved = k4 * moved + (k1 * d3 + c4)
        total = k4 * total + (k1 * a3 + abs(c4))
        m[i, 3] = moved
        t[i, 3] = total
    for i in range(whole, after.size):
        change = after[i] - before[i]
        moved = k1 * moved + change
        total = k1 * total + abs(change)
        moves[i] = moved
        totals[i] = total
    return moved, total


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
    fours = (n - period) // 4
    rest = period + 4 * fours
    x, ema = close[period:rest].reshape(fours, 4), out[period:rest].reshape(fours, 4)
    for i in range(fours):
        y1 = alpha * x[i, 0]
        y2 = b1 * y1 + alpha * x[i, 1]
        y3 = b1 * y2 + alpha * x[i, 2]
        y4 = b1 * y3 + alpha * x[i, 3]
        ema[i, 0] = b1 * mean + y1
        ema[i, 1] = b2 * mean + y2
        ema[i, 2] = b3 * mean + y3
        mean = b4 * mean + y4
        ema[i, 3] = mean
    for i in range(rest, n):
        mean = b1 * mean + alpha * close[i]
        out[i] = mean


@kernel("void(float64[::1], float64[::1], float64[::1], float64[::1], int64[::1], float64[::1])")
def vwap_into(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray, out: FloatArray
) -> None:
    """`vwap` without checks, into `out`. Dividing by the block, as RSI does, was slower: here one division a bar hides
    behind the two sums, and five rows are read already.
    """
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
