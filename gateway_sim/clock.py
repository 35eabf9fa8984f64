"""Market time as a function of simulated elapsed seconds. Pure.

Two times exist. *Elapsed* simulated seconds `t` start at 0 with the process and never jump: limits, the ledger and
every delay use them. *Market time* is the epoch second the Gateway would show; bars, quotes and orders use it. With
`skip_closed` market time jumps from each close to the next regular open (nights and weekends take no time at all);
without it the two run in parallel and nights pass normally.
"""

from __future__ import annotations

from datetime import datetime

from gateway_sim.calendar import NEW_YORK, Calendar, TradingDay

DEFAULT_START = "2026-06-15 11:00"
"""A Monday with no holiday near; fixed so that runs are reproducible."""


def parse_start(text: str) -> float:
    """Epoch seconds of `YYYY-MM-DD HH:MM[:SS]` New York time. Raises ValueError."""
    return datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).timestamp()


class MarketClock:
    """Maps elapsed seconds to market epoch seconds and back."""

    def __init__(self, calendar: Calendar, start_epoch: float, skip_closed: bool = False) -> None:
        self._calendar = calendar
        self._skip_closed = skip_closed
        if skip_closed and not calendar.is_open(start_epoch):
            start_epoch = float(calendar.next_open(start_epoch).open)
        self.start_epoch = start_epoch
        first = calendar.current(start_epoch)
        self._segments: list[tuple[float, TradingDay]] = [(first.open - start_epoch, first)]
        """Per trading day: the elapsed second of its regular open."""

    def market_time(self, elapsed_s: float) -> float:
        """Epoch seconds shown by the Gateway at that elapsed second."""
        if not self._skip_closed:
            return self.start_epoch + elapsed_s
        index = len(self._segments) - 1
        while self._segments[index][0] > elapsed_s and index > 0:
            index -= 1
        opened, day = self._segments[index]
        while elapsed_s >= opened + day.regular_s:
            opened, day = self._following(index)
            index += 1
        return day.open + (elapsed_s - opened)

    def elapsed_at(self, epoch_s: float) -> float:
        """The elapsed second at which market time reaches `epoch_s` (closed hours map to the next open)."""
        if not self._skip_closed:
            return epoch_s - self.start_epoch
        index = 0
        opened, day = self._segments[0]
        while epoch_s >= day.close:
            opened, day = self._following(index)
            index += 1
        return opened + max(0.0, epoch_s - day.open)

    def _following(self, index: int) -> tuple[float, TradingDay]:
        if index + 1 == len(self._segments):
            opened, day = self._segments[index]
            self._segments.append((opened + day.regular_s, self._calendar.at_index(day.index + 1)))
        return self._segments[index + 1]
