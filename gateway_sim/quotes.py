"""A quote: one contract's market at one moment. Words only."""

from __future__ import annotations

from typing import NamedTuple

NO_PRICE = -1.0


class Quote(NamedTuple):
    """Prices are -1 (sizes 0) where IB would send none. last_time: epoch seconds."""

    bid: float
    ask: float
    last: float
    bid_size: int
    ask_size: int
    last_size: int
    volume: int
    open: float
    high: float
    low: float
    previous_close: float
    last_time: int
    halted: bool = False

    @property
    def has_market(self) -> bool:
        return self.ask > 0.0 and not self.halted

    @property
    def mark(self) -> float:
        """The price positions are valued at."""
        if self.bid > 0.0 and self.ask > 0.0:
            return (self.bid + self.ask) / 2.0
        return self.last


def mixed(first: int, second: int) -> int:
    """A 32-bit hash of two small integers, the same in every process."""
    value = ((0x9E3779B9 ^ first) * 0x85EBCA6B) & 0xFFFFFFFF
    value = ((value ^ value >> 13 ^ second) * 0x85EBCA6B) & 0xFFFFFFFF
    return value ^ value >> 13
