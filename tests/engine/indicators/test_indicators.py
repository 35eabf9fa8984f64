"""Every indicator against its slow twin, against TA-Lib, against numbers worked by hand, and against itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine import indicators as ind
from engine.indicators import Bars, Indicator, block, fast
from tests.support import naive

Make = Callable[[], Indicator]
#: Each indicator with its twin: (bars as lists) -> one tuple of outputs per bar.
TWINS: dict[str, tuple[Make, Callable[[Any], list[Any]]]] = {
    "sma": (lambda: ind.SMA(5), lambda b: naive.sma(b.close, 5)),
    "ema": (lambda: ind.EMA(9), lambda b: naive.ema(b.close, 9)),
    "rsi": (lambda: ind.RSI(7), lambda b: naive.rsi(b.close, 7)),
    "macd": (lambda: ind.MACD(5, 13, 4), lambda b: naive.macd(b.close, 5, 13, 4)),
    "bollinger": (lambda: ind.BBANDS(10, 2.0), lambda b: naive.bollinger(b.close, 10, 2.0)),
    "stochastic": (lambda: ind.STOCH(6, 3, 2), lambda b: naive.stochastic(b.high, b.low, b.close, 6, 3, 2)),
    "atr": (lambda: ind.ATR(5), lambda b: naive.atr(b.high, b.low, b.close, 5)),
    "adx": (lambda: ind.ADX(5), lambda b: naive.adx(b.high, b.low, b.close, 5)),
    "supertrend": (lambda: ind.SUPERTREND(5, 2.0), lambda b: naive.supertrend(b.high, b.low, b.close, 5, 2.0)),
    "obv": (lambda: ind.OBV(), lambda b: naive.obv(b.close, b.volume)),
    "zscore": (lambda: ind.VOLUME_ZSCORE(8), lambda b: naive.zscore(b.volume, 8)),
    "vwap": (lambda: ind.VWAP(2.0), lambda b: naive.vwap_bands(b.high, b.low, b.close, b.volume, b.session, 2.0)),
}


def market(bars: int, seed: int, symbols: int = 1) -> Bars:
    """A made-up market with gaps, flat stretches and bars without volume."""
    rng = np.random.default_rng(seed)
    moves = rng.normal(0, 0.3, (bars, symbols)) * (rng.random((bars, symbols)) > 0.2)
    moves[rng.random((bars, symbols)) > 0.98] *= 20
    close = np.round(100 + np.cumsum(moves, axis=0), 2) + 50
    high = close + np.round(rng.uniform(0, 0.5, close.shape), 2)
    low = close - np.round(rng.uniform(0, 0.5, close.shape), 2)
    volume = np.round(rng.uniform(0, 1000, close.shape)) * (rng.random(close.shape) > 0.1)
    session = np.arange(bars, dtype=np.int64) // 17
    return Bars(close, high, low, volume, session)


def one(bars: Bars, symbol: int = 0) -> Bars:
    assert bars.high is not None and bars.low is not None and bars.volume is not None
    columns = (array[:, symbol].copy() for array in (bars.close, bars.high, bars.low, bars.volume))
    close, high, low, volume = columns
    return Bars(close, high, low, volume, bars.session)


def lists(bars: Bars) -> Any:
    class Lists:
        pass

    plain = Lists()
    for name in ("close", "high", "low", "volume", "session"):
        setattr(plain, name, getattr(bars, name).tolist())
    return plain


def stacked(outputs: dict[str, Any]) -> Any:
    return np.array(list(outputs.values()))


def assert_agree(ours: Any, theirs: Any, scale: float = 1.0, rtol: float = 1e-9) -> None:
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=1e-9 * max(scale, 1.0), equal_nan=True)


@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize("bars", [0, 1, 4, 12, 40, 300])
def test_series_agrees_with_its_slow_twin(name, bars):
    """Kernel and definition give the same numbers, for windows too short as well."""
    make, twin = TWINS[name]
    market_bars = one(market(bars, seed=bars + 1))

    ours = stacked(make().batch(market_bars))

    theirs = np.array(twin(lists(market_bars)), dtype=float).reshape(bars, len(ours)).T
    assert_agree(ours, theirs, scale=1000.0)


@pytest.mark.parametrize("name", TWINS)
def test_matrix_and_bar_by_bar_agree_with_the_series(name):
    """The three forms are one: every column of the matrix, and every updated bar, to the last digits."""
    indicator = TWINS[name][0]()
    bars = market(120, seed=5, symbols=7)
    assert bars.high is not None and bars.low is not None and bars.volume is not None and bars.session is not None

    matrix = indicator.batch(bars)
    state = indicator.start(7)
    rows = [
        indicator.update(state, Bars(bars.close[t], bars.high[t], bars.low[t], bars.volume[t], bars.session[t : t + 1]))
        for t in range(120)
    ]

    assert_agree(np.array(rows).transpose(1, 0, 2), stacked(matrix))
    for symbol in range(7):
        series = indicator.batch(one(bars, symbol))
        for output in indicator.outputs:
            assert_agree(matrix[output][:, symbol], series[output])


@pytest.mark.parametrize("name", TWINS)
def test_first_value_comes_where_warm_up_says(name):
    """`warm_up` bars are NaN in the last output to come, and nothing after it on clean data."""
    indicator = TWINS[name][0]()
    bars = one(market(80, seed=3))
    assert bars.volume is not None
    bars.volume[:] = 100.0

    values = indicator.batch(bars)[indicator.outputs[0]]

    assert np.isnan(values[: indicator.warm_up]).all()
    assert not np.isnan(values[indicator.warm_up :]).any()


@pytest.mark.parametrize("name", TWINS)
def test_symbol_without_a_bar_keeps_its_state(name):
    """An inactive symbol gets NaN and goes on later as if the call had not been."""
    indicator = TWINS[name][0]()
    bars = market(60, seed=9, symbols=2)
    assert bars.high is not None and bars.low is not None and bars.volume is not None
    state, active = indicator.start(2), np.array([True, False])
    last = np.empty(0)

    for t in range(60):
        row = Bars(bars.close[t], bars.high[t], bars.low[t], bars.volume[t], np.zeros(1, np.int64))
        last = indicator.update(state, row, active=active)

    assert np.isnan(last[:, 1]).all()
    assert not state[:, 1].any()


@pytest.mark.parametrize("name", TWINS)
def test_nan_never_becomes_a_number(name):
    """While a NaN is in sight the outputs that read it are NaN; nothing raises."""
    indicator = TWINS[name][0]()
    bars = one(market(60, seed=2))
    assert bars.high is not None and bars.low is not None and bars.volume is not None
    for array in (bars.close, bars.high, bars.low, bars.volume):
        array[40] = np.nan
    reads_forever = name not in ("sma", "bollinger", "stochastic", "zscore", "vwap")

    values = indicator.batch(bars)[indicator.outputs[0]]

    assert np.isnan(values[40])
    assert np.isnan(values[50]) == reads_forever or name == "vwap"


def test_numbers_worked_by_hand():
    """Small enough for a pencil."""
    closes = np.array([10.0, 11.0, 10.0, 12.0, 13.0])

    # RSI(2): changes +1 -1 +2 +1. Gain and loss 1/2: 50. Then 1.25 and 0.25: 83.33. Then 1.125 and 0.125: 90.
    assert_agree(ind.rsi(closes, 2), [np.nan, np.nan, 50.0, 250 / 3, 90.0])
    # EMA(3): mean 31/3, alpha 1/2: (31/3 + 12) / 2 = 67/6, then (67/6 + 13) / 2 = 145/12.
    assert_agree(ind.ema(closes, 3), [np.nan, np.nan, 31 / 3, 67 / 6, 145 / 12])
    # VWAP: typical prices 10 and 12 with 100 and 300 shares: 4600 / 400; a new session begins with 20.
    price, volume = np.array([10.0, 12.0, 20.0]), np.array([100.0, 300.0, 50.0])
    assert_agree(ind.vwap(price, price, price, volume, np.array([1, 1, 2])), [10.0, 11.5, 20.0])
    # Bollinger(3, 1) of 10 11 10: mean 31/3, population variance 2/9.
    bands = ind.BBANDS(3, 1.0).batch(Bars(closes[:3]))
    assert_agree(bands["upper"][-1], 31 / 3 + math.sqrt(2) / 3)


def test_constant_prices_give_zero_rsi_and_closed_bands():
    """TA-Lib's convention, written down: no move is no strength."""
    flat = Bars(np.full(40, 7.0), np.full(40, 7.0), np.full(40, 7.0), np.full(40, 5.0))

    assert ind.rsi(flat.close, 5)[-1] == 0.0
    assert set(stacked(ind.BBANDS(5).batch(flat))[:, -1]) == {7.0}
    assert stacked(ind.STOCH(5, 3, 3).batch(flat))[:, -1].tolist() == [0.0, 0.0]
    assert stacked(ind.ADX(5).batch(flat))[:, -1].tolist() == [0.0, 0.0, 0.0]
    assert ind.VOLUME_ZSCORE(5).batch(flat)["zscore"][-1] == 0.0


