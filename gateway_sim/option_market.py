"""Quotes and values of options, second by second. Pure.

An option that is looked at twice in a minute is being watched: the values of its whole minute are then computed in one
go, an array at a time, to the same cents as one by one.
"""

from __future__ import annotations

from collections import OrderedDict

from gateway_sim.calendar import TradingDay
from gateway_sim.contracts import Contract
from gateway_sim.option_series import OptionValue, open_interest, value_at, values_over, volume_by_minute
from gateway_sim.prices import Part, PriceSource, Segment
from gateway_sim.quotes import NO_PRICE, Quote, mixed

DAYS_KEPT = 2048
"""Option days remembered; the one looked at longest ago is made again when asked for."""
MINUTE_S = 60


class OptionDay:
    """One option on one trading day."""

    def __init__(self, contract: Contract, day: TradingDay, regular: Segment, close_before: float, end_before: int):
        self._contract = contract
        self._regular = regular
        self._close_before = close_before
        self._by_minute: list[float] | None = None
        self._interest: int | None = None
        self._opened: float | None = None
        self._extremes: tuple[tuple[int, int], tuple[float, float]] | None = None
        self._latest: tuple[int, OptionValue] | None = None
        self._minute: tuple[int, list[OptionValue]] = (0, [])
        self.day = day
        self.previous = value_at(contract, close_before, end_before).last
        """Last price of the session before."""

    def value(self, second: int) -> OptionValue:
        """Model, market and volatility at a second; outside the session at the nearest one inside."""
        second = min(max(second, self.day.open), self.day.close)
        start, values = self._minute
        if 0 <= second - start < len(values):
            return values[second - start]
        latest = self._latest
        if latest is not None and latest[0] == second:
            return latest[1]
        index = second - self._regular.start
        if latest is not None and latest[0] // MINUTE_S == second // MINUTE_S and second < self.day.close:
            start, first = second - index % MINUTE_S, index - index % MINUTE_S
            spots = self._regular.mid[first : first + MINUTE_S]
            self._minute = (start, values_over(self._contract, spots, start))
            return self._minute[1][second - start]
        value = self._alone(min(index, len(self._regular) - 1), second)
        self._latest = (second, value)
        return value

    def _alone(self, index: int, second: int) -> OptionValue:
        return value_at(self._contract, float(self._regular.mid[index]), min(second, self._contract.expiry_close))

    def range(self, index: int, last: float) -> tuple[float, float, float]:
        """Open, high and low until now: what the option was worth at the open, at the underlying's extremes and is
        now."""
        regular = self._regular
        if self._opened is None:
            self._opened = self._alone(0, regular.start).last
        at = (int(regular.high_index[index]), int(regular.low_index[index]))
        if self._extremes is None or self._extremes[0] != at:
            there = [self._alone(moment, regular.start + moment).last for moment in at]
            self._extremes = (at, (max(*there, self._opened), min(*there, self._opened)))
        high, low = self._extremes[1]
        return self._opened, max(high, last), min(low, last)

    def volume(self, index: int) -> int:
        """Contracts traded until and including that second of the session."""
        if self._by_minute is None:
            self._by_minute = [0.0, *volume_by_minute(self._contract, self._regular).tolist()]
        minute, second = divmod(index, MINUTE_S)
        done = self._by_minute[minute]
        return int(done + (self._by_minute[minute + 1] - done) * (second + 1) / MINUTE_S)

    def open_interest(self) -> int:
        if self._interest is None:
            self._interest = open_interest(self._contract, self._close_before, self.day)
        return self._interest


class OptionMarket:
    """What is bid, offered and last traded for an option at a market time."""

    def __init__(self, prices: PriceSource) -> None:
        self._prices = prices
        self._days: OrderedDict[int, OptionDay] = OrderedDict()

    def _day(self, contract: Contract, day: TradingDay) -> OptionDay:
        known = self._days.get(contract.con_id)
        if known is not None and known.day.index == day.index:
            return known
        prices, listing = self._prices, contract.listing
        regular = prices.segment(listing, day, Part.REGULAR)
        made = OptionDay(contract, day, regular, prices.previous_close(listing, day), prices.day_before(day).close)
        self._days[contract.con_id] = made
        if len(self._days) > DAYS_KEPT:
            self._days.popitem(last=False)
        return made

    def value(self, contract: Contract, epoch_s: float) -> OptionValue:
        """Model, market and volatility: before the open at the coming one's price, after the close at the closing
        one."""
        day, part = self._prices.part_at(epoch_s)
        if part is Part.PRE:
            early = self._prices.segment(contract.listing, day, Part.PRE)
            return value_at(contract, float(early.mid[int(epoch_s) - day.pre_open]), int(epoch_s))
        return self._day(contract, day).value(int(epoch_s))

    def quote(self, contract: Contract, epoch_s: float) -> Quote:
        """The market at a market time; its sizes only tell whether there is a side (1) or none (0)."""
        day, part = self._prices.part_at(epoch_s)
        option, second = self._day(contract, day), int(epoch_s)
        previous = option.previous
        if part is Part.PRE:
            before = self._prices.day_before(day).close
            return Quote(NO_PRICE, NO_PRICE, previous, 0, 0, 0, 0, NO_PRICE, NO_PRICE, NO_PRICE, previous, before)
        value = option.value(second)
        halted = self._prices.overlay.halted(contract.listing.symbol, epoch_s)
        trading = part is Part.REGULAR and not halted and epoch_s < contract.expiry_close
        index = min(second, day.close - 1) - day.open
        opened, high, low = option.range(index, value.last)
        has_bid = trading and value.bid > 0.0
        return Quote(
            value.bid if has_bid else NO_PRICE,
            value.ask if trading else NO_PRICE,
            value.last,
            1 if has_bid else 0,
            1 if trading else 0,
            1 + mixed(second, contract.con_id) // 65_536 % 20,
            option.volume(index),
            opened,
            high,
            low,
            previous,
            day.open + index,
            halted,
        )

    def open_interest(self, contract: Contract, epoch_s: float) -> int:
        """Contracts open at the start of the day."""
        return self._day(contract, self._prices.part_at(epoch_s)[0]).open_interest()

    def forget(self) -> None:
        """Drop everything after the prices were changed (a jump)."""
        self._days.clear()
