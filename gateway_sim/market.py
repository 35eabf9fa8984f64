"""Quotes: what is bid, offered and last traded for any contract at any market second. Pure.

Built on the same seconds as bars and options, so the close of the growing bar is the last price of the quote.
"""

from __future__ import annotations

import numpy as np

from gateway_sim.calendar import Calendar, TradingDay
from gateway_sim.contracts import Contract
from gateway_sim.listings import Listing
from gateway_sim.option_market import OptionMarket
from gateway_sim.option_series import OptionValue
from gateway_sim.prices import IntArray, Part, PriceSource, Segment
from gateway_sim.pricing import FloatArray
from gateway_sim.quotes import NO_PRICE, Quote, mixed

CONTRACTS_KEPT = 4096
STEPS_PER_S, OPTION_STEPS_PER_S = 4, 2
"""How often displayed sizes move in a second; prices move once."""
NOTHING_KNOWN: tuple[int, list[Quote]] = (0, [])


class Market:
    """Quotes and option computations at a market time."""

    def __init__(self, prices: PriceSource, calendar: Calendar) -> None:
        self.prices = prices
        self.calendar = calendar
        self._options = OptionMarket(prices)
        self._quotes: dict[int, tuple[int, list[Quote]]] = {}
        """By contract: consecutive seconds, and the first of them."""

    def part_at(self, epoch_s: float) -> tuple[TradingDay, Part | None]:
        """The current trading day and which of its sessions is on (None at night)."""
        return self.prices.part_at(epoch_s)

    def is_open(self, contract: Contract, epoch_s: float, extended: bool = False) -> bool:
        """Whether orders in the contract can trade now."""
        _, part = self.part_at(epoch_s)
        if contract.sec_type == "STK" and extended:
            return part is not None
        return part is Part.REGULAR

    def spot(self, listing: Listing, epoch_s: float) -> float:
        """The underlying's middle at that moment, at night the last one before it."""
        day, part = self.part_at(epoch_s)
        segment = self.prices.segment(listing, day, Part.POST if part is None else part)
        return float(segment.mid[min(int(epoch_s) - segment.start, len(segment) - 1)])

    def quote(self, contract: Contract, epoch_s: float) -> Quote:
        """The market in the contract at a market time: prices move once a second, displayed sizes more often."""
        quote = self.quote_of_second(contract, epoch_s)
        bid_size, ask_size = self.sizes(contract, quote, epoch_s)
        return quote._replace(bid_size=bid_size, ask_size=ask_size)

    def quote_of_second(self, contract: Contract, epoch_s: float) -> Quote:
        """As `quote`, but its sizes only tell whether there is a side (1) or none (0)."""
        second = int(epoch_s)
        start, quotes = self._quotes.get(contract.con_id, NOTHING_KNOWN)
        if not 0 <= second - start < len(quotes):
            if contract.is_option:
                start, quotes = second, [self._options.quote(contract, epoch_s)]
            else:
                start, quotes = self._minute(contract, second)
            if len(self._quotes) > CONTRACTS_KEPT:
                self._quotes.clear()
            self._quotes[contract.con_id] = (start, quotes)
        return quotes[second - start]

    @staticmethod
    def sizes(contract: Contract, quote: Quote, epoch_s: float) -> tuple[int, int]:
        """Displayed bid and ask size at a market time; 0 where there is no price."""
        if quote.ask_size == 0:
            return 0, 0
        if contract.is_option:
            dice = mixed(int(epoch_s * OPTION_STEPS_PER_S), contract.con_id)
            return 1 + dice % 180 if quote.bid_size else 0, 1 + dice // 256 % 180
        dice = mixed(int(epoch_s * STEPS_PER_S), contract.con_id)
        return 100 * (1 + dice % 19), 100 * (1 + dice // 32 % 19)

    def option_value(self, contract: Contract, epoch_s: float) -> OptionValue:
        """Model, market and volatility of an option at a market time; one value per second."""
        return self._options.value(contract, epoch_s)

    def open_interest(self, contract: Contract, epoch_s: float) -> int:
        return self._options.open_interest(contract, epoch_s)

    def _minute(self, contract: Contract, second: int) -> tuple[int, list[Quote]]:
        """Epoch second of the first, and the quotes of an underlying's minute; of that second alone at night."""
        listing, is_stock = contract.listing, contract.sec_type == "STK"
        day, part = self.part_at(second)
        segment = self.prices.segment(listing, day, Part.POST if part is None else part)
        index = (second - segment.start) // 60 * 60
        start = segment.start + index
        if part is None:
            start, index = second, len(segment) - 1
        rows = slice(index, index + 60)
        volume, high, low, opened = self._day_figures(listing, day, part, segment, rows)
        previous, last_time = self.prices.previous_close(listing, day), segment.start + index
        columns = (segment.bid[rows], segment.ask[rows], segment.last[rows], segment.volume[rows], volume, high, low)
        quotes = []
        for at, row in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            bid, ask, last, traded, so_far, highest, lowest = row
            # A halt that begins inside a second is seen in that second.
            halted = self.prices.overlay.halted(listing.symbol, start + at + 0.999)
            if halted or part is None or not is_stock:
                bid = ask = NO_PRICE
            size = 1 if ask > 0.0 else 0
            quotes.append(Quote(
                bid, ask, last, size, size, max(1, traded // 7) if is_stock else 0, so_far, opened, highest, lowest,
                previous, last_time + at, halted,
            ))  # fmt: skip
        return start, quotes

    def _day_figures(
        self, listing: Listing, day: TradingDay, part: Part | None, segment: Segment, rows: slice
    ) -> tuple[IntArray, FloatArray, FloatArray, float]:
        """Volume, high, low and open of the day so far, the first three for each of the segment's rows."""
        volume = segment.volume_so_far[rows]
        if part is Part.PRE:
            return volume, segment.high_so_far[rows], segment.low_so_far[rows], NO_PRICE
        regular = self.prices.segment(listing, day, Part.REGULAR)
        opened = float(regular.last[0])
        if part is Part.REGULAR:
            return volume, regular.high_so_far[rows], regular.low_so_far[rows], opened
        high, low = (np.full(len(volume), column[-1]) for column in (regular.high_so_far, regular.low_so_far))
        return volume + regular.volume_so_far[-1], high, low, opened

    def forget(self) -> None:
        """Drop derived figures after the prices were changed (a jump)."""
        self._options.forget()
        self._quotes.clear()