PRICES = st.lists(st.floats(1e-3, 1e6), min_size=0, max_size=80)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PRICES, st.integers(1, 20))
def test_tuned_loops_agree_with_the_twins_on_anything(closes, period):
    """The look-ahead forms of RSI and EMA only differ by rounding, for every length and period."""
    close = np.array(closes)
    scale = max(closes, default=1.0)

    np.testing.assert_allclose(ind.ema(close, period), naive.ema(closes, period), rtol=1e-9, atol=1e-9 * scale)
    ours, theirs = ind.rsi(close, period), naive.rsi(closes, period)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("bars", [fast.BLOCK + extra for extra in (0, 14, 15, 16, 18)] + [2 * fast.BLOCK + 15])
def test_tuned_loops_go_on_from_block_to_block(bars):
    """Series that end before, on and behind the end of a block give what one bar at a time gives, and NaN stays NaN."""
    close = one(market(bars, seed=bars)).close
    broken = close.copy()
    broken[100] = np.nan

    for tuned, indicator in ((ind.rsi(close, 14), ind.RSI(14)), (ind.ema(close, 14), ind.EMA(14))):
        state = indicator.start(1)
        assert_agree(tuned, [indicator.update(state, Bars(close[t : t + 1]))[0, 0] for t in range(bars)])
    assert np.isnan(ind.rsi(broken, 14)[100:]).all()
    assert np.isnan(ind.ema(broken, 14)[100:]).all()
    assert_agree(ind.rsi(broken, 14)[:100], ind.rsi(close, 14)[:100])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.floats(-1e12, 1e12), min_size=1, max_size=60), st.integers(2, 12))
