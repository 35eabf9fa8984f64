"""The exchange calendar: trading days, sessions, holidays, half days, in New York time. Pure.

Times leave this file as epoch seconds, so daylight saving is settled here and nowhere else.
Rules: NYSE holidays (Saturday holidays observed on Friday except New Year, Sunday ones on Monday), early close 13:00
on the day after Thanksgiving, Christmas Eve and 3 July; extended hours 04:00-20:00, until 17:00 on half days.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
ZONE_NAME = "America/New_York"

FIRST_YEAR = 2006
LAST_YEAR = 2045


@dataclass(frozen=True, slots=True)
class TradingDay:
    """One trading day; all times are epoch seconds. `index` counts trading days since the start of FIRST_YEAR."""

    day: date
    index: int
    pre_open: int
    open: int
    close: int
    post_close: int

    @property
    def is_half_day(self) -> bool:
        return self.close - self.open < 23_400

    @property
    def regular_s(self) -> int:
        return self.close - self.open


def easter(year: int) -> date:
    """Easter Sunday, anonymous Gregorian algorithm."""
    a, b, c = year % 19, year // 100, year % 100
    d, e = b // 4, b % 4
    g = (8 * b + 13) // 25
    h = (19 * a + b - d - g + 15) % 30
    i, k = c // 4, c % 4
    m = (32 + 2 * e + 2 * i - h - k) % 7
    n = (a + 11 * h + 22 * m) // 451
    month = (h + m - 7 * n + 114) // 31
    return date(year, month, (h + m - 7 * n + 114) % 31 + 1)


def nth_weekday(year: int, month: int, weekday: int, n: int) -> date:
    """The n-th given weekday (Monday 0) of a month; n = -1 is the last one."""
    if n > 0:
        first = date(year, month, 1)
        return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (n - 1))
    following = date(year + month // 12, month % 12 + 1, 1)
    last = following - timedelta(days=1)
    return last - timedelta(days=(last.weekday() - weekday) % 7)


@lru_cache(maxsize=64)
def holidays(year: int) -> frozenset[date]:
    """Full-day closures of the year."""

    def observed(day: date) -> date:
        return day + timedelta(days={5: -1, 6: 1}.get(day.weekday(), 0))

    closed = {
        nth_weekday(year, 1, 0, 3),
        nth_weekday(year, 2, 0, 3),
        easter(year) - timedelta(days=2),
        nth_weekday(year, 5, 0, -1),
        observed(date(year, 7, 4)),
        nth_weekday(year, 9, 0, 1),
        nth_weekday(year, 11, 3, 4),
        observed(date(year, 12, 25)),
    }
    new_year = date(year, 1, 1)
    if new_year.weekday() != 5:  # a Saturday New Year is not observed on Friday (NYSE rule 7.2)
        closed.add(observed(new_year))
    if year >= 2022:
        closed.add(observed(date(year, 6, 19)))
    return frozenset(closed)


@lru_cache(maxsize=64)
def half_days(year: int) -> frozenset[date]:
    """Days that close at 13:00."""
    candidates = {nth_weekday(year, 11, 3, 4) + timedelta(days=1), date(year, 12, 24), date(year, 7, 3)}
    return frozenset(day for day in candidates if day.weekday() < 5 and day not in holidays(year))


def epoch(day: date, hour: int, minute: int = 0, second: int = 0) -> int:
    """Epoch seconds of a New York wall time."""
    return int(datetime.combine(day, time(hour, minute, second), NEW_YORK).timestamp())


def local(epoch_s: float) -> datetime:
    """New York wall time of an epoch second."""
    return datetime.fromtimestamp(epoch_s, NEW_YORK)


class Calendar:
    """Trading days by date, by index and by epoch second.

    extra_holidays, extra_half_days: closures a scenario adds.
    """

    def __init__(
        self, extra_holidays: frozenset[date] = frozenset(), extra_half_days: frozenset[date] = frozenset()
    ) -> None:
        self._extra_half_days = extra_half_days
        days = []
        day = date(FIRST_YEAR, 1, 1)
        while day.year <= LAST_YEAR:
            if day.weekday() < 5 and day not in extra_holidays and day not in holidays(day.year):
                days.append(day)
            day += timedelta(days=1)
        self._days = days
        self._index = {day: index for index, day in enumerate(days)}
        self._cache: dict[int, TradingDay] = {}

    def __len__(self) -> int:
        return len(self._days)

    def is_trading_day(self, day: date) -> bool:
        return day in self._index

    def at_index(self, index: int) -> TradingDay:
        """The trading day with that index. Raises IndexError outside FIRST_YEAR..LAST_YEAR."""
        if index < 0:
            raise IndexError(f"no trading day with index {index}")
        known = self._cache.get(index)
        if known is None:
            day = self._days[index]
            half = day in half_days(day.year) or day in self._extra_half_days
            close_hour, post_hour = (13, 17) if half else (16, 20)
            known = TradingDay(
                day, index, epoch(day, 4), epoch(day, 9, 30), epoch(day, close_hour), epoch(day, post_hour)
            )
            self._cache[index] = known
        return known

    def on(self, day: date) -> TradingDay | None:
        """The trading day of that date, None on a closed day."""
        index = self._index.get(day)
        return None if index is None else self.at_index(index)

    def on_or_before(self, day: date) -> TradingDay:
        return self.at_index(bisect_right(self._days, day) - 1)

    def on_or_after(self, day: date) -> TradingDay:
        return self.at_index(bisect_left(self._days, day))

    def current(self, epoch_s: float) -> TradingDay:
        """The latest trading day whose pre-market has begun."""
        candidate = self.on_or_before(local(epoch_s).date())
        return candidate if candidate.pre_open <= epoch_s else self.at_index(candidate.index - 1)

    def is_open(self, epoch_s: float, extended: bool = False) -> bool:
        """Whether the regular (or extended) session is on."""
        day = self.current(epoch_s)
        return epoch_s < day.post_close if extended else day.open <= epoch_s < day.close

    def next_open(self, epoch_s: float) -> TradingDay:
        """The next trading day whose regular session opens after `epoch_s`."""
        day = self.current(epoch_s)
        return day if epoch_s < day.open else self.at_index(day.index + 1)
