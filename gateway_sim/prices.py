"""The one price source: every second of every trading day of every underlying, from a seed. Pure.

A day is a function of (seed, symbol, date) alone, whatever was asked before. It is made in three segments (pre-market,
regular, post-market) of one sample per second:

* closes follow a daily random walk through the listing's level on the anchor day, in part shared by the whole market;
* inside a session, slow waves of 4 to 60 minutes (trends and pullbacks) and noise whose size is U-shaped over the day
and
  clustered lie on the line from open to close;
* bid and ask sit on the cent grid around the middle, each second's trade prints at one of them, volume is U-shaped.

Jumps, halts and replayed days are laid over this by `Overlay`.
"""

from __future__ import annotations

import math
import zlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import date
from enum import IntEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gateway_sim.calendar import Calendar, TradingDay
from gateway_sim.listings import Listing
from gateway_sim.pricing import FloatArray

IntArray = NDArray[np.int64]

ANCHOR_DAY = date(2026, 6, 12)
"""On this day's close every listing trades at its level."""
TICKS_PER_DOLLAR = 100
OVERNIGHT_SHARE = 0.35
"""Share of the daily standard deviation that happens between close and open."""
WAVE_SHARE = 0.7
"""Share of a session's standard deviation carried by waves rather than noise."""
SEGMENTS_KEPT = 128
"""As many as a client has lines, and some; made anew at every update they would be slow. 0.75 MB each."""


class Part(IntEnum):
    """The three sessions of a trading day."""

    PRE = 0
    REGULAR = 1
    POST = 2


@dataclass(frozen=True)
class Segment:
    """One session of one underlying, one sample per second; prices in dollars, volume in shares."""

    start: int
    mid: FloatArray
    bid: FloatArray
    ask: FloatArray
    last: FloatArray
    volume: IntArray

    def __len__(self) -> int:
        return len(self.mid)

    @cached_property
    def high_so_far(self) -> FloatArray:
        result: FloatArray = np.maximum.accumulate(self.last)
        return result

    @cached_property
    def low_so_far(self) -> FloatArray:
        result: FloatArray = np.minimum.accumulate(self.last)
        return result

    @cached_property
    def high_index(self) -> IntArray:
        """Where the high so far was made, for each second."""
        return self._latest(np.diff(self.high_so_far, prepend=-np.inf) > 0.0)

    @cached_property
    def low_index(self) -> IntArray:
        """Where the low so far was made, for each second."""
        return self._latest(np.diff(self.low_so_far, prepend=np.inf) < 0.0)

    @staticmethod
    def _latest(made: NDArray[np.bool_]) -> IntArray:
        result: IntArray = np.maximum.accumulate(np.where(made, np.arange(len(made)), 0))
        return result

    @cached_property
    def volume_so_far(self) -> IntArray:
        return np.cumsum(self.volume)


@dataclass(frozen=True, slots=True)
class Jump:
    """From `epoch_s` on the symbol ("*": all) trades at `factor` times what it would have."""

    symbol: str
    epoch_s: float
    factor: float


@dataclass(frozen=True, slots=True)
class Halt:
    """No trades and no quotes from `start_s` until `end_s` (epoch)."""

    symbol: str
    start_s: float
    end_s: float


@dataclass
class Overlay:
    """What a scenario changes about the seeded prices. `replays` holds recorded regular sessions by (symbol, date)."""

    jumps: list[Jump] = field(default_factory=list)
    halts: list[Halt] = field(default_factory=list)
    replays: dict[tuple[str, date], tuple[FloatArray, IntArray]] = field(default_factory=dict)

    def factor(self, symbol: str, epoch_s: float) -> float:
        """Product of the jumps of `symbol` until `epoch_s`."""
        product = 1.0
        for jump in self.jumps:
            if jump.epoch_s <= epoch_s and jump.symbol in ("*", symbol):
                product *= jump.factor
        return product

    def halted(self, symbol: str, epoch_s: float) -> bool:
        return any(halt.symbol in ("*", symbol) and halt.start_s <= epoch_s < halt.end_s for halt in self.halts)


