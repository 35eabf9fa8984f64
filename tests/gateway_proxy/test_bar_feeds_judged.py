"""Bars over both feeds against the simulator: all series live, equal to its own history, and no rule broken."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from gateway_proxy.bus.messages import Bar
from gateway_proxy.bus.topics import BAR_SECONDS
from gateway_proxy.settings import Settings
from gateway_sim.contracts import ContractQuery
from gateway_sim.listings import Listing, derived_con_id
from gateway_sim.settings import GatewaySettings
from gateway_sim.testing import World, run_virtual
from tests.support.virtual_proxy import VirtualProxy

SECOND_NS = 1_000_000_000
NAMES = tuple(f"S{number}" for number in range(80))
LISTINGS = tuple(
    Listing(name, derived_con_id(name), name, "NASDAQ", 50.0 + number, 0.3, 5_000_000)
    for number, name in enumerate(NAMES)
)
FOLDED = tuple(size for size, seconds in BAR_SECONDS.items() if 5 <= seconds < 86_400)
#: IB rounds the wap of every bar it sends to a tenth of a cent.
WAP_ERROR = 0.0011


class Market:
    """A proxy in a world, and what the test asks of both."""

    def __init__(self, world: World, proxy: VirtualProxy) -> None:
        self.world, self.proxy = world, proxy

    def subscribe(self, *series: tuple[str, str], wanted: bool = True) -> None:
        for key, size in series:
            self.proxy.subscribe(f"bars/{key}/{size}/", wanted)

    def feeds(self) -> Counter[tuple[str, str]]:
        """How many series are on which feed and in which state."""
        rows = self.proxy.core.bars.health(self.world.loop.time())
        return Counter((row["feed"], row["state"]) for row in rows)

    def row(self, key: str, size: str) -> dict[str, Any]:
        rows = self.proxy.core.bars.health(self.world.loop.time())
        return next(row for row in rows if row["topic"] == f"bars/{key}/{size}/")

    def finished(self, key: str, size: str) -> list[Bar]:
        """The finished bars published, in order."""
        told = self.proxy.published.get(f"bars/{key}/{size}/", [])
        return [bar for bar in told if isinstance(bar, Bar) and bar.complete]

    def truth(self, key: str, size: str, bars: Sequence[Bar]) -> list[Bar]:
        """The simulator's own history over the time of `bars`."""
        floor = self.world.gateway.floor
        query = ContractQuery(symbol=key, sec_type="STK", exchange="SMART", currency="USD")
        contract = floor.book.find_one(query, floor.market_s)
        assert contract is not None
        seconds = BAR_SECONDS[size]
        first, last = bars[0].start_ns / SECOND_NS, bars[-1].start_ns / SECOND_NS
        found = floor.history.bars(contract, "TRADES", seconds, first, last + seconds, floor.market_s, True)
        columns = (found.open, found.high, found.low, found.close, found.volume, found.wap, found.count)
        rows = zip(found.start.tolist(), *(column.tolist() for column in columns), strict=True)
        return [Bar(start * SECOND_NS, *values) for start, *values in rows if start <= last]

    def assert_true(self, *series: tuple[str, str]) -> None:
        """Every finished bar once, in order, none missing, each as history has it; the volume-weighted price too."""
        for key, size in series:
            bars = self.finished(key, size)
            truth = self.truth(key, size, bars)
            assert [exact(bar) for bar in bars] == [exact(bar) for bar in truth], f"{key} {size}"
            for bar, true in zip(bars, truth, strict=True):
                assert bar.wap == pytest.approx(true.wap, abs=WAP_ERROR), f"{key} {size}"
                assert not bar.gap


def exact(bar: Bar) -> tuple[float | None, ...]:
    return bar.start_ns, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.count


def play(story: Callable[[Market], Awaitable[None]], *, start: str = "2026-06-15 11:00", **pacing: Any) -> World:
    """A story in a world with 80 stocks of its own; `pacing` settings of the proxy, and `lines_max` of its bars."""

    async def conversation(world: World) -> None:
        settings = Settings()
        lines_max = pacing.pop("lines_max", settings.bars.lines_max)
        settings = replace(
            settings, pacing=replace(settings.pacing, **pacing), bars=replace(settings.bars, lines_max=lines_max)
        )
        proxy = VirtualProxy(world, settings=settings)
        await proxy.start()
        await story(Market(world, proxy))

    return run_virtual(conversation, settings=GatewaySettings(extra_listings=LISTINGS, start=start))


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["none", "farm_flap", "data_lost", "upstream_lost", "restart"])
def test_eighty_series_are_all_live_and_true(fault: str):
    """45 by history and 35 by real-time bars, through an outage too, and the judge has nothing to say."""
    series = [(name, "1min") for name in NAMES]

    async def story(market: Market) -> None:
        market.subscribe(*series)
        await asyncio.sleep(240)
        assert market.feeds() == {("history", "live"): 45, ("real_time", "live"): 35}
        if fault != "none":
            market.world.inject(fault, lasts_s=75.0)
        await asyncio.sleep(900)
        assert market.feeds() == {("history", "live"): 45, ("real_time", "live"): 35}
        market.assert_true(*series)

    world = play(story)

    assert world.violations() == []


