"""Bars: sizes, durations and the cutting of seconds into bars. Pure.

A bar's time is its start. Bars are aligned to the clock of the exchange; the first of a session is cut at the session
start.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from gateway_sim.prices import IntArray
from gateway_sim.pricing import FloatArray

BAR_SIZES: dict[str, int] = {
    "1 secs": 1, "5 secs": 5, "10 secs": 10, "15 secs": 15, "30 secs": 30,
    "1 min": 60, "2 mins": 120, "3 mins": 180, "5 mins": 300, "10 mins": 600, "15 mins": 900, "20 mins": 1200,
    "30 mins": 1800, "1 hour": 3600, "2 hours": 7200, "3 hours": 10800, "4 hours": 14400, "8 hours": 28800,
    "1 day": 86400, "1w": 604800, "1 week": 604800, "1m": 2592000, "1 month": 2592000,
}  # fmt: skip
"""Legal bar sizes in seconds; day and longer are calendar units, not that many seconds."""

DAY = 86400
WEEK = 604800
MONTH = 2592000
SHARES_PER_TRADE = 110
"""Trades of a second: its shares by this, rounded up; so the counts of short bars add up to those of long ones."""
SMALL_BAR_MAX_S = 30
"""Bars up to this size are under the hard pacing rules (rule book 1.2)."""


@dataclass(frozen=True)
class Bars:
    """Columns of equal length, oldest first. start: epoch seconds; for day bars and longer the regular open of the
    day."""

    start: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: IntArray
    wap: FloatArray
    count: IntArray

    def __len__(self) -> int:
        return len(self.start)

    def take(self, rows: slice | IntArray) -> Bars:
        return Bars(
            self.start[rows], self.open[rows], self.high[rows], self.low[rows], self.close[rows], self.volume[rows],
            self.wap[rows], self.count[rows],
        )  # fmt: skip


EMPTY = Bars(
    np.empty(0, np.int64), np.empty(0), np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0),
    np.empty(0, np.int64),
)  # fmt: skip


def joined(parts: Iterable[Bars]) -> Bars:
    """The parts one after the other."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return EMPTY
    if len(kept) == 1:
        return kept[0]
    return Bars(*(np.concatenate([getattr(part, name) for part in kept]) for name in Bars.__dataclass_fields__))


def cut(start: int, price: FloatArray, volume: IntArray, size_s: int, since_s: float = 0.0) -> Bars:
    """Bars of `size_s` seconds over one session, from the one that `since_s` lies in.

    start: epoch second of the first sample. price, volume: one sample per second. The zone offset is a whole number of
    hours, so alignment to the epoch is alignment to the exchange's clock, except for sizes of 2 hours and more, which
    are aligned to the session start.
    """
    base = 0 if size_s <= 3600 else start
    skip = max(0, base + (int(since_s) - base) // size_s * size_s - start)
    if len(price) <= skip:
        return EMPTY
    price, volume = price[skip:], volume[skip:]
    seconds = start + skip + np.arange(len(price), dtype=np.int64)
    numbers = (seconds - base) // size_s
    first = np.concatenate(([0], np.flatnonzero(np.diff(numbers)) + 1))
    last = np.concatenate((first[1:], [len(price)])) - 1
    total = np.add.reduceat(volume, first)
    value = np.add.reduceat(price * volume, first)
    closes = price[last]
    with np.errstate(divide="ignore", invalid="ignore"):
        wap = np.where(total > 0, value / np.maximum(total, 1), closes)
    return Bars(
        seconds[first],
        price[first],
        np.maximum.reduceat(price, first),
        np.minimum.reduceat(price, first),
        closes,
        total,
        np.round(wap, 3).astype(np.float64),
        np.add.reduceat(-(-volume // SHARES_PER_TRADE), first).astype(np.int64),
    )


def merged(days: Bars, groups: list[int]) -> Bars:
    """Consecutive rows with the same group number (week, month) as one bar each."""
    if not len(days):
        return EMPTY
    numbers = np.asarray(groups)
    first = np.concatenate(([0], np.flatnonzero(np.diff(numbers)) + 1))
    last = np.concatenate((first[1:], [len(days)])) - 1
    volume = np.add.reduceat(days.volume, first)
    value = np.add.reduceat(days.wap * days.volume, first)
    wap = np.where(volume > 0, value / np.maximum(volume, 1), days.close[last])
    return Bars(
        days.start[first],
        days.open[first],
        np.maximum.reduceat(days.high, first),
        np.minimum.reduceat(days.low, first),
        days.close[last],
        volume,
        np.round(wap, 3).astype(np.float64),
        np.add.reduceat(days.count, first),
    )
