"""Trading days in virtual time: nightly resets, restarts, random faults. All comes back, nothing is hidden."""

from __future__ import annotations

import asyncio
import logging
import random

import pytest

from gateway_proxy.core import effects as fx
from gateway_sim.testing import World, run_virtual
from tests.scenarios.virtual_proxy import VirtualProxy

TOPICS = ("bars/SPY/1min/", "bars/QQQ/1min/")
DAY_S = 86_400.0
OPEN_S, CLOSE_S = 9.5 * 3_600, 16.0 * 3_600
#: Name and longest duration of what may befall the Gateway at any time.
FAULTS = (
    ("farm_flap", 20.0), ("upstream_lost", 120.0), ("data_lost", 120.0), ("hmds_down", 90.0), ("keepup_dead", 0.0),
    ("freeze_feed", 60.0), ("socket_cut", 0.0), ("half_open", 0.0), ("restart", 90.0), ("mute", 30.0),
    ("storm_1100", 0.0), ("hmds_silent", 60.0), ("api_hang_requests", 30.0), ("secdef_down", 60.0),
)  # fmt: skip
#: After the end of a fault every stream is fresh again within this time, at worst after one breaker's pause.
HEAL_S = 180.0
FRESH_S = 30.0


class Days:
    """One proxy over several days. The market begins at 09:00 in New York."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.proxy = VirtualProxy(world, quiet=True)
        self.stale: list[str] = []
        self.transitions_max = 0
        self.asked: list[int] = []

    def clock(self) -> float:
        """Second of the day in New York."""
        return (9.0 * 3_600 + self.world.now) % DAY_S

    def in_session(self) -> bool:
        return OPEN_S + 300.0 < self.clock() < CLOSE_S - 300.0

    async def live(self, hours: float) -> None:
        await self.proxy.until("ready")
        self.proxy.subscribe(*TOPICS)
        await asyncio.sleep(30.0)
        while self.world.now < hours * 3_600.0:
            await asyncio.sleep(self.dice.uniform(900.0, 3_600.0) if self.in_session() else 1_800.0)
            await self.suffer()
        await asyncio.sleep(HEAL_S)

    async def suffer(self) -> None:
        """One fault, one question in the middle of it, and a look when it must be over."""
        logged = len(self.proxy.logs)
        near_midnight = not OPEN_S < self.clock() < 23 * 3_600
        name, longest_s = ("nightly_reset", 300.0) if near_midnight else self.dice.choice(FAULTS)
        lasts_s = self.dice.uniform(1.0, longest_s) if longest_s else 0.0
        self.world.inject(name, lasts_s or None)
        await asyncio.sleep(lasts_s / 2)
        self.asked.append(self.proxy.ask("bars", 60.0, contract="AAPL", count=self.dice.randint(30, 90)))
        await asyncio.sleep(lasts_s / 2 + HEAL_S)
        states = [log for _, log in self.proxy.logs[logged:] if log.event == "gateway state" and log.level != "debug"]
        self.transitions_max = max(self.transitions_max, len(states))
        if self.in_session():
            self.look(name)

    def look(self, fault: str) -> None:
        for stream in self.proxy.core.bars.streams():
            age_s = self.proxy.now - (stream.last_update or 0.0)
            if age_s > FRESH_S:
                where = f"{self.clock() / 3_600:.2f} h"
                self.stale.append(f"{stream.topic} {age_s:.0f} s old after {fault} at {where}: {stream.state}")


def run_days(seed: int, hours: float) -> tuple[World, Days]:
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    kept: list[Days] = []

    async def conversation(world: World) -> None:
        days = Days(world, seed)
        kept.append(days)
        await days.live(hours)
        days.proxy.stop()

    return run_virtual(conversation, start="2026-06-15 09:00", seed=seed), kept[0]


def assert_sound(world: World, days: Days) -> None:
    proxy = days.proxy
    assert days.stale == []
    assert world.violations() == []
    assert set(days.asked) <= set(proxy.replies), "a request without an answer"
    assert all(reply.error is None or reply.error.verdict for reply in proxy.replies.values()), (
        "an error without a verdict"
    )
    assert days.transitions_max <= 12, "an alarm storm"
    escalated = [one.body for _, one in proxy.published if isinstance(one, fx.Publish) and _is_escalation(one)]
    assert escalated == [], "a short outage was escalated"
    for topic in TOPICS:
        starts = [bar.start_ns for bar in proxy.bars(topic)]
        assert starts == sorted(set(starts)), f"{topic}: a bar twice or out of order"
        holes = [
            bar for before, bar in zip(proxy.bars(topic), proxy.bars(topic)[1:], strict=False)
            if 60_000_000_000 < bar.start_ns - before.start_ns < 3_600_000_000_000 and not bar.gap
        ]  # fmt: skip
        assert holes == [], f"{topic}: hidden holes"


def _is_escalation(publish: fx.Publish) -> bool:
    return publish.topic == "verdicts/" and bool(publish.body["evidence"].get("escalated"))


def test_a_trading_day_with_faults_heals_every_time():
    """From 09:00 on: every stream is fresh again within its bound after each fault, nothing is hidden or doubled."""
    world, days = run_days(seed=7, hours=3.0)

    assert_sound(world, days)
    assert len(world.events("fault")) >= 4


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_days_and_nights_heal(seed: int):
    """A day and a night: resets and restarts while nobody looks, and the morning's first bars on time."""
    world, days = run_days(seed=seed, hours=26.0)

    assert_sound(world, days)
