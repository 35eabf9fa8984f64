"""Trading sessions as the Gateway states them: "20260615:0930-20260615:1600;20260616:CLOSED;…". Pure."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SECOND = 1_000_000_000


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    """The zone IB names; New York when it names none that is known."""
    try:
        return ZoneInfo(name or "America/New_York")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("America/New_York")


@lru_cache(maxsize=512)
def intervals(hours: str, zone: str) -> tuple[tuple[int, int], ...]:
    """Open intervals in nanoseconds since 1970, oldest first. Days that cannot be read are left out."""
    tz = zone_of(zone)
    found: list[tuple[int, int]] = []
    for day in hours.replace(",", ";").split(";"):
        opens, dash, closes = day.strip().partition("-")
        if not dash:
            continue
        try:
            start, end = _instant(opens, tz), _instant(closes, tz)
        except ValueError:
            continue
        found.append((start, end))
    return tuple(sorted(found))


def _instant(text: str, tz: ZoneInfo) -> int:
    """Of "20260615:0930". Not by strptime: its first call in a life imports and compiles for a millisecond."""
    date, _, time = text.partition(":")
    if len(date) != 8 or len(time) != 4 or not (date + time).isdecimal():
        raise ValueError(text)
    day = datetime(int(date[:4]), int(date[4:6]), int(date[6:]), int(time[:2]), int(time[2:]), tzinfo=tz)
    return int(day.timestamp()) * _SECOND


def is_open(hours: str, zone: str, wall_ns: int) -> bool | None:
    """Whether `wall_ns` lies in a session; None when the hours say nothing about that day."""
    known = intervals(hours, zone)
    if not known or wall_ns == 0:
        return None
    if any(start <= wall_ns < end for start, end in known):
        return True
    return False if wall_ns < known[-1][1] else None
