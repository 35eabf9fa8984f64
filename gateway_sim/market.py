"""Quotes: what is bid, offered and last traded for any contract at any market second. Pure.

Built on the same seconds as bars and options, so the close of the growing bar is the last price of the quote.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

from gateway_sim.calendar import Calendar, TradingDay
from gateway_sim.contracts import Contract
from gateway_sim.listings import Listing
from gateway_sim.option_series import OptionValue, open_interest, value_at, volume_by_minute
from gateway_sim.prices import Part, PriceSource, Segment, session_bounds
from gateway_sim.pricing import FloatArray

NO_PRICE = -1.0
VOLUMES_KEPT = 512
CONTRACTS_KEPT = 4096


@dataclass(frozen=True, slots=True)
class Quote:
    """One contract at one moment. Prices are -1 (sizes 0) where IB would send none. last_time: epoch seconds."""

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


def mixed(*parts: int) -> int:
    """A 32-bit hash of small integers, the same in every process."""
    value = 0x9E3779B9
    for part in parts:
        value = ((value ^ part) * 0x85EBCA6B) & 0xFFFFFFFF
        value ^= value >> 13
    return value


class Market:
    """Quotes and option computations at a market time."""

    def __init__(self, prices: PriceSource, calendar: Calendar) -> None:
        self.prices = prices
        self.calendar = calendar
        self._option_volumes: OrderedDict[tuple[int, int], FloatArray] = OrderedDict()
        self._values: dict[int, tuple[int, OptionValue]] = {}
        self._quotes: dict[int, tuple[int, Quote]] = {}
        self._part: tuple[float, float, TradingDay, Part | None] | None = None
        self._closes: dict[tuple[str, int], float] = {}

    def part_at(self, epoch_s: float) -> tuple[TradingDay, Part | None]:
        """The current trading day and which of its sessions is on (None at night)."""
        known = self._part
        if known is not None and known[0] <= epoch_s < known[1]:
            return known[2], known[3]
        day = self.calendar.current(epoch_s)
        for part in Part:
            start, end = session_bounds(day, part)
            if start <= epoch_s < end:
                self._part = (start, end, day, part)
                return day, part
        return day, None

    def is_open(self, contract: Contract, epoch_s: float, extended: bool = False) -> bool:
        """Whether orders in the contract can trade now."""
        _, part = self.part_at(epoch_s)
        if contract.sec_type == "STK" and extended:
            return part is not None
        return part is Part.REGULAR

    def previous_close(self, listing: Listing, day: TradingDay) -> float:
        key = (listing.symbol, day.index)
        known = self._closes.get(key)
        if known is None:
            before = self.calendar.at_index(day.index - 1)
            known = self._closes[key] = float(self.prices.segment(listing, before, Part.REGULAR).last[-1])
        return known

    def spot(self, listing: Listing, epoch_s: float) -> float:
        """The underlying's middle at that moment, at night the last one before it."""
        segment, index = self._sample(listing, epoch_s)
        return float(segment.mid[index])

    def quote(self, contract: Contract, epoch_s: float) -> Quote:
        """The market in the contract at a market time: prices move once a second, displayed sizes four times."""
        quote = self.quote_of_second(contract, epoch_s)
        bid_size, ask_size = self.sizes(contract, quote, epoch_s)
        return replace(quote, bid_size=bid_size, ask_size=ask_size)

    def quote_of_second(self, contract: Contract, epoch_s: float) -> Quote:
        """As `quote`, but its sizes only tell whether there is a side (1) or none (0)."""
        second = int(epoch_s)
        known = self._quotes.get(contract.con_id)
        if known is not None and known[0] == second:
            return known[1]
        made = (
            self._option_quote(contract, epoch_s) if contract.is_option else self._underlying_quote(contract, epoch_s)
        )
        if len(self._quotes) > CONTRACTS_KEPT:
            self._quotes.clear()
        self._quotes[contract.con_id] = (second, made)
        return made

    @staticmethod
    def sizes(contract: Contract, quote: Quote, epoch_s: float) -> tuple[int, int]:
        """Displayed bid and ask size at a market time; 0 where there is no price."""
        if quote.ask_size == 0:
            return 0, 0
        dice = mixed(int(epoch_s * 4), contract.con_id)
        if contract.is_option:
            return 1 + dice % 180 if quote.bid_size else 0, 1 + dice // 256 % 180
        return 100 * (1 + dice % 19), 100 * (1 + dice // 32 % 19)

    def option_value(self, contract: Contract, epoch_s: float) -> OptionValue:
        """Model, market and volatility of an option at a market time; one value per second."""
        second = int(epoch_s)
        known = self._values.get(contract.con_id)
        if known is not None and known[0] == second:
            return known[1]
        value = self._option_value(contract, epoch_s)
        if len(self._values) > CONTRACTS_KEPT:
            self._values.clear()
        self._values[contract.con_id] = (second, value)
        return value

    def _option_value(self, contract: Contract, epoch_s: float) -> OptionValue:
        day, part = self.part_at(epoch_s)
        moment = epoch_s if part is not Part.POST and part is not None else float(min(epoch_s, day.close))
        return value_at(
            contract, self._regular_spot(contract.listing, epoch_s), int(min(moment, contract.expiry_close))
        )

    def open_interest(self, contract: Contract, epoch_s: float) -> int:
        day = self.calendar.current(epoch_s)
        return open_interest(contract, self.previous_close(contract.listing, day), day)

    def _sample(self, listing: Listing, epoch_s: float) -> tuple[Segment, int]:
        day, part = self.part_at(epoch_s)
        segment = self.prices.segment(listing, day, Part.POST if part is None else part)
        return segment, min(int(epoch_s) - segment.start, len(segment) - 1)

    def _regular_spot(self, listing: Listing, epoch_s: float) -> float:
        """The underlying's middle while options trade; before the open the coming one counts, after the close the
        closing one."""
        day, part = self.part_at(epoch_s)
        if part is Part.PRE:
            return float(self.prices.segment(listing, day, Part.PRE).mid[int(epoch_s) - day.pre_open])
        segment = self.prices.segment(listing, day, Part.REGULAR)
        return float(segment.mid[min(int(epoch_s) - segment.start, len(segment) - 1)])

    def _underlying_quote(self, contract: Contract, epoch_s: float) -> Quote:
        listing = contract.listing
        day, part = self.part_at(epoch_s)
        segment, index = self._sample(listing, epoch_s)
        halted = self.prices.overlay.halted(listing.symbol, epoch_s)
        last = float(segment.last[index])
        trading = part is not None and not halted and contract.sec_type != "IND"
        volume, high, low, opened = self._day_figures(listing, day, part, segment, index)
        return Quote(
            bid=float(segment.bid[index]) if trading else NO_PRICE,
            ask=float(segment.ask[index]) if trading else NO_PRICE,
            last=last,
            bid_size=1 if trading else 0,
            ask_size=1 if trading else 0,
            last_size=max(1, int(segment.volume[index]) // 7) if contract.sec_type == "STK" else 0,
            volume=volume,
            open=opened,
            high=high,
            low=low,
            previous_close=self.previous_close(listing, day),
            last_time=segment.start + index,
            halted=halted,
        )

    def _day_figures(
        self, listing: Listing, day: TradingDay, part: Part | None, segment: Segment, index: int
    ) -> tuple[int, float, float, float]:
        """Volume, high, low and open of the day so far."""
        if part is Part.PRE:
            return int(segment.volume_so_far[index]), float(segment.high_so_far[index]), float(
                segment.low_so_far[index]
            ), NO_PRICE  # fmt: skip
        regular = self.prices.segment(listing, day, Part.REGULAR)
        at = min(index, len(regular) - 1) if part is Part.REGULAR else len(regular) - 1
        volume = int(regular.volume_so_far[at])
        if part is not Part.REGULAR:
            volume += int(segment.volume_so_far[index])
        return volume, float(regular.high_so_far[at]), float(regular.low_so_far[at]), float(regular.last[0])

    def _option_quote(self, contract: Contract, epoch_s: float) -> Quote:
        listing = contract.listing
        day, part = self.part_at(epoch_s)
        value = self.option_value(contract, epoch_s)
        halted = self.prices.overlay.halted(listing.symbol, epoch_s)
        trading = part is Part.REGULAR and not halted and epoch_s < contract.expiry_close
        dice = mixed(int(epoch_s * 4), contract.con_id)
        before = self.calendar.at_index(day.index - 1)
        previous = value_at(contract, self.previous_close(listing, day), before.close).last
        if part is Part.PRE:
            return Quote(NO_PRICE, NO_PRICE, previous, 0, 0, 0, 0, NO_PRICE, NO_PRICE, NO_PRICE, previous, before.close)
        regular = self.prices.segment(listing, day, Part.REGULAR)
        index = min(int(epoch_s) - day.open, len(regular) - 1)
        opened = value_at(contract, float(regular.mid[0]), day.open).last
        high, low = self._option_range(contract, regular, index, opened, value.last)
        has_bid = trading and value.bid > 0.0
        return Quote(
            bid=value.bid if has_bid else NO_PRICE,
            ask=value.ask if trading else NO_PRICE,
            last=value.last,
            bid_size=1 if has_bid else 0,
            ask_size=1 if trading else 0,
            last_size=1 + dice // 65_536 % 20,
            volume=self._option_volume(contract, day, regular, index),
            open=opened,
            high=high,
            low=low,
            previous_close=previous,
            last_time=min(int(epoch_s), day.close - 1),
            halted=halted,
        )

    def _option_range(
        self, contract: Contract, regular: Segment, index: int, opened: float, last: float
    ) -> tuple[float, float]:
        """High and low of the day: the option's value at the underlying's extremes, never inside open and last."""
        upper = value_at(contract, float(regular.high_so_far[index]), regular.start + index).last
        lower = value_at(contract, float(regular.low_so_far[index]), regular.start + index).last
        return max(upper, lower, opened, last), min(upper, lower, opened, last)

    def _option_volume(self, contract: Contract, day: TradingDay, regular: Segment, index: int) -> int:
        key = (contract.con_id, day.index)
        by_minute = self._option_volumes.get(key)
        if by_minute is None:
            by_minute = self._option_volumes[key] = volume_by_minute(contract, regular)
            if len(self._option_volumes) > VOLUMES_KEPT:
                self._option_volumes.popitem(last=False)
        minute = index // 60
        done = float(by_minute[minute - 1]) if minute else 0.0
        return int(done + (float(by_minute[minute]) - done) * (index % 60 + 1) / 60.0)

    def forget(self) -> None:
        """Drop derived figures after the prices were changed (a jump)."""
        self._option_volumes.clear()
        self._values.clear()
        self._quotes.clear()
        self._closes.clear()
