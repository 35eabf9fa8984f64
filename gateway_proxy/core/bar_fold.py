"""Folding 5-second bars into a bar of any size up to a session, cut where IB cuts it. Pure.

A fold is finished only if it has seen every part of its interval: whatever it missed is for history to tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, auto

from gateway_proxy.bus.messages import Bar
from gateway_proxy.core.bar_feeds import PART_S
from gateway_proxy.core.sessions import intervals, zone_of

_SECOND = 1_000_000_000
PART_NS = PART_S * _SECOND
_HOUR_S = 3_600


@dataclass(frozen=True, slots=True)
class Span:
    """The interval of the bar that a moment belongs to; `opens_ns`: when its session opened, 0 outside of one."""

    start_ns: int
    end_ns: int
    opens_ns: int


def span_of(at_ns: int, bar_s: int, hours: str, zone: str) -> Span:
    """Bars are aligned to the exchange's clock, those of more than an hour to the opening; the session cuts both ends.

    hours, zone: the contract's liquid hours as IB tells them. `bar_s`: less than a day.
    """
    bar_ns = bar_s * _SECOND
    session = next(((start, end) for start, end in intervals(hours, zone) if start <= at_ns < end), None)
    if session is not None and bar_s > _HOUR_S:
        base_ns = session[0]
    else:
        midnight = datetime.fromtimestamp(at_ns // _SECOND, zone_of(zone)).replace(hour=0, minute=0, second=0)
        base_ns = int(midnight.timestamp()) * _SECOND
    start_ns = base_ns + (at_ns - base_ns) // bar_ns * bar_ns
    if session is None:
        return Span(start_ns, start_ns + bar_ns, 0)
    return Span(max(start_ns, session[0]), min(start_ns + bar_ns, session[1]), session[0])


class Step(Enum):
    """What a part did. LACKS: trades of this bar, or bars before it, were never seen; only history knows them."""

    GROWS = auto()
    ENDS = auto()
    LACKS = auto()


class Fold:
    """The bar under way. `bar` is None until a part came after `begin` or after the last bar ended."""

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self._seen_until_ns = 0
        self._is_whole = False

    def begin(self, known_until_ns: int, seed: Bar | None = None) -> None:
        """Everything before `known_until_ns` is known from history. `seed`: its view of the bar under way, if the
        parts do not reach back to that bar's start; such a bar grows, but is never finished here."""
        self.bar, self._seen_until_ns, self._is_whole = seed, known_until_ns, False

    def add(self, part: Bar, span: Span) -> Step:
        """Take the next 5-second bar in; `span` is the interval it belongs to."""
        begins, follows = part.start_ns == span.start_ns, part.start_ns in (self._seen_until_ns, span.opens_ns)
        grows = self.bar is not None and self.bar.start_ns == span.start_ns
        skips = not grows and (self.bar is not None or (not follows and span.start_ns > self._seen_until_ns))
        if self.bar is None or begins or not grows:
            # A seed that the first part reaches back to is not needed.
            self.bar, self._is_whole = replace(part, start_ns=span.start_ns), begins and not skips
        else:
            self.bar, self._is_whole = joined(self.bar, part), self._is_whole and follows
        self._seen_until_ns = part.start_ns + PART_NS
        if skips:
            return Step.LACKS
        if self._seen_until_ns < span.end_ns:
            return Step.GROWS
        return Step.ENDS if self._is_whole else Step.LACKS

    def end(self) -> None:
        """The bar was finished."""
        self.bar = None


def joined(bar: Bar, part: Bar) -> Bar:
    """`bar` with a later part. A part without a trade repeats the last price, which is no news; wap is by volume."""
    if _is_tradeless(part):
        return bar
    if _is_tradeless(bar):
        return replace(part, start_ns=bar.start_ns)
    volume = bar.volume + part.volume
    wap = None
    if bar.wap is not None and part.wap is not None and volume > 0:
        wap = (bar.wap * bar.volume + part.wap * part.volume) / volume
    return replace(
        bar,
        high=max(bar.high, part.high),
        low=min(bar.low, part.low),
        close=part.close,
        volume=volume,
        wap=wap,
        count=None if bar.count is None or part.count is None else bar.count + part.count,
    )


def _is_tradeless(bar: Bar) -> bool:
    """Quotes and indices have no counts; their bars always say something."""
    return bar.count == 0 and bar.volume == 0