def test_windowed_means_do_not_drift_after_huge_values(values, period):
    """A running sum that subtracts would keep the rounding of the huge value for ever."""
    tail = [1.0, 2.0, 3.0] * period
    close = np.array([*values, 1e15, *tail])

    mean = ind.SMA(period).batch(Bars(close))["sma"][-1]

    assert_agree(mean, naive.sma(tail, period)[-1])


def test_strategy_set_agrees_with_the_single_indicators():
    """One pass over memory, the same four values."""
    bars = one(market(500, seed=11))
    assert bars.high is not None and bars.low is not None and bars.volume is not None and bars.session is not None
    prices = np.ascontiguousarray([bars.high, bars.low, bars.close, bars.volume, bars.session, bars.close])
    out = np.empty((fast.SET_ROWS, 500))

    for first, stop in ((0, 500), (100, 160), (0, 10), (3, 3)):
        fast.strategy_set(prices, first, stop, 14, 9, 21, out)

        part, n = slice(first, stop), stop - first
        assert_agree(out[fast.RSI, :n], ind.rsi(bars.close[part], 14))
        assert_agree(out[fast.EMA_FAST, :n], ind.ema(bars.close[part], 9))
        assert_agree(out[fast.EMA_SLOW, :n], ind.ema(bars.close[part], 21))
        vwap = ind.vwap(bars.high[part], bars.low[part], bars.close[part], bars.volume[part], bars.session[part])
        assert_agree(out[fast.VWAP, :n], vwap)


def test_strategy_block_agrees_over_a_matrix_and_bar_by_bar():
    """Symbols x bars and one call per bar give what each series gives alone."""
    bars = market(90, seed=4, symbols=6)
    assert bars.high is not None and bars.low is not None and bars.volume is not None and bars.session is not None
    everybody = np.ones(6, np.bool_)
    out, state = block.empty_out(90, 6), block.start(6)
    rows, running = np.empty((fast.SET_ROWS, 90, 6)), block.start(6)

    block.strategy_block(bars.high, bars.low, bars.close, bars.volume, bars.session, everybody, state, 14, 9, 21, out)
    for t in range(90):
        bar, room = slice(t, t + 1), block.empty_out(1, 6)
        block.strategy_block(
            bars.high[bar], bars.low[bar], bars.close[bar], bars.volume[bar], bars.session[bar], everybody, running,
            14, 9, 21, room,
        )  # fmt: skip
        rows[:, t] = room[:, 0]

    assert_agree(rows, out)
    assert_agree(running, state)
    for symbol in range(6):
        alone = one(bars, symbol)
        assert alone.high is not None and alone.low is not None and alone.volume is not None
        assert_agree(out[fast.RSI, :, symbol], ind.rsi(alone.close, 14))
        assert_agree(out[fast.EMA_SLOW, :, symbol], ind.ema(alone.close, 21))
        vwap = ind.vwap(alone.high, alone.low, alone.close, alone.volume, bars.session)
        assert_agree(out[fast.VWAP, :, symbol], vwap)


