"""Indicators against TA-Lib and NautilusTrader, side by side in one run: `python -m bench.indicators`.

Results are checked equal before anything is timed. Rounds of all variants are interleaved and medians taken; `ratio` is
the peer's time divided by ours, so above 1 is faster than the peer. TA-Lib always allocates its outputs; ours are timed
into arrays made before and, as `fresh`, into new ones. TA-Lib has no running total: its VWAP is TYPPRICE, MULT and DIV
with numpy's cumsum, per session. Floors tell how far there is to go. A peer that is missing is said to be left out.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from engine.core import CoreRules, EngineCore
from engine.effects import Answer, Ask
from engine.indicators import block, fast, warm
from engine.strategies.scalp import Scalp, ScalpParameters
from gateway_proxy import Message

SEED = 7
BARS, SESSION = 1_000_000, 390
PERIOD, FAST, SLOW = 14, 9, 21
Run = Callable[[], Any]


def say(figure: str, **facts: Any) -> None:
    print(json.dumps({"figure": figure, **facts}), flush=True)


def interleaved(variants: dict[str, Run], rounds: int, repeat: int = 1) -> dict[str, float]:
    """Median seconds of one call of each variant. `repeat` calls are timed together where one is too short."""
    for run in variants.values():
        run()
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, run in variants.items():
            started = time.perf_counter()
            for _ in range(repeat):
                run()
            taken[name].append((time.perf_counter() - started) / repeat)
    return {name: statistics.median(times) for name, times in taken.items()}


def peer(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        say(name, left_out=f"{name} is not installed")
        return None


def same(ours: Any, theirs: Any) -> None:
    """Unequal results end the benchmark: a fast wrong number is worthless."""
    np.testing.assert_allclose(ours, theirs, rtol=1e-7, atol=1e-7)


def market(bars: int, symbols: int = 1) -> tuple[Any, Any, Any, Any, Any]:
    rng = np.random.default_rng(SEED)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 2e-4, (bars, symbols)), axis=0)), 2)
    high, low = close + rng.uniform(0.01, 0.2, close.shape), close - rng.uniform(0.01, 0.2, close.shape)
    volume = rng.integers(1, 5000, close.shape).astype(float)
    return high, low, close, volume, np.arange(bars, dtype=np.int64) // SESSION


def talib_vwap(talib: Any, high: Any, low: Any, close: Any, volume: Any, length: int = SESSION) -> Any:
    out = np.empty(close.size)
    for at in range(0, close.size, length):
        part = slice(at, at + length)
        money = talib.MULT(talib.TYPPRICE(high[part], low[part], close[part]), volume[part])
        out[part] = talib.DIV(np.cumsum(money), np.cumsum(volume[part]))
    return out


def talib_set(talib: Any, high: Any, low: Any, close: Any, volume: Any) -> tuple[Any, ...]:
    averages = talib.EMA(close, FAST), talib.EMA(close, SLOW)
    return (talib.RSI(close, PERIOD), *averages, talib_vwap(talib, high, low, close, volume))


# ---------------------------------------------------------------- one long series


def long_series(talib: Any) -> None:
    high, low, close, volume, session = (one if one.ndim == 1 else one[:, 0].copy() for one in market(BARS))
    prices = np.ascontiguousarray([high, low, close, volume, session.astype(float), close])
    out, rows = np.empty(BARS), np.empty((fast.SET_ROWS, BARS))
    ours: dict[str, Run] = {
        "rsi": lambda: fast.rsi_into(close, PERIOD, out),
        "rsi fresh": lambda: fast.rsi_into(close, PERIOD, np.empty(BARS)),
        "ema": lambda: fast.ema_into(close, FAST, out),
        "ema fresh": lambda: fast.ema_into(close, FAST, np.empty(BARS)),
        "vwap": lambda: fast.vwap_into(high, low, close, volume, session, out),
        "set": lambda: fast.strategy_set(prices, 0, BARS, PERIOD, FAST, SLOW, rows),
        "set fresh": lambda: fast.strategy_set(prices, 0, BARS, PERIOD, FAST, SLOW, np.empty((4, BARS))),
    }
    theirs: dict[str, Run] = {
        "rsi": lambda: talib.RSI(close, PERIOD),
        "ema": lambda: talib.EMA(close, FAST),
        "vwap": lambda: talib_vwap(talib, high, low, close, volume),
        "set": lambda: talib_set(talib, high, low, close, volume),
    }
    for name in ("rsi", "ema", "vwap"):
        ours[name]()
        same(out, theirs[name]())
    ours["set"]()
    same(rows, np.array(theirs["set"]()))
    floors: dict[str, Run] = {
        "floor copy": lambda: out.__setitem__(slice(None), close),
        "floor fma": lambda: fma_chain(close),
    }
    times = interleaved({**ours, **{f"talib {name}": run for name, run in theirs.items()}, **floors}, rounds=9)
    for name in ours:
        peers = times[f"talib {name.removesuffix(' fresh')}"]
        say(f"{name}, {BARS} bars", ratio=round(peers / times[name], 2), ns_per_bar=round(times[name] / BARS * 1e9, 2))
    for name in floors:
        say(name, ns_per_bar=round(times[name] / BARS * 1e9, 2))


@numba.njit(fastmath={"contract"}, error_model="numpy")
def fma_chain(values: Any) -> float:
    """One multiply-add after the other, each waiting for the last: the latency nobody gets under without tricks."""
    mean = 0.0
    for value in values:
        mean = 0.9 * mean + value
    return mean


# ---------------------------------------------------------------- windows, matrices, single bars


def window(talib: Any) -> None:
    high, low, close, volume, session = (one if one.ndim == 1 else one[:, 0].copy() for one in market(60))
    prices = np.ascontiguousarray([high, low, close, volume, session.astype(float), close])
    rows = np.empty((fast.SET_ROWS, 60))

    def ours() -> None:
        fast.strategy_set(prices, 0, 60, PERIOD, FAST, SLOW, rows)

    def theirs() -> Any:
        return talib_set(talib, high, low, close, volume)

    ours()
    same(rows, np.array(theirs()))
    times = interleaved(
        {"ours": ours, "talib": theirs, "dispatch": lambda: fma_chain(close[:0])}, rounds=9, repeat=2000
    )
    facts = {"us": round(times["ours"] * 1e6, 2), "floor_dispatch_us": round(times["dispatch"] * 1e6, 2)}
    say("set, window of 60 bars", ratio=round(times["talib"] / times["ours"], 1), **facts)


def matrix(talib: Any) -> None:
    symbols = 500
    high, low, close, volume, session = market(SESSION, symbols)
    columns = [[one[:, s].copy() for one in (high, low, close, volume)] for s in range(symbols)]
    everybody, out = np.ones(symbols, np.bool_), block.empty_out(SESSION, symbols)

    def ours() -> None:
        state = block.start(symbols)
        block.strategy_block(high, low, close, volume, session, everybody, state, PERIOD, FAST, SLOW, out)

    def theirs() -> Any:
        return [talib_set(talib, *column) for column in columns]

    ours()
    same(out, np.array(theirs()).transpose(1, 2, 0))
    times = interleaved({"ours": ours, "talib": theirs}, rounds=9, repeat=5)
    cost = round(times["ours"] / (SESSION * symbols) * 1e9, 2)
    say(f"set, {symbols} symbols x {SESSION} bars", ratio=round(times["talib"] / times["ours"], 1), ns_per_bar=cost)


def one_bar(nautilus: Any, symbols: int = 1000) -> None:
    """A new bar of every symbol, in one call, against one object per indicator and symbol."""
    high, low, close, volume, session = market(200, symbols)
    everybody, state, out = np.ones(symbols, np.bool_), block.start(symbols), block.empty_out(1, symbols)
    bars = [[one[t : t + 1].copy() for one in (high, low, close, volume)] for t in range(200)]
    day = np.zeros(1, np.int64)
    at = 0

    def ours() -> None:
        nonlocal at
        at = (at + 1) % 200
        top, bottom, last, shares = bars[at]
        block.strategy_block(top, bottom, last, shares, day, everybody, state, PERIOD, FAST, SLOW, out)

    variants: dict[str, Run] = {"ours": ours}
    if nautilus is not None:
        variants["nautilus"] = nautilus_bar(nautilus, close, volume)
    times = interleaved(variants, rounds=9, repeat=20)
    each = times["ours"] / symbols * 1e9
    ratio = round(times["nautilus"] / times["ours"], 1) if nautilus is not None else None
    say(f"one bar of {symbols} symbols", ratio=ratio, ns_per_symbol=round(each, 1), peer="NautilusTrader")


def nautilus_bar(nautilus: Any, close: Any, volume: Any) -> Run:
    """One bar of every symbol through NautilusTrader's compiled indicators; the same four values."""
    symbols = close.shape[1]
    sets = [
        (
            nautilus.RelativeStrengthIndex(PERIOD, nautilus.MovingAverageType.WILDER),
            nautilus.ExponentialMovingAverage(FAST),
            nautilus.ExponentialMovingAverage(SLOW),
            nautilus.VolumeWeightedAveragePrice(),
        )
        for _ in range(symbols)
    ]
    rows = [list(zip(sets, close[t].tolist(), volume[t].tolist(), strict=True)) for t in range(close.shape[0])]
    moment = datetime.datetime(2026, 6, 18, 14, 0, tzinfo=datetime.UTC)
    at = 0

    def run() -> None:
        nonlocal at
        at = (at + 1) % len(rows)
        for (rsi, quick, calm, vwap), price, shares in rows[at]:
            rsi.update_raw(price)
            quick.update_raw(price)
            calm.update_raw(price)
            vwap.update_raw(price, shares, moment)

    return run