def test_every_size_folds_into_what_history_says_from_the_open_to_the_close():
    """One line serves all sizes of a symbol; bars are cut where IB cuts them, the last ones at the close."""
    series = [("SPY", size) for size in FOLDED]

    async def story(market: Market) -> None:
        market.subscribe(*series)
        await asyncio.sleep(6.8 * 3_600)
        assert market.feeds() == {("real_time", "live"): len(series)}
        market.assert_true(*series)
        for _, size in series:
            sources = [bar.source for bar in market.finished("SPY", size)]
            lived = sources[sources.index("live") :]
            assert lived == ["live"] * len(lived) and len(lived) >= 6.5 * 3_600 // BAR_SECONDS[size]

    world = play(story, start="2026-06-15 09:20", history_streams_max=1)

    assert [line["kind"] for line in world.events("request")].count("reqRealTimeBars") == 1
    assert world.violations() == []


def test_free_slot_takes_a_series_back_to_history_and_no_bar_is_lost_or_doubled():
    """The fourth and fifth series live on real-time bars until others leave; the one on a line alone moves."""
    series = [(name, "1min") for name in NAMES[:5]]

    async def story(market: Market) -> None:
        market.subscribe(*series)
        await asyncio.sleep(200)
        assert market.feeds() == {("history", "live"): 3, ("real_time", "live"): 2}
        assert [market.row(name, "1min")["feed"] for name in NAMES[3:5]] == ["real_time"] * 2
        market.subscribe(series[0], wanted=False)
        await asyncio.sleep(20)
        assert market.row("S3", "1min")["feed"] == "real_time"  # not at the first chance: it may be gone again
        await asyncio.sleep(200)
        assert [market.row(name, "1min")["feed"] for name in NAMES[3:5]] == ["history", "real_time"]
        market.assert_true(*series[1:])

    world = play(story, history_streams_max=3)

    assert [line["kind"] for line in world.events("request")].count("cancelRealTimeBars") == 1
    assert world.violations() == []


def test_more_sizes_of_one_symbol_move_together_to_one_line():
    """When slots run short the symbol that gives back most of them changes its feed, in the middle of its bars."""
    before = [("SPY", "1min"), ("QQQ", "1min"), ("SPY", "10s")]
    after = [("SPY", "5min"), ("AAPL", "30s")]

    async def story(market: Market) -> None:
        market.subscribe(*before)
        await asyncio.sleep(333)
        assert market.feeds() == {("history", "live"): 3}
        market.subscribe(*after)
        await asyncio.sleep(900)
        assert market.feeds() == {("history", "live"): 2, ("real_time", "live"): 3}
        assert {market.row("SPY", size)["feed"] for size in ("10s", "1min", "5min")} == {"real_time"}
        market.assert_true(*before, *after)

    world = play(story, history_streams_max=3)

    assert [line["kind"] for line in world.events("request")].count("reqRealTimeBars") == 1
    assert world.violations() == []


def test_bars_give_way_to_quotes_and_come_back():
    """First sizes of one symbol share a line, then the newest series waits and says so; nothing is missing later."""
    series = [("SPY", "1min"), ("SPY", "2min"), ("SPY", "5min"), ("QQQ", "1min")]
    few, more = NAMES[:9], NAMES[9:11]

    async def story(market: Market) -> None:
        market.subscribe(*series)
        await asyncio.sleep(200)
        assert market.feeds() == {("history", "live"): 4}
        for name in few:
            market.proxy.subscribe(f"quote/{name}/")
        await asyncio.sleep(200)
        assert market.feeds() == {("real_time", "live"): 3, ("history", "live"): 1}
        for name in more:
            market.proxy.subscribe(f"quote/{name}/")
        await asyncio.sleep(200)
        assert market.feeds() == {("real_time", "live"): 3, ("", "waiting"): 1}
        assert market.row("QQQ", "1min")["held_by"] == "bar_lines"
        assert all(market.proxy.published[f"quote/{name}/"] for name in few + more)
        for name in few + more:
            market.proxy.subscribe(f"quote/{name}/", False)
        await asyncio.sleep(300)
        assert market.feeds() == {("history", "live"): 4}
        market.assert_true(*series)

    assert play(story, market_data_lines=12).violations() == []


def test_lines_max_is_all_that_bars_take():
    """The rest is for quotes and chains, however many series are wanted; the newest wait."""
    series = [(name, "1min") for name in NAMES[:12]]

    async def story(market: Market) -> None:
        market.subscribe(*series)
        await asyncio.sleep(120)
        assert market.feeds() == {("history", "live"): 5, ("real_time", "live"): 3, ("", "waiting"): 4}
        waiting = [market.row(name, "1min")["held_by"] for name in NAMES[8:12]]
        assert waiting == ["bar_lines"] * 4

    assert play(story, history_streams_max=5, lines_max=8).violations() == []


@pytest.mark.slow
@pytest.mark.parametrize("start", ["15:35", "20:30"])
def test_night_is_neither_a_hole_nor_a_stall(start: str):
    """Whether subscribed before or in it: one request, no verdict, and the first bar of the morning is whole."""
    series = [("SPY", "1min"), ("SPY", "1h")]

    async def story(market: Market) -> None:
        market.subscribe(*series)
        await asyncio.sleep(1_800)
        await asyncio.sleep(18 * 3_600)
        assert market.feeds() == {("real_time", "live"): 2}
        market.assert_true(*series)
        verdicts = [topic for topic in market.proxy.published if topic.startswith("verdicts/")]
        assert verdicts == []
        first = next(bar for bar in market.finished("SPY", "1h") if bar.start_ns > 1_781_600_000 * SECOND_NS)
        assert (first.source, first.gap) == ("live", False)

    world = play(story, start=f"2026-06-15 {start}", history_streams_max=1)

    assert [line["kind"] for line in world.events("request")].count("reqRealTimeBars") == 1
    assert world.violations() == []
