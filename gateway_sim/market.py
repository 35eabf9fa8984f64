"""Quotes: what is bid, offered and last traded for any contract at any market second. Pure.

Built on the same seconds as bars and options, so the close of the growing bar is the last price of the quote.
"""

from __future__ import annotations

from gateway_sim.calendar import Calendar, TradingDay
from gateway_sim.contracts import Contract
from gateway_sim.listings import Listing
from gateway_sim.option_market import OptionMarket
from gateway_sim.option_series import OptionValue
from gateway_sim.prices import Part, PriceSource, Segment
from gateway_sim.quotes import NO_PRICE, Quote, mixed

CONTRACTS_KEPT = 4096


class Market:
    """Quotes and option computations at a market time."""

    def __init__(self, prices: PriceSource, calendar: Calendar) -> None:
        self.prices = prices
        self.calendar = calendar
        self._options = OptionMarket(prices)
        self._quotes: dict[int, tuple[int, Quote]] = {}

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
        segment, index = self._sample(listing, epoch_s)
        return float(segment.mid[index])

    def quote(self, contract: Contract, epoch_s: float) -> Quote:
        """The market in the contract at a market time: prices move once a second, displayed sizes four times."""
        quote = self.quote_of_second(contract, epoch_s)
        bid_size, ask_size = self.sizes(contract, quote, epoch_s)
        return quote._replace(bid_size=bid_size, ask_size=ask_size)

    def quote_of_second(self, contract: Contract, epoch_s: float) -> Quote:
        """As `quote`, but its sizes only tell whether there is a side (1) or none (0)."""
        second = int(epoch_s)
        known = self._quotes.get(contract.con_id)
        if known is not None and known[0] == second:
            return known[1]
        made = (
            self._options.quote(contract, epoch_s) if contract.is_option else self._underlying_quote(contract, epoch_s)
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
        return self._options.value(contract, epoch_s)

    def open_interest(self, contract: Contract, epoch_s: float) -> int:
        return self._options.open_interest(contract, epoch_s)

    def _sample(self, listing: Listing, epoch_s: float) -> tuple[Segment, int]:
        day, part = self.part_at(epoch_s)
        segment = self.prices.segment(listing, day, Part.POST if part is None else part)
        return segment, min(int(epoch_s) - segment.start, len(segment) - 1)

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
            previous_close=self.prices.previous_close(listing, day),
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

    def forget(self) -> None:
        """Drop derived figures after the prices were changed (a jump)."""
        self._options.forget()
        self._quotes.clear()
