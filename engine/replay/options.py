"""What options would have cost: Black and Scholes at one volatility, with a spread. Pure.

A model, not a memory. What a replay reports rests on it wherever no option quotes were recorded.
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from annotated_types import Gt, Lt

from engine.sessions import close_minute, market_clock

_MINUTES_A_YEAR = 365.0 * 24 * 60


@dataclass(frozen=True)
class OptionModel:
    """Options of its own chains expire at the end of the session they are bought in."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    volatility: Annotated[float, Gt(0), Lt(5)] = 0.20  # a year's, the same for all strikes
    spread: Annotated[float, Gt(0), Lt(1)] = 0.02  # between bid and ask, as a fraction of the price, at least a cent
    strike_step: Annotated[float, Gt(0)] = 1.0
    commission: float = 0.65  # per contract and side

    def quote(self, spot: float, strike: float, right: str, time_ns: int, expiry: str = "") -> tuple[float, float]:
        """(bid, ask) per share on the penny grid; the bid may be 0. `expiry` YYYYMMDD, "" for the same day."""
        middle = value(spot, strike, right, self._years_left(time_ns, expiry), self.volatility)
        half = max(0.01, middle * self.spread) / 2
        return max(0.0, math.floor((middle - half) * 100 + 1e-9) / 100), math.ceil((middle + half) * 100 - 1e-9) / 100

    def chain(self, symbol: str, spot: float, width: int, time_ns: int) -> dict[str, Any]:
        """The answer to a `chain` request; volume falls with the distance from the money."""
        middle = round(spot / self.strike_step)
        rows = []
        for at in range(middle - width, middle + width + 1):
            for right in ("C", "P"):
                strike = at * self.strike_step
                bid, ask = self.quote(spot, strike, right, time_ns)
                rows.append({
                    "strike": strike, "right": right, "con_id": at * 2 + (right == "P") + 1, "bid": bid, "ask": ask,
                    "volume": math.floor(1000 / (1 + abs(strike - spot))),
                })  # fmt: skip
        expiry = market_clock(time_ns, 0).date.strftime("%Y%m%d")
        return {"symbol": symbol, "expiry": expiry, "underlying_price": spot, "rows": rows, "min_tick": 0.01}

    @staticmethod
    def _years_left(time_ns: int, expiry: str) -> float:
        clock = market_clock(time_ns, 0)
        minute = clock.minutes_since_open + 570
        last_day = datetime.date.fromisoformat(expiry) if expiry else clock.date
        days = (last_day - clock.date).days
        return max(0.0, days * 1440 + close_minute(last_day) - minute) / _MINUTES_A_YEAR


def value(spot: float, strike: float, right: str, years: float, volatility: float) -> float:
    """The model price per share, no interest. At the end of its life an option is worth what it is in the money."""
    intrinsic = max(0.0, spot - strike) if right == "C" else max(0.0, strike - spot)
    spread = volatility * math.sqrt(years)
    if spread <= 0:
        return intrinsic
    d1 = math.log(spot / strike) / spread + spread / 2
    call = spot * _normal(d1) - strike * _normal(d1 - spread)
    return max(intrinsic, call if right == "C" else call - spot + strike)


def _normal(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))
