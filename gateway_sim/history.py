"""Historical bars of any contract: which seconds a request means, and the bars cut from them. Pure.

Durations in seconds count session time, so `3600 S` five minutes after the open reaches back into the previous session;
days count trading days, the current one included; weeks, months and years are calendar spans.
The unfinished bar is included (rule book 8).
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from gateway_sim.bars import DAY, MONTH, SMALL_BAR_MAX_S, WEEK, Bars, cut, joined, merged
from gateway_sim.calendar import Calendar, TradingDay, local
from gateway_sim.contracts import Contract
from gateway_sim.listings import Listing
from gateway_sim.market import Market
from gateway_sim.option_series import session_values
from gateway_sim.prices import IntArray, Part
from gateway_sim.pricing import FloatArray

SMALL_BARS_KEPT_S = 182 * 86_400
"""Bars of 30 s or less older than six months do not exist (rule book 1.6)."""
INTRADAY_KEPT_S = 370 * 86_400
"""Nor, here, does any intraday bar older than a year; day bars before that are drawn from the daily walk alone."""


@dataclass(frozen=True, slots=True)
class Duration:
    """`amount` of `unit` S, D, W, M or Y."""

    amount: int
    unit: str


@dataclass(frozen=True)
class Series:
    """Consecutive seconds of one contract, one session or several adjoining ones."""

    start: int
    bid: FloatArray
    ask: FloatArray
    last: FloatArray
    volume: IntArray

    def price(self, what: str) -> FloatArray:
        """The column that `whatToShow` means."""
        if what == "BID":
            return self.bid
        if what == "ASK":
            return self.ask
        if what in ("MIDPOINT", "BID_ASK"):
            return (self.bid + self.ask) / 2.0
        return self.last


class History:
    """Bars and seconds as of a market time; nothing after it is ever shown."""

    def __init__(self, market: Market, calendar: Calendar) -> None:
        self._market = market
        self._calendar = calendar
        self._daily: dict[tuple[str, int], tuple[float, float, float, float, int, float]] = {}

    def forget(self) -> None:
        """Drop finished days after the prices were changed (a jump)."""
        self._daily.clear()

    def start_of(self, duration: Duration, end_s: float, regular_only: bool) -> float:
        """The epoch second a duration reaches back to from `end_s`."""
        day = self._calendar.current(end_s)
        if duration.unit == "S":
            return self._seconds_back(duration.amount, end_s, regular_only)
        if duration.unit == "D":
            begun = (
                day if end_s > (day.open if regular_only else day.pre_open) else self._calendar.at_index(day.index - 1)
            )
            return float(self._calendar.at_index(max(0, begun.index - duration.amount + 1)).pre_open)
        back = {"W": 7 * duration.amount, "M": 30.44 * duration.amount, "Y": 365.25 * duration.amount}[duration.unit]
        first = local(end_s).date() - timedelta(days=round(back))
        if first.year < 2007:
            first = date(2007, 1, 3)
        return float(self._calendar.on_or_after(first).pre_open)

    def _seconds_back(self, amount: int, end_s: float, regular_only: bool) -> float:
        left = float(amount)
        day = self._calendar.current(end_s)
        while True:
            start, stop = self._session(day, regular_only)
            inside = min(end_s, stop) - start
            if inside >= left:
                return min(end_s, stop) - left
            left -= max(0.0, inside)
            day = self._calendar.at_index(day.index - 1)

    @staticmethod
    def _session(day: TradingDay, regular_only: bool) -> tuple[int, int]:
        return (day.open, day.close) if regular_only else (day.pre_open, day.post_close)

    def bars(
        self, contract: Contract, what: str, size_s: int, start_s: float, end_s: float, now_s: float, regular_only: bool
    ) -> Bars:
        """Bars that overlap `start_s` … `end_s`, none later than `now_s`; empty if there are none.

        volume, wap and count are only meaningful for TRADES.
        """
        steps = self.bars_by_day(contract, what, size_s, start_s, end_s, now_s, regular_only)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                bars: Bars = finished.value
                return bars

    def bars_by_day(
        self, contract: Contract, what: str, size_s: int, start_s: float, end_s: float, now_s: float, regular_only: bool
    ) -> Generator[None, None, Bars]:
        """`bars` for a caller with other things to do: pauses after each day, returns the bars at the end."""
        regular_only = regular_only or contract.sec_type != "STK"
        if end_s >= now_s:
            end_s = math.floor(now_s) + 1.0  # the current second is shown, as in the quote
        if size_s >= DAY:
            bars = yield from self._long_bars(contract, what, size_s, start_s, end_s)
            return bars
        start_s = max(start_s, now_s - (SMALL_BARS_KEPT_S if size_s <= SMALL_BAR_MAX_S else INTRADAY_KEPT_S))
        parts = []
        day = self._calendar.current(start_s)
        while day.pre_open < end_s:
            series = self.series(contract, day, regular_only, end_s)
            if series is not None:
                bars = cut(series.start, series.price(what), series.volume, size_s, start_s)
                ends = np.append(bars.start[1:], series.start + len(series.last))
                keep = ends > start_s
                if contract.is_option and what == "TRADES":
                    keep &= bars.volume > 0
                parts.append(bars.take(np.flatnonzero(keep)))
            day = self._calendar.at_index(day.index + 1)
            yield
        return joined(parts)

    def series(self, contract: Contract, day: TradingDay, regular_only: bool, end_s: float) -> Series | None:
        """The day's seconds before `end_s`; None if it has none yet."""
        start, stop = self._session(day, regular_only or contract.sec_type != "STK")
        if contract.is_option:
            stop = min(stop, contract.expiry_close)
        size = min(int(np.ceil(end_s)), stop) - start
        if size <= 0:
            return None
        prices = self._market.prices
        regular = prices.segment(contract.listing, day, Part.REGULAR)
        if contract.is_option:
            values = session_values(contract, regular)
            columns = (values.bid, values.ask, values.last, values.volume)
        elif start == day.open:
            columns = (regular.bid, regular.ask, regular.last, regular.volume)
        else:
            segments = [prices.segment(contract.listing, day, part) for part in Part]
            columns = (
                np.concatenate([segment.bid for segment in segments]),
                np.concatenate([segment.ask for segment in segments]),
                np.concatenate([segment.last for segment in segments]),
                np.concatenate([segment.volume for segment in segments]),
            )
        return Series(start, columns[0][:size], columns[1][:size], columns[2][:size], columns[3][:size])

    def _long_bars(
        self, contract: Contract, what: str, size_s: int, start_s: float, end_s: float
    ) -> Generator[None, None, Bars]:
        """Day, week and month bars of the regular sessions; empty for options (rule book 1.6)."""
        if contract.is_option:
            return joined([])
        rows: list[tuple[float, ...]] = []
        days: list[TradingDay] = []
        day = self._calendar.current(start_s)
        while day.open < end_s:
            rows.append(self._day_row(contract.listing, day, end_s, what))
            days.append(day)
            day = self._calendar.at_index(day.index + 1)
            yield
        if not rows:
            return joined([])
        columns = np.array(rows, dtype=np.float64).T
        volume = columns[4].astype(np.int64)
        bars = Bars(
            np.array([day.open for day in days], dtype=np.int64),
            columns[0], columns[1], columns[2], columns[3], volume, columns[5], np.maximum(volume // 110, 1),
        )  # fmt: skip
        if size_s == WEEK:
            return merged(bars, [day.day.isocalendar().year * 100 + day.day.isocalendar().week for day in days])
        if size_s == MONTH:
            return merged(bars, [day.day.year * 100 + day.day.month for day in days])
        return bars

    def _day_row(
        self, listing: Listing, day: TradingDay, end_s: float, what: str
    ) -> tuple[float, float, float, float, int, float]:
        """Open, high, low, close, volume and wap of one regular session (so far)."""
        finished = end_s >= day.close and what in ("TRADES", "ADJUSTED_LAST")
        known = self._daily.get((listing.symbol, day.index)) if finished else None
        if known is not None:
            return known
        if end_s - day.close > INTRADAY_KEPT_S:
            return self._market.prices.outline(listing, day)
        segment = self._market.prices.segment(listing, day, Part.REGULAR)
        size = max(1, min(int(np.ceil(end_s)), day.close) - day.open)
        series = Series(segment.start, segment.bid, segment.ask, segment.last, segment.volume)
        price, volume = series.price(what)[:size], segment.volume[:size]
        total = int(volume.sum())
        wap = float((price * volume).sum() / total) if total else float(price[-1])
        row = (float(price[0]), float(price.max()), float(price.min()), float(price[-1]), total, round(wap, 3))
        if finished:
            self._daily[(listing.symbol, day.index)] = row
        return row
