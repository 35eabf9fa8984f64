"""`make days DAYS=30 SEED=1`: trading days in virtual time, with nightly resets, weekends and a fault every half hour.

The proxy's core and its real upstream talk to the simulator without sockets. What happened is judged in the end, on
every message (judge.py): after every fault and at every opening each stream must be fresh again within its bound; every
request must have ended in a verdict; one outage must be told once. Prints one JSON line a day and returns 0 when all
was sound.
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
from typing import Any

from gateway_sim.calendar import NEW_YORK, Calendar, local
from gateway_sim.testing import World, run_virtual
from tests.scenarios.freshness import Blow
from tests.scenarios.judge import History, unsound
from tests.scenarios.virtual_proxy import VirtualProxy

TOPICS = ("bars/SPY/1min/", "bars/QQQ/1min/")
#: Ticks make a day eight times as long, so a quote is watched only where it is asked for.
QUOTE = "quote/SPY/"
START = "2026-06-15 09:00"
HOUR_S = 3_600.0
#: Name and longest duration.
Kinds = tuple[tuple[str, float], ...]
#: What may befall the Gateway at any time.
FAULTS: Kinds = (
    ("farm_flap", 20.0), ("upstream_lost", 120.0), ("data_lost", 120.0), ("hmds_down", 90.0), ("keepup_dead", 0.0),
    ("freeze_feed", 60.0), ("socket_cut", 0.0), ("half_open", 0.0), ("restart", 90.0), ("mute", 30.0),
    ("storm_1100", 0.0), ("hmds_silent", 60.0), ("api_hang_requests", 30.0), ("secdef_down", 60.0),
)  # fmt: skip
NIGHT = ("nightly_reset", 300.0)
#: IB is away for hours from Friday 23:00 on.
WEEKEND = ("upstream_lost", 2.0 * HOUR_S)
#: The next fault comes no sooner than this after the end of one: longer than any may need to heal (freshness.py).
HEAL_S = 180.0
ANSWERED_S = 60.0
#: Loud changes of the session's state that one fault may cause.
TRANSITIONS_MAX = 12


@dataclass(slots=True)
class Day:
    """What one calendar day of New York showed."""

    day: str
    faults: int = 0
    transitions_max: int = 0
    seconds: float = 0.0


class Days:
    """One proxy over several days."""

    def __init__(
        self, world: World, seed: int, topics: tuple[str, ...], kinds: Kinds, tell: Callable[[Day], None]
    ) -> None:
        self.world = world
        self.topics = topics
        self.kinds = kinds
        self.dice = random.Random(seed)
        self.proxy = VirtualProxy(world, quiet=True)
        self.days: list[Day] = []
        self.faults: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.asked: dict[int, float] = {}
        self.watched_from = 0.0
        self._tell = tell
        self._calendar = Calendar()
        self._start_s = datetime.fromisoformat(START).replace(tzinfo=NEW_YORK).timestamp()
        self._began = time.monotonic()

    def clock(self) -> datetime:
        return local(self._start_s + self.world.now)

    def in_session(self) -> bool:
        return self._calendar.is_open(self._start_s + self.world.now)

    async def live(self, until: datetime) -> None:
        await self.proxy.until("ready")
        self.proxy.subscribe(*self.topics)
        await asyncio.sleep(30.0)
        self.watched_from = self.world.now
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
        return NIGHT if here.hour < 9 or here.hour == 23 else self.dice.choice(self.kinds)

    async def suffer(self) -> None:
        """One fault, one question in the middle of it, and time to heal before the next."""
        day = self._turn_day(self.clock().date())
        logged = len(self.proxy.logs)
        name, longest_s = self._fault()
        lasts_s = self.dice.uniform(longest_s / 100 + 1.0, longest_s) if longest_s else 0.0
        self.faults[name] += 1
        day.faults += 1
        self.world.inject(name, lasts_s or None)
        await asyncio.sleep(lasts_s / 2)
        asked = self.proxy.ask("bars", ANSWERED_S, contract="AAPL", count=self.dice.randint(30, 90))
        self.asked[asked] = self.proxy.now + ANSWERED_S
        await asyncio.sleep(lasts_s / 2 + HEAL_S)
        states = [log for _, log in self.proxy.logs[logged:] if log.event == "gateway state" and log.level != "debug"]
        day.transitions_max = max(day.transitions_max, len(states))
        if len(states) > TRANSITIONS_MAX:
            self.wrong.append(f"{len(states)} states told for one {name} at {self.clock():%F %T}")

    def history(self) -> History:
        """Everything that happened, for the judge."""
        faults = [line for line in self.world.events("fault") if not line.get("ended")]
        first = self._calendar.current(self._start_s)
        days = [self._calendar.at_index(first.index + number) for number in range(-1, len(self.days) + 1)]
        return History(
            start_ns=int(self._start_s * 1e9),
            watched=(self.watched_from, self.world.now),
            sessions=[(day.open - self._start_s, day.close - self._start_s) for day in days],
            topics=self.topics,
            blows=[Blow(line["name"], line["t"], line["until"]) for line in faults],
            published=self.proxy.published,
            logs=self.proxy.logs,
            asked=self.asked,
            replies=self.proxy.replied,
            violations=[line["rule"] for line in self.world.violations()],
        )


def run_days(
    seed: int, until: str, *, topics: tuple[str, ...] = TOPICS, kinds: Kinds = FAULTS,
    tell: Callable[[Day], None] = lambda day: None,
) -> tuple[History, Days]:  # fmt: skip
    """From Monday morning to `until` ("2026-06-16 11:00", New York)."""
    logging.getLogger("ib_async").setLevel(logging.CRITICAL)
    kept: list[Days] = []

    async def conversation(world: World) -> None:
        days = Days(world, seed, topics, kinds, tell)
        kept.append(days)
        await days.live(datetime.fromisoformat(until).replace(tzinfo=NEW_YORK))
        days.proxy.stop()

    run_virtual(conversation, start=START, seed=seed)
    return kept[0].history(), kept[0]


def summary(history: History, days: Days) -> dict[str, Any]:
    """What was judged, and how long the slowest took, by kind of fault."""
    silences = history.silences()
    slowest: dict[str, float] = {}
    for one in silences:
        if one.blow is not None and one.healed_s is not None:
            slowest[one.blow.name] = max(slowest.get(one.blow.name, 0.0), round(one.healed_s, 1))
    return {
        "faults": len(history.blows), "kinds": dict(sorted(days.faults.items())), "requests": len(history.asked),
        "silences": len(silences), "openings": len(history.openings()), "healed_s": dict(sorted(slowest.items())),
        "slowest_opening_s": round(max(history.openings(), default=0.0), 1),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.scenarios.days", description=__doc__.splitlines()[0])
    parser.add_argument("--days", type=int, default=30, help="trading days (default 30)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quote", action="store_true", help=f"watch {QUOTE} as well; eight times as slow")
    options = parser.parse_args()
    calendar = Calendar()
    first = calendar.on_or_after(date.fromisoformat(START[:10]))
    last = calendar.at_index(first.index + options.days - 1)
    topics = (*TOPICS, QUOTE) if options.quote else TOPICS
    history, days = run_days(
        options.seed, f"{last.day} 16:00", topics=topics, tell=lambda day: print(json.dumps(asdict(day)), flush=True)
    )
    wrong = [*days.wrong, *unsound(history)]
    told = {"trading_days": options.days, "seed": options.seed, **summary(history, days), "wrong": wrong}
    print(json.dumps(told), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
