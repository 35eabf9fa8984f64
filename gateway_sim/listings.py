"""The instruments that exist: a table of underlyings with the character of their prices. Data only.

Levels are round figures for the anchor day, not forecasts. Contract ids of well-known symbols are IB's own; the rest
are made from the symbol. Scenarios may add symbols; everything else is answered with error 200.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Literal

OptionCycle = Literal["daily", "weekly", "none"]


@dataclass(frozen=True, slots=True)
class Listing:
    """One underlying.

    level: price on the anchor day. volatility: per year, 0.2 = 20 %. beta: share of its intraday noise that is the
    market's. daily_volume: shares. cycle: daily = an expiry on every trading day; weekly = Fridays and third Fridays.
    penny: options quoted in cents at every price (SPY, QQQ, IWM); otherwise 0.01 below 3.00 and 0.05 from there.
    """

    symbol: str
    con_id: int
    name: str
    primary_exchange: str
    level: float
    volatility: float
    daily_volume: int
    beta: float = 0.6
    cycle: OptionCycle = "weekly"
    penny: bool = False
    stock_type: str = "COMMON"
    sec_type: str = "STK"


def derived_con_id(text: str) -> int:
    """A stable contract id for anything without one of IB's: 100 000 000 … 2 099 999 999."""
    return 100_000_000 + zlib.crc32(text.encode()) % 2_000_000_000


def _etf(symbol: str, con_id: int, name: str, level: float, volatility: float, volume: int, daily: bool) -> Listing:
    cycle: OptionCycle = "daily" if daily else "weekly"
    exchange = "NASDAQ" if symbol in ("QQQ", "TLT") else "ARCA"
    return Listing(symbol, con_id, name, exchange, level, volatility, volume, 0.85, cycle, daily, "ETF")


def _stock(
    symbol: str, con_id: int, name: str, level: float, volatility: float, volume: int, exchange: str = "NASDAQ"
) -> Listing:
    return Listing(symbol, con_id or derived_con_id(symbol), name, exchange, level, volatility, volume)


