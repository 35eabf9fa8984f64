"""Windows: when IB is expected to be away, in New York time. They quiet alarms and bar entries; probing goes on. Pure.

Rule book 7: the daily reset lies between 23:45 and 01:45, the weekend's from Friday 23:00 to Saturday 03:00.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Final

from annotated_types import Len

from gateway_proxy.core.market_time import NEW_YORK

_SECOND: Final = 1_000_000_000
_WEEK_MIN: Final = 7 * 24 * 60
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
ClockTimes = Annotated[tuple[str, ...], Len(0, 2)]


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """Begin and end of each window, New York time; an empty list means there is none."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    nightly: ClockTimes = ("23:45", "01:45")  # every night
    weekend: ClockTimes = ("Fri 23:00", "Sat 03:00")  # once a week
    bar_entries: bool = True  # no opening orders inside a window


@dataclass(frozen=True, slots=True)
class Window:
    """One window that is open now. `ends_ns`: nanoseconds since 1970."""

    name: str
    ends_ns: int


class Windows:
    """Raises ValueError for a time that cannot be read ("25:00", "Fry 23:00")."""

    def __init__(self, settings: WindowSettings) -> None:
        self._spans: list[tuple[str, int, int]] = []
        if settings.weekend:
            begin, end = (_minute_of_week(text) for text in settings.weekend)
            self._spans.append(("weekend", begin, (end - begin) % _WEEK_MIN))
        if settings.nightly:
            begin, end = (_minute_of_day(text) for text in settings.nightly)
            length = (end - begin) % (24 * 60)
            self._spans += [("nightly reset", day * 24 * 60 + begin, length) for day in range(7)]

    def current(self, wall_ns: int) -> Window | None:
        """The window that `wall_ns` lies in, the longer lasting one of two; None outside, and while time is unknown."""
        if wall_ns == 0:
            return None
        here = datetime.fromtimestamp(wall_ns / _SECOND, NEW_YORK)
        minute = here.weekday() * 24 * 60 + here.hour * 60 + here.minute
        found: list[Window] = []
        for name, begin, length in self._spans:
            elapsed = (minute - begin) % _WEEK_MIN
            if elapsed < length:
                ends = here.replace(second=0, microsecond=0) + timedelta(minutes=length - elapsed)
                found.append(Window(name, int(ends.timestamp()) * _SECOND))
        return max(found, key=lambda window: window.ends_ns, default=None)


def _minute_of_day(text: str) -> int:
    hours, colon, minutes = text.partition(":")
    if not colon or not (hours.isdigit() and minutes.isdigit()) or int(hours) > 23 or int(minutes) > 59:
        raise ValueError(f'want a time like "23:45", got {text!r}')
    return int(hours) * 60 + int(minutes)


def _minute_of_week(text: str) -> int:
    day, _, time = text.partition(" ")
    if day not in _DAYS:
        raise ValueError(f'want a day and a time like "Fri 23:00", got {text!r}')
    return _DAYS.index(day) * 24 * 60 + _minute_of_day(time)
