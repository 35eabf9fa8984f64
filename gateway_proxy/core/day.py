"""The exchange day: what counts towards the limits of one day, and when the next one begins. Pure.

It lives in the register and is changed by journal records only, so that a restart neither forgives a loss nor forgets
how many messages led to how few executions.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

_NEW_YORK: Final = ZoneInfo("America/New_York")
_SECOND: Final = 1_000_000_000


@dataclass(slots=True)
class Day:
    """Counts since the day began. `realized`: what our own executions won or lost by engine, as IB reported it.

    `starts_ns` and `ends_ns` are Gateway time; a fresh one ends before it begins, so that any moment is another day.
    """

    name: str = ""
    starts_ns: int = 0
    ends_ns: int = 0
    messages: int = 0
    executed_orders: int = 0
    realized: dict[str, float] = field(default_factory=dict)

    def book(self, engine: str, amount: float) -> None:
        """`amount` more won (lost when negative) by one engine, in currency."""
        self.realized[engine] = self.realized.get(engine, 0.0) + amount

    def holds(self, wall_ns: int) -> bool:
        return self.starts_ns <= wall_ns < self.ends_ns


def day_of(wall_ns: int) -> Day:
    """The day of New York's exchanges, from midnight to midnight there, with nothing counted yet."""
    today = datetime.fromtimestamp(wall_ns // _SECOND, _NEW_YORK).replace(hour=0, minute=0, second=0)
    tomorrow = (today + timedelta(days=1)).replace(tzinfo=_NEW_YORK)
    return Day(today.strftime("%Y%m%d"), int(today.timestamp()) * _SECOND, int(tomorrow.timestamp()) * _SECOND)