def session_bounds(day: TradingDay, part: Part) -> tuple[int, int]:
    """First second and end of a session, epoch seconds."""
    return ((day.pre_open, day.open), (day.open, day.close), (day.close, day.post_close))[part]


class PriceSource:
    """Seconds, closes and opens of underlyings. Keeps the most recently used segments, the rest is made again on
    demand."""

    def __init__(self, seed: int, calendar: Calendar) -> None:
        self._seed = seed
        self._calendar = calendar
        self.overlay = Overlay()
        self._anchor = calendar.on_or_before(ANCHOR_DAY).index
        self._segments: OrderedDict[tuple[str, int, Part], Segment] = OrderedDict()
        self._factors: OrderedDict[tuple[int, Part], FloatArray] = OrderedDict()
        self._daily: dict[str, tuple[FloatArray, FloatArray]] = {}
        self._previous_closes: dict[tuple[str, int], float] = {}
        self._part: tuple[float, float, TradingDay, Part] | None = None

    def part_at(self, epoch_s: float) -> tuple[TradingDay, Part | None]:
        """The current trading day and which of its sessions is on (None at night)."""
        known = self._part
        if known is not None and known[0] <= epoch_s < known[1]:
            return known[2], known[3]
        day = self._calendar.current(epoch_s)
        for part in Part:
            start, end = session_bounds(day, part)
            if start <= epoch_s < end:
                self._part = (start, end, day, part)
                return day, part
        return day, None

    def day_before(self, day: TradingDay) -> TradingDay:
        return self._calendar.at_index(day.index - 1)

    def previous_close(self, listing: Listing, day: TradingDay) -> float:
        """Last price of the regular session before `day`."""
        key = (listing.symbol, day.index)
        known = self._previous_closes.get(key)
        if known is None:
            segment = self.segment(listing, self.day_before(day), Part.REGULAR)
            known = self._previous_closes[key] = float(segment.last[-1])
        return known

    def add_jump(self, jump: Jump) -> None:
        """Lay a jump over the prices, also over segments already made."""
        self.overlay.jumps.append(jump)
        self._segments.clear()
        self._previous_closes.clear()

    def add_halt(self, halt: Halt) -> None:
        self.overlay.halts.append(halt)
        self._segments.clear()

    def listed_close(self, listing: Listing, index: int) -> float:
        """The day's unrounded close, jumps left out (strike lists are centred on it and must not move)."""
        return float(self._closes(listing)[0][index])

    def listed_open(self, listing: Listing, index: int) -> tuple[float, float]:
        """The close before and the open of a day, unrounded and without jumps."""
        closes, opens = self._closes(listing)
        return float(closes[index - 1]), float(opens[index])

    def segment(self, listing: Listing, day: TradingDay, part: Part) -> Segment:
        """One session's seconds."""
        key = (listing.symbol, day.index, part)
        known = self._segments.get(key)
        if known is None:
            known = self._make_segment(listing, day, part)
            self._segments[key] = known
            if len(self._segments) > SEGMENTS_KEPT:
                self._segments.popitem(last=False)
        else:
            self._segments.move_to_end(key)
        return known

    def outline(self, listing: Listing, day: TradingDay) -> tuple[float, float, float, float, int, float]:
        """Open, high, low, close, volume and wap of a regular session too old to be asked for in seconds."""
        closes, opens = self._closes(listing)
        opened, closed = float(opens[day.index]), float(closes[day.index])
        reach = np.abs(self._random(listing.symbol, day.index, 8).standard_normal(3)) * listing.volatility / 40.0
        high, low = max(opened, closed) * (1.0 + reach[0]), min(opened, closed) * (1.0 - min(reach[1], 0.5))
        volume = int(listing.daily_volume * (0.7 + 0.3 * reach[2] * 40.0 / listing.volatility))
        prices = [round(float(price), 2) for price in (opened, high, low, closed)]
        return prices[0], prices[1], prices[2], prices[3], volume, round((opened + closed) / 2.0, 3)

    def _random(self, name: str, day: int, part: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode()), day, part])

    def _closes(self, listing: Listing) -> tuple[FloatArray, FloatArray]:
        """Closes and opens of all days."""
        known = self._daily.get(listing.symbol)
        if known is not None:
            return known
        days = len(self._calendar)
        own = self._random(listing.symbol, 0, 9).standard_normal((2, days))
        market = self._random("*market", 0, 9).standard_normal((2, days))
        daily = listing.volatility / math.sqrt(252.0)
        shared, alone = listing.beta, math.sqrt(1.0 - listing.beta**2)
        moves = daily * (shared * market + alone * own)
        gaps = OVERNIGHT_SHARE * moves[1]
        path = np.cumsum(math.sqrt(1.0 - OVERNIGHT_SHARE**2) * moves[0] + gaps)
        # A walk over decades wanders far off; pull it back towards the level so that any year looks plausible.
        distance = np.arange(days) - self._anchor
        path = (path - path[self._anchor]) * (1.0 / np.sqrt(1.0 + np.abs(distance) / 500.0))
        closes = listing.level * np.exp(path)
        opens = np.concatenate(([closes[0]], closes[:-1] * np.exp(gaps[1:])))
        self._daily[listing.symbol] = (closes, opens)
        return closes, opens

    def _make_segment(self, listing: Listing, day: TradingDay, part: Part) -> Segment:
        start, end = session_bounds(day, part)
        size = end - start
        random = self._random(listing.symbol, day.index, part)
        replay = self.overlay.replays.get((listing.symbol, day.day)) if part is Part.REGULAR else None
        if replay is not None:
            mid, volume = replay[0][:size], replay[1][:size]
        else:
            mid = self._path(listing, day, part, size, random)
            volume = self._volume(listing, part, size, random)
        mid = self._with_jumps(listing.symbol, start, mid)
        bid, ask, last = self._grid(listing, part, mid, random)
        for halt in self.overlay.halts:
            if halt.symbol in ("*", listing.symbol) and halt.start_s < end and halt.end_s > start:
                first, until = max(0, int(halt.start_s) - start), min(size, int(halt.end_s) - start)
                volume = volume.copy()
                volume[first:until] = 0
                last[first:until] = last[max(0, first - 1)]
        return Segment(start, mid, bid, ask, last, volume)

    def _path(
        self, listing: Listing, day: TradingDay, part: Part, size: int, random: np.random.Generator
    ) -> FloatArray:
        closes, opens = self._closes(listing)
        previous = float(closes[day.index - 1])
        ends = (
            (previous, float(opens[day.index])),
            (float(opens[day.index]), float(closes[day.index])),
            (float(closes[day.index]), float(closes[day.index])),
        )[part]
        scale = listing.volatility / math.sqrt(252.0) * (0.85, 1.0, 0.85)[part] * (0.25, 1.0, 0.15)[part]
        shape = listing.beta * self._market_factor(day.index, part, size)
        shape = shape + math.sqrt(1.0 - listing.beta**2) * wander(size, random)
        shape -= shape[0]
        fraction = np.linspace(0.0, 1.0, size)
        bridge = scale * (shape - shape[-1] * fraction) + math.log(ends[1] / ends[0]) * fraction
        result: FloatArray = ends[0] * np.exp(bridge)
        return result

    def _market_factor(self, index: int, part: Part, size: int) -> FloatArray:
        """The part of a session's movement that all underlyings share."""
        key = (index, part)
        known = self._factors.get(key)
        if known is None:
            known = self._factors[key] = wander(size, self._random("*market", index, part))
            if len(self._factors) > SEGMENTS_KEPT:
                self._factors.popitem(last=False)
        return known

    def _volume(self, listing: Listing, part: Part, size: int, random: np.random.Generator) -> IntArray:
        x = np.linspace(-1.0, 1.0, size)
        shape = (0.2 + 0.8 * (x + 1.0), 0.62 + 1.9 * x**4, 1.8 - 0.8 * (x + 1.0))[part]
        share = (0.02, 0.95, 0.03)[part]
        bursts = np.repeat(np.exp(random.normal(-0.2, 0.6, size // 20 + 1)), 20)[:size] * random.uniform(0.4, 1.6, size)
        day_factor = math.exp(random.normal(0.0, 0.2))
        volume = listing.daily_volume * share / size * day_factor * shape * bursts
        if listing.daily_volume and part is Part.REGULAR:
            volume = np.maximum(volume, 1.0)
        result: IntArray = volume.astype(np.int64)
        return result

    def _with_jumps(self, symbol: str, start: int, mid: FloatArray) -> FloatArray:
        for jump in self.overlay.jumps:
            if jump.symbol in ("*", symbol) and jump.epoch_s < start + len(mid):
                first = max(0, math.ceil(jump.epoch_s) - start)
                mid = np.concatenate((mid[:first], mid[first:] * jump.factor))
        return mid

    def _grid(
        self, listing: Listing, part: Part, mid: FloatArray, random: np.random.Generator
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Bid, ask and last on the cent grid."""
        size = len(mid)
        usual = max(1, round(float(mid[0]) * 0.00002 * TICKS_PER_DOLLAR)) * (4, 1, 3)[part]
        dice = random.random(size, dtype=np.float32)
        spread = usual + usual * (dice < 0.12)
        bid = np.rint(mid * TICKS_PER_DOLLAR - spread / 2.0)
        side = (dice > 0.06) & (dice < 0.56)
        if listing.sec_type == "IND":
            last = np.rint(mid * TICKS_PER_DOLLAR) / TICKS_PER_DOLLAR
            return last.copy(), last.copy(), last
        ask = bid + spread
        return bid / TICKS_PER_DOLLAR, ask / TICKS_PER_DOLLAR, np.where(side, bid, ask) / TICKS_PER_DOLLAR


def wander(size: int, random: np.random.Generator) -> FloatArray:
    """`size` seconds of movement with a standard deviation of about one over the whole session.

    Waves with periods of 4 to 60 minutes, slow ones larger, plus noise: larger near both ends, clustered in between.
    """
    step = 5
    grid = np.arange(0, size + step, step, dtype=np.float64)
    periods = 240.0 * 15.0 ** random.random(8)
    phases = random.uniform(0.0, 2.0 * math.pi, 8)
    weights = np.sqrt(periods / 3600.0) * random.uniform(0.5, 1.5, 8)
    weights *= 0.36 / math.sqrt(float(np.sum(weights**2)))
    waves = np.zeros_like(grid)
    for period, phase, weight in zip(periods, phases, weights, strict=True):
        waves += weight * np.sin(2.0 * math.pi * grid / period + phase)
    cluster_periods = 600.0 * 12.0 ** random.random(3)
    calm = np.zeros_like(grid)
    for period, phase in zip(cluster_periods, random.uniform(0.0, 2.0 * math.pi, 3), strict=True):
        calm += 0.3 * np.sin(2.0 * math.pi * grid / period + phase)
    seconds = np.arange(size, dtype=np.float64)
    x = np.linspace(-1.0, 1.0, size)
    noise = random.standard_normal(size) * (0.7 + 0.8 * x * x) * np.exp(np.interp(seconds, grid, calm))
    path = WAVE_SHARE * np.interp(seconds, grid, waves) + (1.0 - WAVE_SHARE) * np.cumsum(noise) / math.sqrt(size)
    result: FloatArray = path
    return result
