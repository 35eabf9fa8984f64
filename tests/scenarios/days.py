"""`make days DAYS=30 SEED=1`: trading days in virtual time, with nightly resets, weekends and a fault every half hour.

The proxy's core and its real upstream talk to the simulator without sockets. After every fault in a session each stream
must be fresh again within its bound; every request must have ended in a verdict; one outage must be told once. Prints
one JSON line a day and returns 0 when all was sound.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import date, datetime

from gateway_proxy.core import effects as fx
from gateway_sim.calendar import NEW_YORK, Calendar, local
from gateway_sim.testing import World, run_virtual
from tests.scenarios.virtual_proxy import VirtualProxy

TOPICS = ("bars/SPY/1min/", "bars/QQQ/1min/")
START = "2026-06-15 09:00"
HOUR_S = 3_600.0
#: Name and longest duration of what may befall the Gateway at any time.
FAULTS = (
    ("farm_flap", 20.0), ("upstream_lost", 120.0), ("data_lost", 120.0), ("hmds_down", 90.0), ("keepup_dead", 0.0),
    ("freeze_feed", 60.0), ("socket_cut", 0.0), ("half_open", 0.0), ("restart", 90.0), ("mute", 30.0),
    ("storm_1100", 0.0), ("hmds_silent", 60.0), ("api_hang_requests", 30.0), ("secdef_down", 60.0),
)  # fmt: skip
NIGHT = ("nightly_reset", 300.0)
#: IB is away for hours from Friday 23:00 on.
WEEKEND = ("upstream_lost", 2.0 * HOUR_S)
#: After the end of a fault every stream is fresh again within this time, at worst after one breaker's pause.
HEAL_S = 180.0
FRESH_S = 30.0
#: Loud changes of the session's state that one fault may cause.
TRANSITIONS_MAX = 12


@dataclass(slots=True)
class Day:
    """What one calendar day of New York showed."""

    day: str
    faults: int = 0
    judged: int = 0
    slowest_heal_s: float = 0.0
    transitions_max: int = 0
    seconds: float = 0.0


class Days:
    """One proxy over several days."""

    def __init__(self, world: World, seed: int, tell: Callable[[Day], None] = lambda day: None) -> None:
        self.world = world
        self.dice = random.Random(seed)
        self.proxy = VirtualProxy(world, quiet=True)
        self.days: list[Day] = []
        self.faults: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.asked: list[int] = []
        self._tell = tell
        self._calendar = Calendar()
        self._start_s = datetime.fromisoformat(START).replace(tzinfo=NEW_YORK).timestamp()
        self._began = time.monotonic()

    def clock(self) -> datetime:
        return local(self._start_s + self.world.now)

    def in_session(self, margin_s: float = 300.0) -> bool:
        now_s = self._start_s + self.world.now
        return self._calendar.is_open(now_s - margin_s) and self._calendar.is_open(now_s + margin_s)

    async def live(self, until: datetime) -> None:
        await self.proxy.until("ready")
        self.proxy.subscribe(*TOPICS)
        await asyncio.sleep(30.0)
        while self.clock() < until:
            await asyncio.sleep(self.dice.uniform(900.0, 3_600.0) if self.in_session() else 1_800.0)
            await self.suffer()
        await asyncio.sleep(HEAL_S)
        self._turn_day(None)

    def _turn_day(self, day: date | None) -> Day:
        """The day that a fault begins on; the one before is told."""
        if not self.days or day is None or self.days[-1].day != str(day):
            if self.days:
                self.days[-1].seconds = round(time.monotonic() - self._began, 1)
                self._tell(self.days[-1])
            self._began = time.monotonic()
            self.days.append(Day(str(day)))
        return self.days[-1]

    def _fault(self) -> tuple[str, float]:
        here = self.clock()
        if (here.weekday(), here.hour) >= (4, 23) and self.faults[f"weekend {here:%V}"] == 0:
            self.faults[f"weekend {here:%V}"] += 1
            return WEEKEND
        return NIGHT if here.hour < 9 or here.hour == 23 else self.dice.choice(FAULTS)

    async def suffer(self) -> None:
        """One fault, one question in the middle of it, and a look when it must be over."""
        day = self._turn_day(self.clock().date())
        logged = len(self.proxy.logs)
        name, longest_s = self._fault()
        if self.in_session():
            # Whatever happened before, also at night, healed long ago: the market has been open for five minutes.
            self.wrong += [f"{one} before {name} at {self.clock():%F %T}" for one in self._stale()]
        lasts_s = self.dice.uniform(longest_s / 100 + 1.0, longest_s) if longest_s else 0.0
        self.faults[name] += 1
        day.faults += 1
        self.world.inject(name, lasts_s or None)
        await asyncio.sleep(lasts_s / 2)
        self.asked.append(self.proxy.ask("bars", 60.0, contract="AAPL", count=self.dice.randint(30, 90)))
        await asyncio.sleep(lasts_s / 2)
        if self.in_session():
            await self._heal(day, name)
        else:
            await asyncio.sleep(HEAL_S)
        states = [log for _, log in self.proxy.logs[logged:] if log.event == "gateway state" and log.level != "debug"]
        day.transitions_max = max(day.transitions_max, len(states))
        if len(states) > TRANSITIONS_MAX:
            self.wrong.append(f"{len(states)} states told for one {name} at {self.clock():%F %T}")

    async def _heal(self, day: Day, fault: str) -> None:
        """Look every few seconds until all streams are fresh; then wait the bound out, for what falls ill again."""
        ended, healed = self.world.now, None
        while self.world.now < ended + HEAL_S:
            await asyncio.sleep(5.0)
            stale = self._stale()
            healed = None if stale else healed or self.world.now - ended
        day.judged += 1
        if healed is None:
            self.wrong += [f"{one} after {fault} at {self.clock():%F %T}" for one in stale]
        else:
            day.slowest_heal_s = max(day.slowest_heal_s, round(healed, 1))

    def _stale(self) -> list[str]:
        ages = ((one, self.proxy.now - (one.last_update or 0.0)) for one in self.proxy.core.bars.streams())
        return [f"{one.topic} is {one.state} and {age_s:.0f} s old" for one, age_s in ages if age_s > FRESH_S]


def run_days(seed: int, until: str, tell: Callable[[Day], None] = lambda day: None) -> tuple[World, Days]:
    """From Monday morning to `until` ("2026-06-16 11:00", New York)."""
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    kept: list[Days] = []

    async def conversation(world: World) -> None:
        days = Days(world, seed, tell)
        kept.append(days)
        await days.live(datetime.fromisoformat(until).replace(tzinfo=NEW_YORK))
        days.proxy.stop()

    return run_virtual(conversation, start=START, seed=seed), kept[0]


def unsound(world: World, days: Days) -> list[str]:
    """Everything that was not as promised."""
    proxy = days.proxy
    wrong = [*days.wrong, *(f"violation of {line['rule']}" for line in world.violations())]
    wrong += [f"request {number} has no answer" for number in days.asked if number not in proxy.replies]
    wrong += [f"{one.error!r} has no verdict" for one in proxy.replies.values() if one.error and not one.error.verdict]
    wrong += alarms_told_twice([log for _, log in proxy.logs if log.event == "gateway state"])
    wrong += [f"a short outage was escalated at {at:.0f} s" for at, one in proxy.published if _is_escalation(one)]
    for topic in TOPICS:
        bars = proxy.bars(topic)
        starts = [bar.start_ns for bar in bars]
        if starts != sorted(set(starts)):
            wrong.append(f"{topic}: a bar twice or out of order")
        wrong += [
            f"{topic}: a hidden hole before {bar.start_ns}" for before, bar in zip(bars, bars[1:], strict=False)
            if 60_000_000_000 < bar.start_ns - before.start_ns < 3_600_000_000_000 and not bar.gap
        ]  # fmt: skip
    return wrong


def alarms_told_twice(logs: list[fx.Log]) -> list[str]:
    """One line for each transition, in a chain without a break, and no alarm again before all was well in between."""
    wrong: list[str] = []
    told: set[tuple[str, str]] = set()
    for before, log in zip([None, *logs], logs, strict=False):
        fields = log.fields
        if before is not None and fields["from"] != before.fields["to"]:
            wrong.append(f"{fields} does not follow {before.fields}")
        if fields["to"] == "ready":
            told.clear()
        alarm = (fields["to"], fields["reason"])
        if log.level == "warning" and alarm in told:
            wrong.append(f"alarm told twice: {alarm[0]}, {alarm[1]}")
        elif log.level == "warning":
            told.add(alarm)
    return wrong


def _is_escalation(publish: fx.Publish) -> bool:
    return publish.topic == "verdicts/" and bool(publish.body["evidence"].get("escalated"))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.days", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30, help="trading days (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    calendar = Calendar()
    first = calendar.on_or_after(date.fromisoformat(START[:10]))
    last = calendar.at_index(first.index + options.days - 1)
    world, days = run_days(options.seed, f"{last.day} 16:00", lambda day: print(json.dumps(asdict(day)), flush=True))
    wrong = unsound(world, days)
    told = {
        "trading_days": options.days, "seed": options.seed, "faults": sum(day.faults for day in days.days),
        "judged_in_session": sum(day.judged for day in days.days), "requests": len(days.asked),
        "slowest_heal_s": max(day.slowest_heal_s for day in days.days), "wrong": wrong,
    }  # fmt: skip
    print(json.dumps(told), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
