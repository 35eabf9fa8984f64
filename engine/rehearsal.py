"""One decision on made-up bars before the first real one: it compiles the kernels and shows that the strategy runs."""

from __future__ import annotations

import math
import time

from numba.core.errors import NumbaError

from engine.bars import BarWindow
from engine.indicators.compile import compiling, forget_caches
from engine.sessions import market_clock
from engine.strategy import Strategy
from gateway_proxy import Bar

#: 2026-06-18 09:30 New York.
_START_NS = 1_781_789_400_000_000_000


def rehearse(strategy: Strategy) -> float:
    """Seconds it took. Kernels come from the cache on disk where there is one; a damaged cache is built again.

    Raises whatever the strategy raises on perfectly good bars.
    """
    started = time.perf_counter()
    with compiling():
        try:
            _decide_once(strategy)
        except NumbaError:
            raise
        except Exception:
            # Unpickling a damaged cache may raise anything; if it was not that, the second try raises the same again.
            if not forget_caches():
                raise
            _decide_once(strategy)
    return time.perf_counter() - started


def _decide_once(strategy: Strategy) -> None:
    window = BarWindow(max(2, strategy.bars_needed + 5))
    for minute in range(window.capacity):
        close = 100.0 + math.sin(minute / 5.0)
        start_ns = _START_NS + minute * 60_000_000_000
        window.take(Bar(start_ns, close, close + 0.1, close - 0.1, close, 1000.0 + minute))
    clock = market_clock(int(window.start_ns[-1]), 60)
    strategy.decide(window, strategy.measure(window), clock)
