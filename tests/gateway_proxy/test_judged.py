"""The simulator, which counts IB's limits with rules of its own, judges ten greedy engines behind one proxy."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any, get_args

import pytest

from gateway_proxy.core import effects as fx
from gateway_proxy.core.rules import PacingSettings
from gateway_proxy.settings import Settings
from gateway_sim.limits import HistoryMode, LimitSettings, MessageMode
from gateway_sim.testing import World, run_virtual
from tests.support.virtual_proxy import VirtualProxy

SYMBOLS = ("SPY", "QQQ", "AAPL", "NVDA")
SMALL = ("5s", "10s", "15s", "30s")
WHATS = ("TRADES", "TRADES", "MIDPOINT", "BID", "ASK", "BID_ASK")
TEN_SYMBOLS = (*SYMBOLS, "IWM", "MSFT", "TSLA", "AMZN", "META", "GOOGL")
OUTSTANDING = 12
#: Two windows of the historical budget begin in it.
SLICE_S = 630.0
DAY_S = 23_399.0


class GreedyEngine:
    """Keeps small-bar requests waiting all the time, and asks for everything else now and then."""

    def __init__(self, proxy: VirtualProxy, number: int, seed: int) -> None:
        name = f"engine{number}"
        self.proxy, self.name = proxy, name
        #: Of its own for each engine: an answer that another one paid for says nothing about fairness.
        self.count = 10 + number
        self.dice = random.Random(f"{name} {seed}")
        self.ended: Counter[str] = Counter()
        self.sizes = SMALL
        self._loop = asyncio.get_running_loop()

    def start(self) -> None:
        for _ in range(OUTSTANDING):
            self._bars()
        self._others()

    def _bars(self) -> None:
        args = {
            "size": self.dice.choice(self.sizes),
            "what": self.dice.choice(WHATS),
            "count": self.count,
            "fresh": True,
        }
        symbol = self.dice.choice(SYMBOLS)
        self.proxy.ask("bars", self.name, self._had_bars, expires_in_s=3600.0, contract=symbol, **args)

    def _had_bars(self, reply: fx.Reply) -> None:
        self._count(reply)
        pause_s = 0.05 if reply.error is None else reply.error.retry_in_s or 1.0
        self._loop.call_later(pause_s, self._bars)

    def _others(self) -> None:
        """Large bars, contracts, quotes and chains; every engine at its own times."""
        symbol = self.dice.choice(SYMBOLS)
        op = self.dice.choice(("bars", "bars", "bars", "contract", "quote", "chain"))
        args: dict[str, Any] = {"contract": symbol}
        if op == "bars":
            args |= {"size": self.dice.choice(("1min", "5min", "1h")), "count": self.dice.randint(10, 400)}
        self.proxy.ask(op, self.name, self._count, **args)
        self._loop.call_later(self.dice.uniform(10.0, 60.0), self._others)

    def _count(self, reply: fx.Reply) -> None:
        self.ended["ok" if reply.error is None else reply.error.code] += 1


def judged(
    limits: LimitSettings, lasts_s: float, *, seed: int = 1, strict: bool = False
) -> tuple[World, list[GreedyEngine]]:
    """Ten engines for `lasts_s` of a trading day in one limits mode."""
    engines: list[GreedyEngine] = []

    async def day(world: World) -> None:
        settings = Settings(pacing=PacingSettings(strict_history=strict))
        proxy = VirtualProxy(world, settings=settings, seed=seed)
        await proxy.start()
        for size in ("1min", "5s"):
            for symbol in SYMBOLS[:2]:
                proxy.subscribe(f"bars/{symbol}/{size}/")
        engines.extend(GreedyEngine(proxy, number, seed) for number in range(10))
        for engine in engines:
            engine.start()
        await asyncio.sleep(lasts_s)
        world.notes["sent"] = proxy.sent
        world.notes["pacing"] = proxy.core.scheduler.stats(world.loop.time())
        world.notes["proxy"] = proxy

    return run_virtual(day, start="2026-06-15 09:30", limits=limits, seed=seed), engines


def budget_used(world: World, lasts_s: float, *, strict: bool = False) -> float:
    """Units that reached the simulator, as a share of what IB allows in that time: 60 at once and each 600 s after."""
    units = 0
    for line in world.events("request"):
        call = world.notes["sent"].get(line.get("req_id"))
        if isinstance(call, fx.RequestHistory) and (strict or "secs" in call.bar_size):
            units += 2 if call.what == "BID_ASK" else 1
    return units / (60 * (lasts_s // 600 + 1))


def check(limits: LimitSettings, lasts_s: float, *, strict: bool = False) -> None:
    world, engines = judged(limits, lasts_s, strict=strict)

    used = budget_used(world, lasts_s, strict=strict)
    served = [engine.ended["ok"] for engine in engines]
    facts = (
        f"{limits.messages} {limits.history} {'strict' * strict}: {used:.1%} of the budget, answered {sorted(served)}"
    )
    print(facts, Counter(line["kind"] for line in world.events("request")))
    assert world.violations() == []
    assert used >= 0.97, facts
    assert min(served) > 0.5 * max(served), facts


def mode(messages: MessageMode, history: HistoryMode) -> Any:
    return pytest.param(LimitSettings(messages=messages, history=history), id=f"{messages}-{history}")


#: Every way in which a Gateway enforces the message rate and the historical rules.
MODES = [mode(m, h) for m in get_args(MessageMode)[:2] for h in get_args(HistoryMode)[:3]]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("limits", [mode("reject", "explicit"), mode("pace", "silent")])
def test_ten_greedy_engines_break_no_rule_and_leave_no_budget(limits):
    """The first ten minutes of a day and the next window; whole days of every mode: `make judge`."""
    check(limits, SLICE_S)


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_bars_of_every_size_are_counted_when_ib_counts_them():
    """With the strict switch on both sides the larger bars share the budget."""
    check(LimitSettings(strict_large_bars=True), SLICE_S, strict=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("limits", MODES)
def test_ten_greedy_engines_for_a_whole_trading_day(limits):
    """From the open to the close, in every way in which IB enforces its limits."""
    check(limits, DAY_S)


def upstream_requests(engines: int) -> Counter[str]:
    """What `engines` engines with ten symbols each cost at the Gateway in five minutes, asking every minute."""

    async def minutes(world: World) -> None:
        proxy = VirtualProxy(world)
        await proxy.start()
        ended: Counter[bool] = Counter()
        for symbol in TEN_SYMBOLS:
            proxy.subscribe(f"bars/{symbol}/1min/")
        for _ in range(5):
            await asyncio.sleep(60.0)
            for engine in range(engines):
                for symbol in TEN_SYMBOLS:
                    for args in ({"count": 60}, {"count": 30, "size": "5min"}):
                        proxy.ask(
                            "bars",
                            f"engine{engine}",
                            lambda r: ended.update([r.error is None]),
                            contract=symbol,
                            **args,
                        )
        await asyncio.sleep(30.0)
        assert ended == {True: engines * 10 * 5 * 2}

    world = run_virtual(minutes, start="2026-06-15 11:00")
    assert world.violations() == []
    kinds = Counter(line["kind"] for line in world.events("request"))
    return Counter({kind: kinds[kind] for kind in ("reqHistoricalData", "reqContractDetails", "reqMktData")})


@pytest.mark.timeout(240)
def test_twenty_engines_cost_the_gateway_what_one_does():
    """Bars of a live series cost nothing more, others are asked once for everybody."""
    assert upstream_requests(20) == upstream_requests(1)