# ---------------------------------------------------------------- the engine's own share


def decisions(symbols: int) -> None:
    """A completed bar as it came from the bus, until it is decided: parse, window, indicators, rules, record."""
    names = tuple(f"S{number}" for number in range(symbols))
    core = EngineCore(CoreRules("bench", names), Scalp(ScalpParameters()))
    core.start(0.0)
    start_ns = 1_781_789_400_000_000_000
    high, low, close, volume, _ = market(380, 1)

    def bar(t: int) -> dict[str, Any]:
        values = (high[t, 0], low[t, 0], close[t, 0], volume[t, 0])
        top, bottom, last, shares = (float(value) for value in values)
        at = start_ns + t * 60_000_000_000
        return {
            "start_ns": at,
            "open": last,
            "high": top,
            "low": bottom,
            "close": last,
            "volume": shares,
            "complete": True,
        }

    history = {"bars": [bar(t) for t in range(300)]}
    empty: dict[str, list[Any]] = {"orders": [], "executions": [], "positions": [], "accounts": []}
    for effect in core.effects():
        if isinstance(effect, Ask):
            core.receive_reply(Answer(effect.question, history if effect.op == "bars" else empty), 0.0)
    core.effects()
    taken = []
    for t in range(300, 300 + max(3, 60 // symbols if symbols > 1 else 60)):
        for name in names:
            message = Message(f"bars/{name}/1min/", "bar", t, "bench", 0, bar(t))
            started = time.perf_counter()
            core.receive_message(message, 0.0)
            taken.append(time.perf_counter() - started)
            core.effects()
    assert core.decisions == len(taken) + symbols, "every bar is decided, and the last one of the history"
    taken.sort()
    facts = {"p50_us": round(taken[len(taken) // 2] * 1e6, 1), "p99_us": round(taken[len(taken) * 99 // 100] * 1e6, 1)}
    say(f"bar to decision, {symbols} symbols", **facts, bars=len(taken))


def cold_start() -> None:
    """Seconds from the start of the process until the strategy has decided once, without and with a compile cache."""
    program = (
        "import time;t=time.perf_counter();from engine.strategies.scalp import *;from engine.rehearsal import rehearse;"
        "rehearse(Scalp(ScalpParameters()));print(time.perf_counter()-t)"
    )

    def start(folder: str) -> subprocess.Popen[str]:
        environ = {**os.environ, "NUMBA_CACHE_DIR": folder}
        return subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, text=True)

    def seconds(process: subprocess.Popen[str]) -> float:
        out, _ = process.communicate(timeout=120)
        assert process.returncode == 0, "an engine did not come up"
        return round(float(out), 2)

    with tempfile.TemporaryDirectory() as folder:
        cold, cached = seconds(start(folder)), seconds(start(folder))
    with tempfile.TemporaryDirectory() as folder:
        together = [seconds(process) for process in [start(folder) for _ in range(4)]]
    say("engine ready", without_cache_s=cold, with_cache_s=cached, four_at_once_empty_cache_s=together)


def main() -> None:
    warm(fast.rsi_into, fast.ema_into, fast.vwap_into, fast.strategy_set, block.strategy_block)
    talib, nautilus = peer("talib"), peer("nautilus_trader.indicators")
    if talib is not None:
        long_series(talib)
        window(talib)
        matrix(talib)
    one_bar(nautilus)
    for symbols in (1, 100, 1000):
        decisions(symbols)
    cold_start()


if __name__ == "__main__":
    main()
