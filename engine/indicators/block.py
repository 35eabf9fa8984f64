"""RSI, two EMAs and session VWAP of many symbols at once: the scalp rules' set, over a matrix or bar by bar.

Time-major, so that the processor's vectors run across symbols. Rows where every symbol is warm and present take one
plain loop per indicator, short enough for the compiler to make vectors of; all other rows take the careful loop, which
asks each symbol where it stands.
"""

from __future__ import annotations

import numpy as np

from engine.indicators.compile import BoolArray, FloatArray, IntArray, kernel, step
from engine.indicators.fast import EMA_FAST, EMA_SLOW, NO_MOVE, RSI, SET_ROWS, VWAP

#: Rows of the state. SESSION's first entry is the session of the last bar; -1 before the first.
COUNT, BEFORE, MOVED, TOTAL, QUICK, CALM, TURNOVER, SHARES, SESSION = range(9)
STATE_ROWS = 9


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
    ready = False
    for t in range(close.shape[0]):
        h, lo, c, v = high[t], low[t], close[t], volume[t]
        rsi, ema_fast, ema_slow, vwap = out[RSI, t], out[EMA_FAST, t], out[EMA_SLOW, t], out[VWAP, t]
        if symbols and session[t] != state[SESSION, 0]:
            state[SESSION, :] = session[t]
            turnover[:] = 0.0
            shares[:] = 0.0
        ready = ready or _all_warm(active, count, warm)
        if ready:
            _rsi_row(c, keep, floor, before, moved, total, rsi)
            _ema_row(c, a_fast, quick, ema_fast)
            _ema_row(c, a_slow, calm, ema_slow)
            _vwap_row(h, lo, c, v, turnover, shares, vwap)
            count += 1.0
            continue
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
def _rsi_row(
    close: FloatArray, keep: float, floor: float, before: FloatArray, moved: FloatArray, total: FloatArray,
    out: FloatArray,
) -> None:  # fmt: skip
    for s in range(close.size):
        change = close[s] - before[s]
        m = keep * moved[s] + change
        a = keep * total[s] + abs(change)
        before[s] = close[s]
        moved[s] = m
        total[s] = a
        out[s] = 0.0 if a < floor else 50.0 + 50.0 * (m / a)


@step
def _ema_row(close: FloatArray, alpha: float, mean: FloatArray, out: FloatArray) -> None:
    for s in range(close.size):
        m = (1.0 - alpha) * mean[s] + alpha * close[s]
        mean[s] = m
        out[s] = m


@step
def _vwap_row(
    high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, turnover: FloatArray, shares: FloatArray,
    out: FloatArray,
) -> None:  # fmt: skip
    for s in range(close.size):
        money = turnover[s] + (high[s] + low[s] + close[s]) * volume[s]
        stock = shares[s] + volume[s]
        turnover[s] = money
        shares[s] = stock
        out[s] = money / (3.0 * stock)


def empty_out(bars: int, symbols: int) -> FloatArray:
    """Room for the outputs of `strategy_block`."""
    return np.empty((SET_ROWS, bars, symbols))
