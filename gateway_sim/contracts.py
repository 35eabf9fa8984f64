"""Contracts: what they are, how a client's description is matched to them, and the book of all that exist. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from gateway_sim.calendar import Calendar, TradingDay
from gateway_sim.chains import Expiry, expiries, strikes, trading_class
from gateway_sim.listings import LISTINGS, Listing, derived_con_id
from gateway_sim.prices import PriceSource

OPTION_EXCHANGES = (
    "SMART", "AMEX", "BATS", "BOX", "CBOE", "CBOE2", "EDGX", "EMERALD", "GEMINI", "IBUSOPT", "ISE", "MEMX",
    "MERCURY", "MIAX", "NASDAQBX", "NASDAQOM", "PEARL", "PHLX", "PSE", "SAPPHIRE",
)  # fmt: skip
STOCK_EXCHANGES = ("SMART", "AMEX", "NYSE", "CBOE", "PHLX", "ISE", "CHX", "ARCA", "NASDAQ", "DRCTEDGE", "BEX", "BATS",
                   "EDGEA", "BYX", "IEX", "EDGX", "FOXRIVER", "PEARL", "NYSENAT", "LTSE", "MEMX", "IBEOS", "OVERNIGHT",
                   "TPLUS0", "PSX")  # fmt: skip


@dataclass(frozen=True, slots=True)
class ContractQuery:
    """A contract as a client describes it; empty text, 0 and None mean "not given"."""

    con_id: int = 0
    symbol: str = ""
    sec_type: str = ""
    expiry: str = ""
    strike: float | None = None
    right: str = ""
    multiplier: str = ""
    exchange: str = ""
    primary_exchange: str = ""
    currency: str = ""
    local_symbol: str = ""
    trading_class: str = ""


@dataclass(frozen=True, slots=True)
class Contract:
    """One tradable contract. expiry `YYYYMMDD` and right `C`/`P` are empty for anything but options."""

    con_id: int
    listing: Listing
    sec_type: str
    local_symbol: str
    trading_class: str
    expiry: str = ""
    expiry_close: int = 0
    strike: float = 0.0
    right: str = ""
    multiplier: str = ""

    @property
    def symbol(self) -> str:
        return self.listing.symbol

    @property
    def exchange(self) -> str:
        return "CBOE" if self.sec_type == "IND" else "SMART"

    @property
    def primary_exchange(self) -> str:
        return "" if self.sec_type == "OPT" else self.listing.primary_exchange

    @property
    def is_option(self) -> bool:
        return self.sec_type == "OPT"

    @property
    def is_call(self) -> bool:
        return self.right == "C"

    @property
    def unit(self) -> int:
        """How many units of the price one contract stands for."""
        return int(self.multiplier) if self.multiplier else 1

    def price_increment(self, price: float) -> float:
        """The price grid at `price` (market rules 26, 239 and 109, see `market_rule`)."""
        if self.is_option:
            penny = self.listing.penny or price < 3.0 - 1e-9
            return 0.01 if penny else 0.05
        return 0.01 if price >= 1.0 - 1e-9 else 0.0001


MARKET_RULES: dict[int, tuple[tuple[float, float], ...]] = {
    26: ((0.0, 0.0001), (1.0, 0.01)),
    239: ((0.0, 0.01),),
    109: ((0.0, 0.01), (3.0, 0.05)),
    110: ((0.0, 0.05), (3.0, 0.1)),
}
"""Rule id -> (low edge, increment) rows. Stocks 26, options of SPY/QQQ/IWM 239, other options 109."""


def market_rule(contract: Contract) -> int:
    if contract.is_option:
        return 239 if contract.listing.penny else 109
    return 26


def option_local_symbol(trading_class: str, expiry: str, right: str, strike: float) -> str:
    """OCC form: class padded to 6, yymmdd, right, strike in thousandths."""
    return f"{trading_class:<6}{expiry[2:]}{right}{round(strike * 1000):08d}"


class ContractBook:
    """All contracts that exist at a market time; options are made when first asked for and keep their id."""

    def __init__(self, prices: PriceSource, calendar: Calendar, extra: tuple[Listing, ...] = ()) -> None:
        self._prices = prices
        self._calendar = calendar
        self.listings: dict[str, Listing] = {listing.symbol: listing for listing in (*LISTINGS, *extra)}
        self._by_id: dict[int, Contract] = {}
        self._underlyings: dict[str, Contract] = {}
        for listing in self.listings.values():
            contract = Contract(listing.con_id, listing, listing.sec_type, listing.symbol, listing.symbol)
            self._by_id[listing.con_id] = contract
            self._underlyings[listing.symbol] = contract
        self._strikes: Callable[[str, int, str, int], tuple[float, ...]] = lru_cache(maxsize=4096)(self._make_strikes)
        self._expiries: Callable[[str, int], tuple[Expiry, ...]] = lru_cache(maxsize=512)(self._make_expiries)

    def underlying(self, symbol: str) -> Contract | None:
        return self._underlyings.get(symbol)

    def by_id(self, con_id: int) -> Contract | None:
        return self._by_id.get(con_id)

    def expiries(self, symbol: str, market_s: float) -> tuple[Expiry, ...]:
        """Expiries not yet over, oldest first."""
        today = self._calendar.current(market_s)
        if market_s >= today.close:
            today = self._calendar.at_index(today.index + 1)
        return self._expiries(symbol, today.index)

    def strikes(self, symbol: str, expiry: Expiry) -> tuple[float, ...]:
        return self._strikes(symbol, expiry.day.index, expiry.kind, expiry.listed_days)

    def find(self, query: ContractQuery, market_s: float) -> list[Contract]:
        """Every existing contract that fits the description; empty if none does."""
        if query.con_id:
            known = self._by_id.get(query.con_id)
            if known is not None:
                return [known] if self._alive(known, market_s) else []
            if not query.symbol:
                return []
        if query.currency not in ("", "USD"):
            return []
        if query.sec_type == "OPT" or (not query.sec_type and len(query.local_symbol) > 15):
            return list(self._find_options(query, market_s))
        symbol = (query.symbol or query.local_symbol).upper()
        contract = self._underlyings.get(symbol)
        if contract is None or query.sec_type not in ("", contract.sec_type):
            return []
        if query.exchange not in ("", contract.exchange) and query.exchange not in STOCK_EXCHANGES:
            return []
        return [contract]

    def find_one(self, query: ContractQuery, market_s: float) -> Contract | None:
        """The one contract meant, None if there is none or more than one."""
        found = self.find(query, market_s)
        return found[0] if len(found) == 1 else None

    def option(self, listing: Listing, expiry: Expiry, strike: float, right: str) -> Contract:
        """The contract of a strike known to exist."""
        name = trading_class(listing, expiry)
        local_symbol = option_local_symbol(name, expiry.text, right, strike)
        con_id = derived_con_id(local_symbol)
        while (known := self._by_id.get(con_id)) is not None:
            if known.local_symbol == local_symbol:
                return known
            con_id += 1
        contract = Contract(
            con_id, listing, "OPT", local_symbol, name, expiry.text, expiry.day.close, strike, right, "100"
        )
        self._by_id[con_id] = contract
        return contract

    def matching(self, pattern: str) -> list[Contract]:
        """Up to 16 underlyings whose symbol begins with, or whose name contains, the pattern."""
        wanted = pattern.upper()
        by_symbol = [c for s, c in sorted(self._underlyings.items()) if s.startswith(wanted)]
        by_name = [c for _, c in sorted(self._underlyings.items()) if wanted in c.listing.name.upper()]
        return list(dict.fromkeys(by_symbol + by_name))[:16] if wanted else []

    def _alive(self, contract: Contract, market_s: float) -> bool:
        return not contract.is_option or market_s < contract.expiry_close

    def _find_options(self, query: ContractQuery, market_s: float) -> Iterator[Contract]:
        parsed = _parse_local_symbol(query) if query.local_symbol else query
        listing = self.listings.get(parsed.symbol.upper()) or self.listings.get(parsed.trading_class.upper())
        if listing is None or parsed.multiplier not in ("", "100", "0"):
            return
        if parsed.exchange and parsed.exchange not in OPTION_EXCHANGES:
            return
        rights = {"C": "C", "CALL": "C", "P": "P", "PUT": "P", "": "CP", "0": "CP", "?": "CP"}.get(parsed.right.upper())
        if rights is None:
            return
        for expiry in self.expiries(listing.symbol, market_s):
            if not expiry.text.startswith(parsed.expiry):
                continue
            if parsed.trading_class and trading_class(listing, expiry) != parsed.trading_class:
                continue
            for strike in self.strikes(listing.symbol, expiry):
                if parsed.strike and abs(strike - parsed.strike) > 1e-6:
                    continue
                for right in rights:
                    yield self.option(listing, expiry, strike, right)

    def _make_expiries(self, symbol: str, today_index: int) -> tuple[Expiry, ...]:
        today: TradingDay = self._calendar.at_index(today_index)
        return tuple(expiries(self.listings[symbol], today, self._calendar))

    def _make_strikes(self, symbol: str, index: int, kind: str, listed_days: int) -> tuple[float, ...]:
        listing = self.listings[symbol]
        expiry = Expiry(self._calendar.at_index(index), kind, listed_days)
        return tuple(strikes(listing, expiry, lambda day: self._prices.listed_close(listing, day)))


def _parse_local_symbol(query: ContractQuery) -> ContractQuery:
    """The description inside an OCC symbol; the query unchanged if it is not one."""
    text = query.local_symbol
    if len(text) != 21 or not text[6:12].isdigit() or not text[13:].isdigit():
        return query
    return ContractQuery(
        symbol=query.symbol or text[:6].strip(),
        sec_type="OPT",
        expiry="20" + text[6:12],
        strike=int(text[13:]) / 1000.0,
        right=text[12],
        trading_class=text[:6].strip(),
    )
