"""Technical indicators compiled with numba. Conventions follow TA-Lib wherever TA-Lib has the function.

Small letters are functions over one series (`rsi(close, 14)`), tuned for speed. Capitals are indicators in three forms
that agree: `RSI(14).batch(Bars(close))` over one series or a (bars, symbols) matrix, and `update` for one new bar of
all symbols in one call.
"""

from __future__ import annotations

import numpy as np

from engine.indicators import fast, kernels, ranges, window
from engine.indicators.compile import FloatArray, IntArray, warm
from engine.indicators.forms import Bars, Indicator

__all__ = [
    "ADX", "ATR", "BBANDS", "EMA", "MACD", "OBV", "RSI", "SMA", "STOCH", "SUPERTREND", "VOLUME_ZSCORE", "VWAP",
    "Bars", "FloatArray", "Indicator", "IntArray", "ema", "rsi", "vwap", "warm",
]  # fmt: skip


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


def RSI(period: int = 14) -> Indicator:
    """Wilder's relative strength index. Output `rsi`, 0 to 100; constant prices give 0 as in TA-Lib."""
    return Indicator("RSI", kernels.rsi, ("rsi",), (_period(period),), 4, period)


def EMA(period: int) -> Indicator:
    """Exponential moving average, seeded with the mean of the first `period` closes. Output `ema`."""
    return Indicator("EMA", kernels.ema, ("ema",), (_period(period),), 2, period - 1)


def SMA(period: int) -> Indicator:
    """Mean of the newest `period` closes. Output `sma`."""
    return Indicator("SMA", kernels.sma, ("sma",), (_period(period),), 1 + window.sum_rows(period), period - 1)


def MACD(fast_period: int = 12, slow_period: int = 26, signal_period: int = 9) -> Indicator:
    """Difference of two EMAs and its own EMA. Outputs `macd signal histogram`. As TA-Lib, both EMAs are seeded on the
    bar where the slow one can be. Source: Gerald Appel, 1979.
    """
    if not 0 < fast_period < slow_period:
        raise ValueError(f"want fast_period below slow_period, got {fast_period} and {slow_period}")
    periods = (fast_period, slow_period, _period(signal_period))
    return Indicator("MACD", kernels.macd, ("macd", "signal", "histogram"), periods, 4, slow_period + signal_period - 2)


def BBANDS(period: int = 20, width: float = 2.0) -> Indicator:
    """Bollinger bands: mean of `period` closes and `width` population standard deviations around it. Outputs `upper
    middle lower`. Source: John Bollinger, Bollinger on Bollinger Bands, 2001.
    """
    rows = 1 + window.moment_rows(_period(period))
    return Indicator("BBANDS", kernels.bollinger, ("upper", "middle", "lower"), (period, width), rows, period - 1)


def STOCH(period: int = 14, smooth_k: int = 3, smooth_d: int = 3) -> Indicator:
    """Slow stochastic. Outputs `slow_k slow_d`, 0 to 100; a window without range gives 0. Source: George Lane."""
    rows = kernels.stochastic_rows(_period(period), _period(smooth_k), _period(smooth_d))
    warm_up = period + smooth_k + smooth_d - 3
    needs = ("close", "high", "low")
    return Indicator(
        "STOCH", kernels.stochastic, ("slow_k", "slow_d"), (period, smooth_k, smooth_d), rows, warm_up, needs
    )


def ATR(period: int = 14) -> Indicator:
    """Wilder's average true range, in price units. Output `atr`. Source: Wilder 1978."""
    return Indicator("ATR", ranges.atr, ("atr",), (_period(period),), 3, period, ("close", "high", "low"))


def ADX(period: int = 14) -> Indicator:
    """Average directional index. Outputs `adx plus_di minus_di`; the DIs are defined from bar `period` on, ADX from
    2 * period - 1. Source: Wilder 1978, sums as in TA-Lib.
    """
    if period < 2:
        raise ValueError(f"ADX needs a period of at least 2, not {period}")
    outputs = ("adx", "plus_di", "minus_di")
    return Indicator("ADX", ranges.adx, outputs, (period,), 8, 2 * period - 1, ("close", "high", "low"))


def SUPERTREND(period: int = 10, width: float = 3.0) -> Indicator:
    """A stop line `width` ATRs behind the trend. Outputs `line trend`, trend +1 or -1. Source: Olivier Seban; the rules
    are those of the common chart sites.
    """
    outputs = ("line", "trend")
    return Indicator(
        "SUPERTREND", ranges.supertrend, outputs, (_period(period), width), 6, period, ("close", "high", "low")
    )


def OBV() -> Indicator:
    """On-balance volume, in shares. Output `obv`. Source: Joseph Granville, 1963; starts as TA-Lib does."""
    return Indicator("OBV", ranges.obv, ("obv",), (), 3, 0, ("close", "volume"))


def VOLUME_ZSCORE(period: int = 20) -> Indicator:
    """How unusual a bar's volume is, in population standard deviations of the newest `period` bars. Output `zscore`."""
    rows = 1 + window.moment_rows(_period(period))
    return Indicator(
        "VOLUME_ZSCORE", ranges.volume_zscore, ("zscore",), (period,), rows, period - 1, ("close", "volume")
    )


def VWAP(width: float = 2.0) -> Indicator:
    """Session VWAP with bands of `width` volume-weighted standard deviations. Outputs `vwap upper lower`; NaN until
    the session has volume. Sessions begin where `Bars.session` changes.
    """
    needs = ("close", "high", "low", "volume")
    return Indicator("VWAP", ranges.vwap_bands, ("vwap", "upper", "lower"), (width,), 5, 0, needs)