def test_symbol_out_of_the_ordinary_changes_nothing_for_itself_or_its_neighbours():
    """RSI and VWAP share a division: no trades, no moves, NaN or huge numbers in one of them stay out of the other."""
    bars = market(90, seed=6, symbols=12)
    assert bars.high is not None and bars.low is not None and bars.volume is not None and bars.session is not None
    bars.volume[:, 1] = 0.0
    bars.close[:, 3] = 50.0
    bars.volume[60:, 4] = np.nan
    bars.close[60:, 6] = np.nan
    bars.volume[60:, 7] = np.inf
    bars.volume[:, 8] *= 1e200
    bars.volume[:, 9] *= 1e-200
    bars.close[60:, 10] = np.inf
    bars.high[60:, 11] = np.nan
    out = block.empty_out(90, 12)

    block.strategy_block(
        bars.high, bars.low, bars.close, bars.volume, bars.session, np.ones(12, np.bool_), block.start(12), 14, 9, 21,
        out,
    )  # fmt: skip

    for symbol in range(12):
        alone = one(bars, symbol)
        assert alone.high is not None and alone.low is not None and alone.volume is not None
        vwap = ind.vwap(alone.high, alone.low, alone.close, alone.volume, bars.session)
        assert_agree(out[fast.RSI, :, symbol], ind.RSI(14).batch(alone)["rsi"])
        assert_agree(out[fast.VWAP, :, symbol], vwap)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_talib_gives_the_same_numbers(seed):
    """The library traders compare with; left out, visibly, where it is not installed."""
    talib = pytest.importorskip("talib", reason="TA-Lib is not installed: the oracle test is left out")
    bars = one(market(400, seed))
    h, lo, c, v = bars.high, bars.low, bars.close, bars.volume
    theirs = {
        "SMA": (ind.SMA(20), [talib.SMA(c, 20)]),
        "EMA": (ind.EMA(21), [talib.EMA(c, 21)]),
        "RSI": (ind.RSI(14), [talib.RSI(c, 14)]),
        "MACD": (ind.MACD(12, 26, 9), talib.MACD(c, 12, 26, 9)),
        "BBANDS": (ind.BBANDS(20, 2.0), talib.BBANDS(c, 20, 2.0, 2.0)),
        "STOCH": (ind.STOCH(14, 3, 3), talib.STOCH(h, lo, c, 14, 3, 0, 3, 0)),
        "ATR": (ind.ATR(14), [talib.ATR(h, lo, c, 14)]),
        "ADX": (ind.ADX(14), [talib.ADX(h, lo, c, 14), talib.PLUS_DI(h, lo, c, 14), talib.MINUS_DI(h, lo, c, 14)]),
        "OBV": (ind.OBV(), [talib.OBV(c, v)]),
    }

    for indicator, expected in theirs.values():
        # TA-Lib's own deviation subtracts squares, so it is the less exact one.
        assert_agree(stacked(indicator.batch(bars)), np.array(expected), scale=1000.0, rtol=1e-7)


def test_wrong_input_is_refused_in_words():
    """Shapes and periods are checked at the door of the public functions."""
    close = np.ones(5)

    for wrong in (
        lambda: ind.rsi(close, 0),
        lambda: ind.ema(np.ones((2, 2)), 3),
        lambda: ind.ATR(5).batch(Bars(close)),
        lambda: ind.MACD(26, 12),
        lambda: ind.vwap(close, close, close, close, np.ones(3, np.int64)),
        lambda: ind.SMA(3).update(ind.SMA(3).start(2), Bars(np.ones(3))),
    ):
        with pytest.raises(ValueError, match="."):
            wrong()
