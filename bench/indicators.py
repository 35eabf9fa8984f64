"""Indicators against TA-Lib and NautilusTrader, side by side in one run: `python -m bench.indicators`.

Results are checked equal before or after timing. Rounds of all variants are interleaved, in a new order each, and
medians taken, of processor time: whoever else uses the machine takes no part. `ratio` is the peer's time divided by
ours: above 1 is faster than the peer. `x_memory`, `x_chain` and `x_dispatch` are our time divided by a floor measured
in the same rounds: copying as many bytes; one multiply-add a bar, each waiting for the last; the same kernel called on
no bars. `ratio_of_memory` is the ratio that such a copy would have.

What is compared: TA-Lib's compiled functions without the wrapper that looks for pandas and polars (three times the cost
of a short call). TA-Lib allocates its outputs; ours go into arrays made before and, as `fresh`, into new ones. Freed
memory is kept in the process, so that neither side pays for page faults. TA-Lib has no running total: its VWAP is
TYPPRICE, MULT and DIV over everything and numpy's cumsum over each session. NautilusTrader runs in an environment of
its own, made once in `.cache/peers`; ours and theirs take turns. A peer that is missing is said to be left out.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import inspect
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numba
import numpy as np

from bench.environments import environment
from bench.indicators_peers import FAST, PERIOD, SLOW
from engine.indicators import block, fast, warm

NAUTILUS = "nautilus_trader==1.221.0"
PEERS = Path(__file__).resolve().parents[1] / ".cache" / "peers"
SEED = 7
BARS, SESSION = 1_000_000, 390
ROUNDS = 25
Run = Callable[[], Any]


def say(figure: str, **facts: Any) -> None:
    print(json.dumps({"figure": figure, **facts}), flush=True)


def seconds(run: Run, repeat: int) -> float:
    started = time.thread_time()
    for _ in range(repeat):
        run()
    return (time.thread_time() - started) / repeat


def interleaved(variants: dict[str, Run], repeat: int = 1) -> dict[str, float]:
    """Median seconds of one call of each variant. `repeat` calls are timed together where one is too short."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    order, rng = list(variants), random.Random(SEED)
    for _ in range(ROUNDS):
        # In a fixed order one variant would always run where another has just emptied the caches.
        rng.shuffle(order)
        for name in order:
            taken[name].append(seconds(variants[name], repeat))
    return {name: statistics.median(times) for name, times in taken.items()}


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed; elsewhere nothing happens, and both sides pay alike for fresh pages."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, mmap_threshold = -1, -3
        libc.mallopt(mmap_threshold, 1 << 30)
        libc.mallopt(trim_threshold, (1 << 31) - 1)


def same(ours: Any, theirs: Any, rtol: float = 1e-7) -> None:
    """Unequal results end the benchmark: a fast wrong number is worthless."""
    np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol)


def market(bars: int, symbols: int) -> tuple[Any, Any, Any, Any, Any]:
    """high, low, close, volume as (bars, symbols), session as (bars,)."""
    rng = np.random.default_rng(SEED)
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 2e-4, (bars, symbols)), axis=0)), 2)
    high, low = close + rng.uniform(0.01, 0.2, close.shape), close - rng.uniform(0.01, 0.2, close.shape)
    volume = rng.integers(1, 5000, close.shape).astype(float)
    return high, low, close, volume, np.arange(bars, dtype=np.int64) // SESSION


def series(bars: int) -> tuple[Any, ...]:
    """The same for one symbol, as (bars,), and last the matrix of rows that `strategy_set` reads."""
    *prices, session = market(bars, 1)
    high, low, close, volume = (one[:, 0].copy() for one in prices)
    rows = np.ascontiguousarray([high, low, close, volume, session.astype(float), close])
    return high, low, close, volume, session, rows


class TALib:
    """TA-Lib's compiled functions, and the strategy's set made of them."""

    def __init__(self, talib: Any) -> None:
        self.rsi, self.ema, self.typical, self.times, self.divide = (
            inspect.unwrap(getattr(talib, name)) for name in ("RSI", "EMA", "TYPPRICE", "MULT", "DIV")
        )

    def vwap(self, high: Any, low: Any, close: Any, volume: Any) -> Any:
        money = self.times(self.typical(high, low, close), volume)
        turnover, shares = np.empty(close.size), np.empty(close.size)
        for at in range(0, close.size, SESSION):
            day = slice(at, at + SESSION)
            np.cumsum(money[day], out=turnover[day])
            np.cumsum(volume[day], out=shares[day])
        return self.divide(turnover, shares)

    def set(self, high: Any, low: Any, close: Any, volume: Any) -> tuple[Any, ...]:
        averages = self.ema(close, FAST), self.ema(close, SLOW)
        return (self.rsi(close, PERIOD), *averages, self.vwap(high, low, close, volume))


