"""Which options exist: expiries of a class and the strikes of each expiry. Pure.

Strike lists differ per expiry, as at IB: near expiries are dense and narrow, far ones wide and coarse. The union of
strikes that reqSecDefOptParams reports therefore contains combinations that do not exist (rule book 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta

from gateway_sim.calendar import Calendar, TradingDay, nth_weekday
from gateway_sim.listings import Listing

DAILY_HORIZON_DAYS = 10
"""Trading days ahead for which daily expiries are listed."""
WEEKLY_HORIZON_DAYS = 42
"""Calendar days ahead for weekly expiries."""
MONTHLY_HORIZON_DAYS = 365
"""Calendar days ahead for third-Friday expiries."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """One expiry. `listed_days`: how many trading days before expiry its strikes were fixed."""

    day: TradingDay
    kind: str
    listed_days: int

    @property
    def text(self) -> str:
        return self.day.day.strftime("%Y%m%d")


def third_friday(day: date) -> date:
    return nth_weekday(day.year, day.month, 4, 3)


def expiries(listing: Listing, today: TradingDay, calendar: Calendar) -> list[Expiry]:
    """All expiries listed on `today`, oldest first; today's own is included until the day is over."""
    if listing.cycle == "none":
        return []
    found: dict[int, Expiry] = {}

    def add(day: date, kind: str, listed_days: int) -> None:
        trading_day = calendar.on_or_before(day)  # a holiday Friday expires on Thursday
        if trading_day.index >= today.index:
            found[trading_day.index] = Expiry(trading_day, kind, listed_days)

    if listing.cycle == "daily":
        for ahead in range(DAILY_HORIZON_DAYS + 1):
            add(calendar.at_index(today.index + ahead).day, "daily", DAILY_HORIZON_DAYS + 2)
    friday = today.day + timedelta(days=(4 - today.day.weekday()) % 7)
    for week in range(WEEKLY_HORIZON_DAYS // 7 + 1):
        add(friday + timedelta(weeks=week), "weekly", 32)
    month = today.day.replace(day=1)
    while month <= today.day + timedelta(days=MONTHLY_HORIZON_DAYS):
        add(third_friday(month), "monthly", 260)
        month = (month + timedelta(days=32)).replace(day=1)
    return [found[index] for index in sorted(found)]


def trading_class(listing: Listing, expiry: Expiry) -> str:
    """SPXW for SPX options that are not monthly; elsewhere the symbol."""
    if listing.symbol == "SPX" and expiry.kind != "monthly":
        return "SPXW"
    return listing.symbol


def strike_step(level: float, kind: str, dense: bool) -> float:
    """Distance between neighbouring strikes near the money."""
    if level > 2000:
        return 5.0 if kind != "monthly" else 25.0
    if dense:
        return 1.0
    step = 0.5 if level < 25 else 1.0 if level < 75 else 2.5 if level < 250 else 5.0
    return step if kind != "monthly" else 2.0 * step


def strikes(listing: Listing, expiry: Expiry, close_of: Callable[[int], float]) -> list[float]:
    """The strikes of one expiry, ascending.

    close_of: closing price by trading-day index; the list is centred where the price was when the expiry was listed,
    so it never changes while the expiry lives.
    """
    centre = close_of(expiry.day.index - expiry.listed_days)
    daily_volatility = listing.volatility / math.sqrt(252.0)
    half_width = min(0.6, max(0.06, 3.5 * daily_volatility * math.sqrt(expiry.listed_days)))
    step = strike_step(centre, expiry.kind, listing.cycle == "daily")
    coarse = step * 5.0
    dense_half_width = half_width if expiry.kind != "monthly" else min(half_width, 0.3)
    found: set[float] = set()
    for size, reach in ((step, dense_half_width), (coarse, half_width)):
        first = math.ceil(centre * (1.0 - reach) / size)
        last = math.floor(centre * (1.0 + reach) / size)
        found.update(round(size * k, 2) for k in range(max(1, first), last + 1))
    return sorted(found)
