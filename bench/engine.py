"""The engine's own time, beside what it cannot be rid of, in one run: `python -m bench.engine`.

* A completed bar as it came from the bus until it is decided (window, indicators, rules, record), alone and as the last
  of a minute's burst of all symbols, as a multiple of one raw ZeroMQ hop between two processes.
* A completed bar until the engine's order is ready to be sent. Between them lie at least four hops: bar in, chain
  asked, chain answered, order out. `share` is the engine's part of hops and engine together.
* From the start of the process until the engine is ready, with an empty and with a full compile cache, and four engines
  at once with one empty cache, as multiples of starting Python and importing numba.

The engine core is the real one; only the sockets are left out, and the replies come from memory. Rounds take turns.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench.upstream import running, through_raw_hop
from engine.core import CoreRules, EngineCore
from engine.effects import Answer, Ask
from engine.guards import GuardRules
from engine.rehearsal import rehearse
from engine.strategies.scalp import Scalp, ScalpParameters
from engine.strategy import Decision, Values, no
from gateway_proxy import Message

#: 2026-06-18 09:30 New York.
OPEN_NS = 1_781_789_400_000_000_000
MINUTE_NS = 60_000_000_000
HISTORY = 120
ROUNDS = 5
#: From bar to order on the wire: bar in, chain asked, chain answered, order out.
HOPS = 4
HOP_RATE, HOPS_A_ROUND = 500.0, 400


def say(figure: str, **facts: Any) -> None:
    print(json.dumps({"figure": figure, **facts}), flush=True)


@dataclass(frozen=True)
class Points:
    """The middle and the slow end of some seconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, seconds: Iterable[float]) -> Points:
        ordered = sorted(seconds)
        return cls(statistics.median(ordered), ordered[len(ordered) * 99 // 100])

    def against(self, hop: Points) -> dict[str, float]:
        return {
            "p50_us": round(self.p50 * 1e6, 1),
            "p99_us": round(self.p99 * 1e6, 1),
            "x_hop_p50": round(self.p50 / hop.p50, 2),
            "x_hop_p99": round(self.p99 / hop.p99, 2),
        }


# ---------------------------------------------------------------- an engine with a proxy in memory


class Eager(Scalp):
    """The scalp strategy, measured and judged as ever, but every bar after the history is a BUY."""

    def decide(self, window: Any, values: Values, clock: Any) -> Decision:
        decision = super().decide(window, values, clock)
        live = clock.bar_start_ns >= OPEN_NS + HISTORY * MINUTE_NS
        return replace(decision, side="BUY", rule="eager") if live else no("history", "before the first live bar")


def make_bar(minute: int) -> dict[str, Any]:
    close = 100.0 + float(np.sin(minute / 7.0))
    prices = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close}
    return {"start_ns": OPEN_NS + minute * MINUTE_NS, **prices, "volume": 1000.0 + minute, "complete": True}


def make_chain(width: int) -> dict[str, Any]:
    rows = [
        {
            "strike": 100.0 + step, "right": right, "con_id": 1000 + 2 * step + (right == "P"), "bid": 2.0, "ask": 2.1,
            "last": 2.05, "volume": 500.0, "open_interest": 10.0, "iv": 0.2,
        }
        for step in range(-width, width + 1)
        for right in ("C", "P")
    ]  # fmt: skip
    facts = {"multiplier": "100", "trading_class": "SPY", "min_tick": 0.01}
    return {"expiry": "20260618", "underlying_price": 100.0, "rows": rows, **facts}


def ready_core(strategy: Scalp, names: tuple[str, ...], guards: GuardRules) -> EngineCore:
    """A core that has its history, knows its account, and waits for the next bars."""
    core = EngineCore(CoreRules("bench", names, guards=guards), strategy)
    account = {"account": "DU1", "net_liquidation": 1e6, "available_funds": 1e6}
    answers: dict[str, dict[str, Any]] = {
        "bars": {"bars": [make_bar(minute) for minute in range(HISTORY)]},
        "orders.open": {"orders": []},
        "executions": {"executions": []},
        "positions": {"positions": []},
        "account": {"accounts": [account]},
    }
    core.start(0.0)
    while asked := [effect for effect in core.effects() if isinstance(effect, Ask)]:
        for ask in asked:
            core.receive_reply(Answer(ask.question, answers[ask.op]), 0.0)
    assert core.state == "ready"
    return core


def message(name: str, minute: int) -> Message:
    return Message(f"bars/{name}/1min/", "bar", minute, "bench", 0, make_bar(minute))


# ---------------------------------------------------------------- what is timed


class Deciding:
    """One minute after the other, the completed bars of all symbols arriving together."""

    def __init__(self, symbols: int) -> None:
        self.symbols = symbols
        self.names = tuple(f"S{number}" for number in range(symbols))
        self.core = ready_core(Scalp(ScalpParameters()), self.names, GuardRules())
        self.minute = HISTORY
        self.alone: list[float] = []
        self.in_burst: list[float] = []

    def run(self) -> None:
        for _ in range(max(2, 40 // self.symbols)):
            messages = [message(name, self.minute) for name in self.names]
            before, arrived = self.core.decisions, time.perf_counter()
            last = arrived
            for one in messages:
                self.core.receive_message(one, 0.0)
                self.core.effects()
                decided = time.perf_counter()
                self.alone.append(decided - last)
                self.in_burst.append(decided - arrived)
                last = decided
            assert self.core.decisions == before + self.symbols, "every bar is decided"
            self.minute += 1

    def report(self, hop: Points) -> None:
        bars = len(self.alone)
        say(f"bar to decision, {self.symbols} symbols", **Points.of(self.alone).against(hop), bars=bars)
        if self.symbols > 1:
            say(f"the same, all {self.symbols} arriving at once", **Points.of(self.in_burst).against(hop), bars=bars)


class Ordering:
    """Bars that become orders, each of a symbol that has not traded yet."""

    SYMBOLS = 100

    def __init__(self) -> None:
        self.chain: dict[str, Any] = {}
        self.own: list[float] = []

    def run(self) -> None:
        names = tuple(f"S{number}" for number in range(self.SYMBOLS))
        many = GuardRules(max_trades=10_000, max_open=10_000, no_entry_last_minutes=0.0)
        core = ready_core(Eager(ScalpParameters()), names, many)
        for name in names:
            self.own.append(self._until_ordered(core, message(name, HISTORY)))

    def _until_ordered(self, core: EngineCore, bar: Message) -> float:
        started = time.perf_counter()
        core.receive_message(bar, 0.0)
        effects = core.effects()
        spent = time.perf_counter() - started
        (ask,) = (effect for effect in effects if isinstance(effect, Ask))
        assert ask.op == "chain"
        self.chain = self.chain or make_chain(ask.args["width"])
        started = time.perf_counter()
        core.receive_reply(Answer(ask.question, self.chain), 0.0)
        effects = core.effects()
        spent += time.perf_counter() - started
        assert [effect.op for effect in effects if isinstance(effect, Ask)] == ["order.bracket"]
        return spent

    def report(self, hop: Points) -> None:
        own = Points.of(self.own)
        share = {
            "share_p50": round(own.p50 / (own.p50 + HOPS * hop.p50), 3),
            "share_p99": round(own.p99 / (own.p99 + HOPS * hop.p99), 3),
        }
        say("bar to order, the engine's own part", **own.against(hop), **share, hops=HOPS, orders=len(self.own))


def latencies() -> None:
    rehearse(Scalp(ScalpParameters()))
    timed: list[Deciding | Ordering] = [*(Deciding(symbols) for symbols in (1, 100, 1000)), Ordering()]
    hops: list[float] = []
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        endpoint = f"ipc://{folder}/raw"
        for _ in range(ROUNDS):
            for one in timed:
                one.run()
            # The sender lives only while it is listened to: it would take its share of the machine from the engine.
            with running("bench.upstream_peers", "raw", endpoint, str(HOP_RATE)):
                hops += [age / 1e9 for age in through_raw_hop(endpoint, HOPS_A_ROUND)]
    hop = Points.of(hops)
    say("raw hop", p50_us=round(hop.p50 * 1e6, 1), p99_us=round(hop.p99 * 1e6, 1), rate=HOP_RATE)
    for one in timed:
        one.report(hop)


# ---------------------------------------------------------------- from nothing to ready

CONFIG = '[engines.alpha]\nstrategy = "scalp"\nsymbols = ["SPY"]\n[logs]\nformat = "json"\n'


def start_engine(folder: Path, cache: Path) -> tuple[float, subprocess.Popen[str]]:
    """The moment of its start, and the process."""
    config = folder / "engine.toml"
    config.write_text(CONFIG)
    environ = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "GATEWAY_PROXY_RUNTIME": str(folder / "no-proxy")}
    command = [sys.executable, "-m", "engine", "--config", str(config)]
    return time.perf_counter(), subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True)


def seconds_until_ready(started: float, process: subprocess.Popen[str]) -> float:
    """Until it says that its strategy is compiled and rehearsed; then it is stopped."""
    assert process.stderr is not None
    with process:
        for line in process.stderr:
            if "strategy ready" in line:
                taken = time.perf_counter() - started
                process.terminate()
                process.stderr.read()
                return taken
    raise AssertionError(f"an engine did not come up, exit code {process.returncode}")


def ready_together(engines: int, folder: Path, cache: Path) -> float:
    """Seconds until the last of so many engines is ready."""
    processes = [start_engine(folder, cache) for _ in range(engines)]
    return max(seconds_until_ready(*one) for one in processes)


def import_numba() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import numba"], check=True)
    return time.perf_counter() - started


def cold_start() -> None:
    names = ("import", "without a cache", "with a cache", "four, without a cache", "four, with a cache")
    taken: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory(prefix="bench") as name:
            folder = Path(name)
            taken["import"].append(import_numba())
            taken["without a cache"].append(ready_together(1, folder, folder / "one"))
            taken["with a cache"].append(ready_together(1, folder, folder / "one"))
            taken["four, without a cache"].append(ready_together(4, folder, folder / "four"))
            taken["four, with a cache"].append(ready_together(4, folder, folder / "four"))
    middle = {name: statistics.median(times) for name, times in taken.items()}
    floor = middle.pop("import")
    for name, value in middle.items():
        say(f"engine ready, {name}", x_import_numba=round(value / floor, 2), s=round(value, 2))


def main() -> None:
    latencies()
    cold_start()


if __name__ == "__main__":
    main()
