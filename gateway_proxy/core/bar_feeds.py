"""Which feed each series of bars gets: history kept up to date, or 5-second bars folded by us. Pure; no state.

IB sells two live feeds. **history** (`keepUpToDate`) costs one of the open-request slots and one market data line per
series. **real_time** (`reqRealTimeBars`) costs one line per contract, however many sizes are folded out of it, no slot,
and one unit of the historical budget when it is opened.

The preference, in this order:
1. history while slots and lines last: it is the same data as the backfill, IB's own filter included (rule book 1.6).
2. When slots or lines run short, contracts move to real_time, those with most series first, because each gives back
   most; of equals the newest, because a series that has run for long should not be touched.
3. What fits nowhere waits, the newest first, and says for which rule.
Bars of a day and more are always history: their session and their prices are the exchange's word, not a sum of trades.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from gateway_proxy.bus.topics import BAR_SECONDS

Identity = tuple[str, str]
"""Contract key and bar size: one series."""

_DAY_S = 86_400
PART_S = 5
"""Length of IB's real-time bars in seconds; it streams no other."""


class Feed(StrEnum):
    HISTORY = "history"
    REAL_TIME = "real_time"


@dataclass(frozen=True, slots=True)
class Room:
    """What all series together may take: open historical requests, and market data lines."""

    slots: int
    lines: int


@dataclass(frozen=True, slots=True)
class Place:
    """The feed of one series, or None and the name of the rule that it waits for."""

    feed: Feed | None
    held_by: str = ""


def can_fold(size: str) -> bool:
    """Whether 5-second bars make bars of this size."""
    return BAR_SECONDS[size] < _DAY_S and BAR_SECONDS[size] % PART_S == 0


def places(series: Sequence[Identity], room: Room) -> dict[Identity, Place]:
    """A place for every series; `series` in the order in which they were asked for."""
    folded = _contracts_to_fold(series, room)
    found: dict[Identity, Place] = {}
    slots, lines = room.slots, room.lines
    opened: set[str] = set()
    for identity in series:
        key, size = identity
        if key in opened and can_fold(size):
            found[identity] = Place(Feed.REAL_TIME)
        elif lines == 0:
            found[identity] = Place(None, "bar_lines")
        elif key in folded and can_fold(size):
            found[identity] = Place(Feed.REAL_TIME)
            opened.add(key)
            lines -= 1
        elif slots:
            found[identity] = Place(Feed.HISTORY)
            slots, lines = slots - 1, lines - 1
        else:
            found[identity] = Place(None, "history_open")
    return found


def _contracts_to_fold(series: Sequence[Identity], room: Room) -> set[str]:
    """As few contracts as the shortage demands."""
    sizes: dict[str, int] = {}
    newest: dict[str, int] = {}
    for position, (key, size) in enumerate(series):
        if can_fold(size):
            sizes[key] = sizes.get(key, 0) + 1
            newest[key] = position
    slots = lines = len(series)
    folded: set[str] = set()
    for key in sorted(sizes, key=lambda key: (-sizes[key], -newest[key])):
        if slots <= room.slots and (lines <= room.lines or sizes[key] == 1):
            break
        folded.add(key)
        slots -= sizes[key]
        lines -= sizes[key] - 1
    return folded
