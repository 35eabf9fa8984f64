"""Technical indicators compiled with numba. Conventions follow TA-Lib wherever TA-Lib has the function."""

from __future__ import annotations

import numpy as np

from engine.indicators import fast
from engine.indicators.compile import FloatArray, IntArray, warm

__all__ = ["FloatArray", "IntArray", "ema", "rsi", "vwap", "warm"]


def rsi(close: FloatArray, period: int = 14) -> FloatArray:
    """Wilder's relative strength index, 0 to 100.

    close: float64 (n,), oldest first. period: bars, at least 1.
    Returns float64 (n,); entries before index `period` are NaN. Constant prices give 0, as in TA-Lib.
    NaN in, NaN from there on. Fewer than period + 1 bars: all NaN.
    Source: seeded with the mean of the first `period` changes, then Wilder's smoothing (J. Welles Wilder, New Concepts
    in Technical Trading Systems, 1978), as TA-Lib does.
    """
    close = _series(close)
    out = np.empty(close.size)
    fast.rsi_into(close, _period(period), out)
    return out


def ema(close: FloatArray, period: int) -> FloatArray:
    """Exponential moving average, seeded with the mean of the first `period` closes.

    close: float64 (n,), oldest first. period: bars, at least 1.
    Returns float64 (n,); entries before index period - 1 are NaN. NaN in, NaN from there on.
    Source: alpha = 2 / (period + 1), seeded with the simple mean as in TA-Lib.
    """
    close = _series(close)
    out = np.empty(close.size)
    fast.ema_into(close, _period(period), out)
    return out


def vwap(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, session: IntArray) -> FloatArray:
    """Volume weighted average price since the first bar of each session.

    high, low, close, volume: float64 (n,), oldest first. session: int64 (n,); a new value starts a new session.
    Returns float64 (n,), NaN until a session has volume.
    Source: typical price (high + low + close) / 3, weighted with volume.
    """
    high, low, close, volume = (_series(row) for row in (high, low, close, volume))
    days = np.ascontiguousarray(session, np.int64)
    if len({row.size for row in (high, low, close, volume, days)}) != 1:
        raise ValueError("high, low, close, volume and session must have one length")
    out = np.empty(days.size)
    fast.vwap_into(high, low, close, volume, days, out)
    return out


def _series(values: FloatArray) -> FloatArray:
    array = np.ascontiguousarray(values, np.float64)
    if array.ndim != 1:
        raise ValueError(f"want one series, got {array.ndim} dimensions")
    return array


def _period(period: int) -> int:
    if period < 1:
        raise ValueError(f"a period counts bars and is at least 1, not {period}")
    return period