# ---------------------------------------------------------------- floors


@numba.njit(fastmath={"contract"}, error_model="numpy")
def fma_chain(values: Any) -> float:
    """One multiply-add after the other, each waiting for the last: the latency nobody gets under without tricks."""
    mean = 0.0
    for value in values:
        mean = 0.9 * mean + value
    return mean


def moving(rows: float, bars: int) -> Run:
    """Copying as many bytes as a kernel must that reads and writes `rows` float64 rows in all, and nothing else."""
    source, target = np.ones((2, int(rows * bars) // 2))
    return lambda: np.copyto(target, source)


# ---------------------------------------------------------------- one long series


def long_series(talib: TALib) -> None:
    high, low, close, volume, session, prices = series(BARS)
    out, rows = np.empty(BARS), np.empty((fast.SET_ROWS, BARS))
    ours: dict[str, Run] = {
        "rsi": lambda: fast.rsi_into(close, PERIOD, out),
        "ema": lambda: fast.ema_into(close, FAST, out),
        "vwap": lambda: fast.vwap_into(high, low, close, volume, session, out),
        "set": lambda: fast.strategy_set(prices, 0, BARS, PERIOD, FAST, SLOW, rows),
    }
    fresh: dict[str, Run] = {
        "rsi": lambda: fast.rsi_into(close, PERIOD, np.empty(BARS)),
        "ema": lambda: fast.ema_into(close, FAST, np.empty(BARS)),
        "vwap": lambda: fast.vwap_into(high, low, close, volume, session, np.empty(BARS)),
        "set": lambda: fast.strategy_set(prices, 0, BARS, PERIOD, FAST, SLOW, np.empty((fast.SET_ROWS, BARS))),
    }
    theirs: dict[str, Run] = {
        "rsi": lambda: talib.rsi(close, PERIOD),
        "ema": lambda: talib.ema(close, FAST),
        "vwap": lambda: talib.vwap(high, low, close, volume),
        "set": lambda: talib.set(high, low, close, volume),
    }
    memory = {name: moving(rows, BARS) for name, rows in {"rsi": 2, "ema": 2, "vwap": 6, "set": 9}.items()}
    for name in ("rsi", "ema", "vwap"):
        ours[name]()
        same(out, theirs[name]())
    ours["set"]()
    same(rows, np.array(theirs["set"]()))
    sides = {"ours": ours, "fresh": fresh, "talib": theirs, "memory": memory}
    variants = {f"{side} {name}": run for side, runs in sides.items() for name, run in runs.items()}
    times = interleaved({**variants, "chain": lambda: fma_chain(close)})
    for name in ours:
        mine, peer = times[f"ours {name}"], times[f"talib {name}"]
        say(
            f"{name}, {BARS} bars",
            ratio=round(peer / mine, 2),
            ratio_fresh=round(peer / times[f"fresh {name}"], 2),
            x_memory=round(mine / times[f"memory {name}"], 2),
            x_chain=round(mine / times["chain"], 2),
            ns_per_bar=round(mine / BARS * 1e9, 2),
            peer="TA-Lib",
        )


# ---------------------------------------------------------------- windows, matrices, single bars


def window(talib: TALib, bars: int = 60) -> None:
    high, low, close, volume, _, prices = series(bars)
    rows = np.empty((fast.SET_ROWS, bars))

    def ours(stop: int = bars) -> None:
        fast.strategy_set(prices, 0, stop, PERIOD, FAST, SLOW, rows)

    def theirs() -> Any:
        return talib.set(high, low, close, volume)

    ours()
    same(rows, np.array(theirs()))
    times = interleaved({"ours": ours, "talib": theirs, "dispatch": lambda: ours(0)}, repeat=2000)
    say(
        f"set, window of {bars} bars",
        ratio=round(times["talib"] / times["ours"], 1),
        x_dispatch=round(times["ours"] / times["dispatch"], 2),
        us=round(times["ours"] * 1e6, 2),
        peer="TA-Lib",
    )


def matrix(talib: TALib, symbols: int = 500) -> None:
    high, low, close, volume, session = market(SESSION, symbols)
    columns = [[one[:, s].copy() for one in (high, low, close, volume)] for s in range(symbols)]
    everybody, out = np.ones(symbols, np.bool_), block.empty_out(SESSION, symbols)

    def ours() -> None:
        state = block.start(symbols)
        block.strategy_block(high, low, close, volume, session, everybody, state, PERIOD, FAST, SLOW, out)

    def theirs() -> Any:
        return [talib.set(*column) for column in columns]

    ours()
    same(out, np.array(theirs()).transpose(1, 2, 0))
    memory = moving(8, SESSION * symbols)
    times = interleaved({"ours": ours, "talib": theirs, "memory": memory}, repeat=5)
    say(
        f"set, {symbols} symbols x {SESSION} bars",
        ratio=round(times["talib"] / times["ours"], 1),
        x_memory=round(times["ours"] / times["memory"], 2),
        ratio_of_memory=round(times["talib"] / times["memory"], 1),
        ns_per_bar=round(times["ours"] / (SESSION * symbols) * 1e9, 2),
        peer="TA-Lib",
    )


def one_bar(symbols: int = 1000, bars: int = 200, repeat: int = 20) -> None:
    """A new bar of every symbol, in one call, against one compiled object per indicator and symbol."""
    high, low, close, volume, _ = market(bars, symbols)
    everybody, state, out = np.ones(symbols, np.bool_), block.start(symbols), block.empty_out(1, symbols)
    rows = [[one[t : t + 1].copy() for one in (high, low, close, volume)] for t in range(bars)]
    none, day = close[:0].copy(), np.zeros(1, np.int64)
    at = 0

    def ours() -> None:
        nonlocal at
        top, bottom, last, shares = rows[at]
        block.strategy_block(top, bottom, last, shares, day, everybody, state, PERIOD, FAST, SLOW, out)
        at = (at + 1) % bars

    def dispatch() -> None:
        block.strategy_block(none, none, none, none, day[:0], everybody, state, PERIOD, FAST, SLOW, out)

    def figure(**peer: Any) -> None:
        mine = statistics.median(taken)
        floor = round(mine / statistics.median(floors), 2)
        each = round(mine / symbols * 1e9, 1)
        say(f"one bar of {symbols} symbols", **peer, x_dispatch=floor, ns_per_symbol=each, peer=NAUTILUS)

    taken: list[float] = []
    floors: list[float] = []
    theirs: list[float] = []
    typical = np.array([(high + low + close) / 3.0, volume])
    # Their indicators read one price: the closes of ours are the typical price here, so that all four can be compared.
    for t, row in enumerate(rows):
        row[0] = row[1] = row[2] = typical[0, t : t + 1].copy()
    with nautilus(typical) as ask:
        for _ in range(ROUNDS):
            taken.append(seconds(ours, repeat))
            floors.append(seconds(dispatch, repeat))
            if ask is not None:
                theirs.append(ask(repeat))
        if ask is None:
            return figure(ratio=None, left_out=f"{NAUTILUS} could not be installed here")
        # They seed with the first value instead of a mean: equal once that is forgotten, after hundreds of bars.
        same(out[:, 0].T, ask.last_values(), rtol=1e-6)
        figure(ratio=round(statistics.median(theirs) / statistics.median(taken), 1))


class Nautilus:
    """The peer's process. Called with a number of bars it answers the seconds each took."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert self._answer() == "ready"

    def __call__(self, repeat: int) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{repeat}\n")
        self._process.stdin.flush()
        return float(self._answer())

    def last_values(self) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.close()
        return np.array(json.loads(self._answer()))

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@contextlib.contextmanager
def nautilus(bars: Any) -> Iterator[Nautilus | None]:
    """NautilusTrader at work on these bars, or None where it cannot be installed."""
    try:
        python = environment(NAUTILUS, PEERS)
    except subprocess.CalledProcessError:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bars.npy"
        np.save(path, bars)
        command = [str(python), str(Path(__file__).with_name("indicators_peers.py")), str(path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            yield Nautilus(process)
        finally:
            process.kill()
            process.wait()


def main() -> None:
    keep_freed_memory()
    warm(fast.rsi_into, fast.ema_into, fast.vwap_into, fast.strategy_set, block.strategy_block)
    try:
        talib = TALib(importlib.import_module("talib"))
    except ImportError:
        say("TA-Lib", left_out="TA-Lib is not installed: five figures are missing")
    else:
        long_series(talib)
        window(talib)
        matrix(talib)
    one_bar()


if __name__ == "__main__":
    main()
