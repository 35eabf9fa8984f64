"""Market time: which New York session a bar belongs to, and how far it is from open and close. Pure.

Decisions take their time from bars, never from this computer, so a replay and a fast simulator decide like the market.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from functools import lru_cache
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
OPEN_MINUTE = 9 * 60 + 30
CLOSE_MINUTE = 16 * 60
EARLY_CLOSE_MINUTE = 13 * 60
NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class MarketClock:
    """The moment a bar ended, as the market counts it.

    `session` is the New York date as an ordinal; minutes are relative to that session's regular hours and negative
    before the open or after the close.
    """

    bar_start_ns: int
    now_ns: int
    session: int
    minutes_since_open: float
    minutes_to_close: float

    @property
    def is_regular(self) -> bool:
        return self.minutes_since_open >= 0 and self.minutes_to_close >= 0

    @property
    def date(self) -> datetime.date:
        return datetime.date.fromordinal(self.session)


def market_clock(bar_start_ns: int, bar_s: int) -> MarketClock:
    """The clock at the end of a bar of `bar_s` seconds that started at `bar_start_ns` (UTC nanoseconds)."""
    end_ns = bar_start_ns + bar_s * NS_PER_S
    session, start_minute = _new_york(bar_start_ns)
    end_minute = start_minute + bar_s / 60
    close = close_minute(datetime.date.fromordinal(session))
    return MarketClock(bar_start_ns, end_ns, session, end_minute - OPEN_MINUTE, close - end_minute)


def session_of(bar_start_ns: int) -> int:
    """The New York date of a bar, as an ordinal."""
    return _new_york(bar_start_ns)[0]


def _new_york(time_ns: int) -> tuple[int, float]:
    seconds = time_ns // NS_PER_S
    shift_s = _utc_offset_s(seconds // 3600)
    day, in_day_s = divmod(seconds + shift_s, 86_400)
    return day + 719_163, in_day_s / 60  # 719163 is the ordinal of 1970-01-01


@lru_cache(maxsize=4096)
def _utc_offset_s(hour: int) -> int:
    # New York changes its clocks on the hour, so one answer holds for a whole hour.
    offset = datetime.datetime.fromtimestamp(hour * 3600, NEW_YORK).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


@lru_cache(maxsize=512)
def close_minute(day: datetime.date) -> int:
    """Minute of the New York day at which stocks close: 16:00, or 13:00 on half days.

    Half days (NYSE Rule 7.2): the day after Thanksgiving, 24 December and 3 July, when they are Monday to Friday and
    3 July is not itself the observed holiday.
    """
    if day == _thanksgiving(day.year) + datetime.timedelta(days=1):
        return EARLY_CLOSE_MINUTE
    if (day.month, day.day) == (12, 24) and day.weekday() < 4:
        return EARLY_CLOSE_MINUTE
    # On a Friday 3 July or 24 December the holiday itself is observed: no session at all.
    if (day.month, day.day) == (7, 3) and day.weekday() < 4:
        return EARLY_CLOSE_MINUTE
    return CLOSE_MINUTE


def _thanksgiving(year: int) -> datetime.date:
    first = datetime.date(year, 11, 1)
    return first + datetime.timedelta(days=(3 - first.weekday()) % 7 + 21)
