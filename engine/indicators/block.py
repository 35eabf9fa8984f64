"""RSI, two EMAs and session VWAP of many symbols at once: the scalp rules' set, over a matrix or bar by bar.

Time-major, so that the processor's vectors run across symbols. Rows where every symbol is warm and present take one
plain loop without a question in it, which the compiler makes vectors of; all other rows take the careful loop, which
asks each symbol where it stands.
"""

from __future__ import annotations

import numpy as np

from engine.indicators.compile import BoolArray, FloatArray, IntArray, kernel, step
from engine.indicators.fast import EMA_FAST, EMA_SLOW, NO_MOVE, RSI, SET_ROWS, VWAP

#: Rows of the state. SESSION's first entry is the session of the last bar; -1 before the first.
COUNT, BEFORE, MOVED, TOTAL, QUICK, CALM, TURNOVER, SHARES, SESSION = range(9)
STATE_ROWS = 9
#: Between these the divisors of RSI and VWAP multiply without overflow or loss of digits.
SMALL, LARGE = 1e-100, 1e150


def start(symbols: int) -> FloatArray:
    """A fresh state for so many symbols: a plain array; copy it to take a snapshot."""
    state = np.zeros((STATE_ROWS, symbols))
    state[SESSION] = -1.0
    return state


@kernel(
    "void(float64[:, ::1], float64[:, ::1], float64[:, ::1], float64[:, ::1], int64[::1], boolean[::1], "
    "float64[:, ::1], int64, int64, int64, float64[:, :, ::1])"
)
def strategy_block(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray, active: BoolArray,
    state: FloatArray, rsi_period: int, fast: int, slow: int, out: FloatArray,
) -> None:  # fmt: skip
    """high, low, close, volume: float64 (bars, symbols). session: int64 (bars,), not negative. active: bool (symbols,),
    False where a symbol has no such bar. state: from `start`, changed in place. out: float64 (SET_ROWS, bars, symbols).
    """
    symbols = close.shape[1]
    keep = 1.0 - 1.0 / rsi_period
    floor = NO_MOVE * rsi_period
    a_fast = 2.0 / (fast + 1)
    a_slow = 2.0 / (slow + 1)
    b_fast, b_slow = 1.0 - a_fast, 1.0 - a_slow
    warm = max(rsi_period + 1, fast, slow)
    count, before, moved, total = state[COUNT], state[BEFORE], state[MOVED], state[TOTAL]
    quick, calm, turnover, shares = state[QUICK], state[CALM], state[TURNOVER], state[SHARES]
    for t in range(close.shape[0]):
        if _all_warm(active, count, warm):
            _warm_rows(t, high, low, close, volume, session, state, keep, floor, a_fast, a_slow, out)
            return
        h, lo, c, v = high[t], low[t], close[t], volume[t]
        rsi, ema_fast, ema_slow, vwap = out[RSI, t], out[EMA_FAST, t], out[EMA_SLOW, t], out[VWAP, t]
        if symbols and session[t] != state[SESSION, 0]:
            state[SESSION, :] = session[t]
            turnover[:] = 0.0
            shares[:] = 0.0
        for s in range(symbols):
            if not active[s]:
                rsi[s], ema_fast[s], ema_slow[s], vwap[s] = np.nan, np.nan, np.nan, np.nan
                continue
            n = int(count[s])
            change = c[s] - before[s] if n > 0 else 0.0
            held = 1.0 if n <= rsi_period else keep
            before[s] = c[s]
            moved[s] = held * moved[s] + change
            total[s] = held * total[s] + abs(change)
            value = 0.0 if total[s] < floor else 50.0 + 50.0 * (moved[s] / total[s])
            rsi[s] = value if n >= rsi_period else np.nan
            quick[s] = quick[s] + c[s] if n < fast else b_fast * quick[s] + a_fast * c[s]
            quick[s] = quick[s] / fast if n == fast - 1 else quick[s]
            ema_fast[s] = quick[s] if n >= fast - 1 else np.nan
            calm[s] = calm[s] + c[s] if n < slow else b_slow * calm[s] + a_slow * c[s]
            calm[s] = calm[s] / slow if n == slow - 1 else calm[s]
            ema_slow[s] = calm[s] if n >= slow - 1 else np.nan
            turnover[s] += (h[s] + lo[s] + c[s]) * v[s]
            shares[s] += v[s]
            vwap[s] = turnover[s] / (3.0 * shares[s])
            count[s] = n + 1.0


@step
def _all_warm(active: BoolArray, count: FloatArray, warm: int) -> bool:
    """Whether every symbol has this bar and `warm` bars before it. Counts to the end, so that it runs in vectors."""
    missing = 0
    for s in range(count.size):
        missing += not (active[s] and count[s] >= warm)
    return missing == 0


@step
def _warm_rows(
    first: int, high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray,
    state: FloatArray, keep: float, floor: float, a_fast: float, a_slow: float, out: FloatArray,
) -> None:  # fmt: skip
    """Rows from `first` on, all symbols warm and present. Arrays are indexed whole: a view of a row would be counted as
    a reference with atomic instructions, which wait for every store on its way to memory, many times a row.

    RSI and VWAP share one division: with a, s their divisors, m / a = m r s and p / s = p r a where r = 1 / (a s).
    Where that could overflow, or a divisor is zero or NaN, the row is divided again, one by one.
    """
    bars, symbols = close.shape
    b_fast, b_slow = 1.0 - a_fast, 1.0 - a_slow
    for t in range(first, bars):
        if symbols and session[t] != state[SESSION, 0]:
            for s in range(symbols):
                state[SESSION, s] = session[t]
                state[TURNOVER, s] = 0.0
                state[SHARES, s] = 0.0
        odd = 0
        for s in range(symbols):
            c = close[t, s]
            change = c - state[BEFORE, s]
            moved = keep * state[MOVED, s] + change
            total = keep * state[TOTAL, s] + abs(change)
            state[BEFORE, s] = c
            state[MOVED, s] = moved
            state[TOTAL, s] = total
            quick = b_fast * state[QUICK, s] + a_fast * c
            state[QUICK, s] = quick
            out[EMA_FAST, t, s] = quick
            calm = b_slow * state[CALM, s] + a_slow * c
            state[CALM, s] = calm
            out[EMA_SLOW, t, s] = calm
            turnover = state[TURNOVER, s] + (high[t, s] + low[t, s] + c) * volume[t, s]
            shares = state[SHARES, s] + volume[t, s]
            state[TURNOVER, s] = turnover
            state[SHARES, s] = shares
            thrice = 3.0 * shares
            both = total * thrice
            odd += not ((total >= floor) & (thrice > SMALL) & (both < LARGE))
            r = 1.0 / both
            out[RSI, t, s] = 50.0 + 50.0 * (moved * r * thrice)
            out[VWAP, t, s] = turnover * r * total
        if odd:
            for s in range(symbols):
                total = state[TOTAL, s]
                out[RSI, t, s] = 0.0 if total < floor else 50.0 + 50.0 * (state[MOVED, s] / total)
                out[VWAP, t, s] = state[TURNOVER, s] / (3.0 * state[SHARES, s])
    for s in range(symbols):
        state[COUNT, s] += bars - first


def empty_out(bars: int, symbols: int) -> FloatArray:
    """Room for the outputs of `strategy_block`."""
    return np.empty((SET_ROWS, bars, symbols))