LISTINGS: tuple[Listing, ...] = (
    _etf("SPY", 756733, "SPDR S&P 500 ETF TRUST", 600.0, 0.15, 62_000_000, True),
    _etf("QQQ", 320227571, "INVESCO QQQ TRUST SERIES 1", 530.0, 0.20, 41_000_000, True),
    _etf("IWM", 9579970, "ISHARES RUSSELL 2000 ETF", 215.0, 0.21, 29_000_000, True),
    _etf("DIA", 73128548, "SPDR DJIA TRUST", 430.0, 0.14, 3_600_000, False),
    _etf("TLT", 15547841, "ISHARES 20+ YEAR TREASURY BD", 88.0, 0.14, 33_000_000, False),
    _etf("GLD", 51529211, "SPDR GOLD SHARES", 310.0, 0.17, 9_000_000, False),
    _etf("SLV", 39039301, "ISHARES SILVER TRUST", 31.0, 0.28, 18_000_000, False),
    _etf("XLF", 4215220, "FINANCIAL SELECT SECTOR SPDR", 51.0, 0.16, 38_000_000, False),
    _etf("XLE", 4215217, "ENERGY SELECT SECTOR SPDR", 88.0, 0.24, 15_000_000, False),
    _etf("XLK", 4215235, "TECHNOLOGY SELECT SECT SPDR", 240.0, 0.22, 6_000_000, False),
    _etf("EEM", 10190405, "ISHARES MSCI EMERGING MARKET", 47.0, 0.17, 26_000_000, False),
    _stock("AAPL", 265598, "APPLE INC", 200.0, 0.27, 52_000_000),
    _stock("MSFT", 272093, "MICROSOFT CORP", 470.0, 0.24, 21_000_000),
    _stock("NVDA", 4815747, "NVIDIA CORP", 140.0, 0.45, 210_000_000),
    _stock("TSLA", 76792991, "TESLA INC", 320.0, 0.55, 98_000_000),
    _stock("AMZN", 3691937, "AMAZON.COM INC", 210.0, 0.31, 39_000_000),
    _stock("GOOGL", 208813719, "ALPHABET INC-CL A", 175.0, 0.30, 28_000_000),
    _stock("GOOG", 208813720, "ALPHABET INC-CL C", 176.0, 0.30, 19_000_000),
    _stock("META", 107113386, "META PLATFORMS INC-CLASS A", 690.0, 0.33, 12_000_000),
    _stock("AMD", 4391, "ADVANCED MICRO DEVICES", 120.0, 0.48, 41_000_000),
    _stock("NFLX", 15124833, "NETFLIX INC", 1200.0, 0.34, 3_600_000),
    _stock("AVGO", 313130367, "BROADCOM INC", 250.0, 0.42, 22_000_000),
    _stock("INTC", 270639, "INTEL CORP", 21.0, 0.46, 71_000_000),
    _stock("CSCO", 268084, "CISCO SYSTEMS INC", 65.0, 0.21, 19_000_000),
    _stock("PLTR", 444857009, "PALANTIR TECHNOLOGIES INC-A", 135.0, 0.60, 82_000_000),
    _stock("COIN", 481691285, "COINBASE GLOBAL INC -CLASS A", 250.0, 0.70, 9_000_000),
    _stock("COST", 272997, "COSTCO WHOLESALE CORP", 990.0, 0.22, 2_000_000),
    _stock("PEP", 11017, "PEPSICO INC", 131.0, 0.20, 7_000_000),
    _stock("ADBE", 265768, "ADOBE INC", 400.0, 0.33, 3_600_000),
    _stock("JPM", 1520593, "JPMORGAN CHASE & CO", 265.0, 0.24, 9_000_000, "NYSE"),
    _stock("BAC", 10098, "BANK OF AMERICA CORP", 45.0, 0.26, 36_000_000, "NYSE"),
    _stock("GS", 4627828, "GOLDMAN SACHS GROUP INC", 620.0, 0.27, 2_100_000, "NYSE"),
    _stock("XOM", 13977, "EXXON MOBIL CORP", 108.0, 0.24, 15_000_000, "NYSE"),
    _stock("CVX", 5684, "CHEVRON CORP", 145.0, 0.23, 8_000_000, "NYSE"),
    _stock("WMT", 13824, "WALMART INC", 97.0, 0.22, 16_000_000, "NYSE"),
    _stock("DIS", 6459, "WALT DISNEY CO/THE", 117.0, 0.27, 9_000_000, "NYSE"),
    _stock("BA", 4762, "BOEING CO/THE", 205.0, 0.34, 8_000_000, "NYSE"),
    _stock("KO", 8894, "COCA-COLA CO/THE", 71.0, 0.16, 14_000_000, "NYSE"),
    _stock("IBM", 8314, "INTL BUSINESS MACHINES CORP", 275.0, 0.25, 4_000_000, "NYSE"),
    _stock("GE", 498843743, "GENERAL ELECTRIC", 240.0, 0.29, 5_000_000, "NYSE"),
    _stock("F", 9599491, "FORD MOTOR CO", 10.6, 0.34, 95_000_000, "NYSE"),
    _stock("T", 37018770, "AT&T INC", 28.0, 0.22, 36_000_000, "NYSE"),
    _stock("UBER", 365207014, "UBER TECHNOLOGIES INC", 86.0, 0.38, 20_000_000, "NYSE"),
    Listing("SPX", 416904, "S&P 500 Stock Index", "CBOE", 6000.0, 0.15, 0, 0.97, "daily", False, "", "IND"),
    Listing("VIX", 13455763, "CBOE Volatility Index", "CBOE", 18.0, 0.90, 0, 0.0, "none", False, "", "IND"),
)
