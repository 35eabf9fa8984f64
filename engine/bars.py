"""The engine's memory of bars: one window of completed bars per symbol, in arrays the kernels read as they are.

Only completed, believable bars enter. Late bars fill their hole, repeated ones change nothing, corrected ones replace.
Indicators are computed over the window afresh, so a repaired gap or a restarted engine gives the same numbers as an
engine that saw every bar in order.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable

import numpy as np

from engine.indicators.compile import FloatArray, IntArray
from engine.indicators.fast import CLOSE, HIGH, LOW, OPEN, PRICE_ROWS, SESSION, VOLUME
from engine.sessions import session_of
from gateway_proxy import Bar


class Taken(enum.Enum):
    """What became of an offered bar."""

    APPENDED = "appended"
    FORMING = "still forming"
    DUPLICATE = "already held"
    REVISED = "replaced the held one"
    FILLED = "filled a hole"
    TOO_OLD = "older than the window"
    REFUSED = "not believable"


class BarWindow:
    """The newest `capacity` completed bars, oldest first, without a copy.

    The arrays are twice as long as the window; when the end is reached the window moves back to the start, which costs
    one copy in `capacity` appends.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 2:
            raise ValueError(f"a window holds at least 2 bars, not {capacity}")
        self.capacity = capacity
        self.prices = np.full((PRICE_ROWS, 2 * capacity), np.nan)
        self._start_ns = np.zeros(2 * capacity, np.int64)
        self._gap = np.zeros(2 * capacity, np.bool_)
        self.first = 0
        self.stop = 0

    def __len__(self) -> int:
        return self.stop - self.first

    @property
    def open(self) -> FloatArray:
        return self.prices[OPEN, self.first : self.stop]

    @property
    def high(self) -> FloatArray:
        return self.prices[HIGH, self.first : self.stop]

    @property
    def low(self) -> FloatArray:
        return self.prices[LOW, self.first : self.stop]

    @property
    def close(self) -> FloatArray:
        return self.prices[CLOSE, self.first : self.stop]

    @property
    def volume(self) -> FloatArray:
        return self.prices[VOLUME, self.first : self.stop]

    @property
    def session(self) -> IntArray:
        """The New York date of each bar as an ordinal."""
        return self.prices[SESSION, self.first : self.stop].astype(np.int64)

    @property
    def start_ns(self) -> IntArray:
        return self._start_ns[self.first : self.stop]

    @property
    def last_start_ns(self) -> int | None:
        return int(self._start_ns[self.stop - 1]) if len(self) else None

    @property
    def bars_since_gap(self) -> int:
        """Bars after and including the newest one that follows missing bars; the whole length if there is none."""
        marks = np.flatnonzero(self._gap[self.first : self.stop])
        return len(self) - int(marks[-1]) if marks.size else len(self)

    def take(self, bar: Bar) -> Taken:
        """Offer one bar. The window changes for APPENDED, REVISED and FILLED, and for nothing else."""
        if not bar.complete:
            return Taken.FORMING
        if unbelievable(bar):
            return Taken.REFUSED
        if len(self) == 0 or bar.start_ns > self._start_ns[self.stop - 1]:
            self._append(bar)
            return Taken.APPENDED
        at = self.first + int(np.searchsorted(self.start_ns, bar.start_ns))
        if self._start_ns[at] == bar.start_ns:
            return self._replace(at, bar)
        if at == self.first and len(self) == self.capacity:
            return Taken.TOO_OLD
        self._insert(at, bar)
        return Taken.FILLED

    def take_all(self, bars: Iterable[Bar]) -> list[Taken]:
        """Offer many bars, such as the answer to a `bars` request, oldest first. Never fails half-way."""
        return [self.take(bar) for bar in bars]

    def heal(self) -> None:
        """Forget the gap marks, after a backfill has answered for the whole window."""
        self._gap[:] = False

    def _append(self, bar: Bar) -> None:
        if self.stop == 2 * self.capacity:
            keep = self.capacity - 1
            for row in (*self.prices, self._start_ns, self._gap):
                row[:keep] = row[self.stop - keep : self.stop]
            self.first, self.stop = 0, keep
        self.stop += 1
        self.first = max(self.first, self.stop - self.capacity)
        self._write(self.stop - 1, bar)

    def _insert(self, at: int, bar: Bar) -> None:
        # Rare, so plain: the window is rebuilt at the start of the arrays, and the oldest bar leaves if it was full.
        held, place = slice(self.first, self.stop), at - self.first
        length = min(len(self) + 1, self.capacity)
        place -= len(self) + 1 - length
        for row in (*self.prices, self._start_ns, self._gap):
            row[:length] = np.insert(row[held], at - self.first, 0)[-length:]
        self.first, self.stop = 0, length
        self._write(place, bar)

    def _replace(self, at: int, bar: Bar) -> Taken:
        held = self.prices[:, at]
        same = held[[OPEN, HIGH, LOW, CLOSE, VOLUME]].tolist() == [bar.open, bar.high, bar.low, bar.close, bar.volume]
        if same:
            return Taken.DUPLICATE
        self._write(at, bar)
        return Taken.REVISED

    def _write(self, at: int, bar: Bar) -> None:
        self.prices[OPEN, at] = bar.open
        self.prices[HIGH, at] = bar.high
        self.prices[LOW, at] = bar.low
        self.prices[CLOSE, at] = bar.close
        self.prices[VOLUME, at] = bar.volume
        self.prices[SESSION, at] = session_of(bar.start_ns)
        self._start_ns[at] = bar.start_ns
        self._gap[at] = bar.gap


def unbelievable(bar: Bar) -> str | None:
    """Why these numbers cannot be a bar, or None. A bar without trades (volume 0) is a bar."""
    prices = (bar.open, bar.high, bar.low, bar.close)
    if not all(math.isfinite(price) and price > 0 for price in prices):
        return "a price is missing, zero or negative"
    if not (math.isfinite(bar.volume) and bar.volume >= 0):
        return "volume is missing or negative"
    if bar.high < max(prices) or bar.low > min(prices):
        return "high and low do not enclose open and close"
    if bar.start_ns <= 0:
        return "no start time"
    return None
