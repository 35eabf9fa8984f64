"""Which option to trade: the strikes around the money, filtered by what can be traded, the busiest first. Pure."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Gt, Le

from gateway_proxy import Chain, ChainRow, Contract

Right = Literal["C", "P"]


@dataclass(frozen=True)
class StrikeRules:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    width: Annotated[int, Ge(0), Le(20)] = 1  # strikes on each side of the one nearest to the underlying's price
    min_volume: Annotated[float, Ge(0)] = 1  # contracts traded today
    max_spread: Annotated[float, Gt(0), Le(2)] = 0.10  # (ask - bid) / middle
    min_bid: Annotated[float, Ge(0)] = 0.05  # below this an option is a lottery ticket


@dataclass(frozen=True, slots=True)
class Pick:
    """One option with the quote it was chosen at."""

    contract: Contract
    row: ChainRow
    bid: float
    ask: float
    multiplier: float
    min_tick: float
    price_bands: tuple[tuple[float, float], ...] = ()


def pick(chain: Chain, right: Right, rules: StrikeRules) -> Pick | str:
    """The option with the highest volume within `width` strikes of the money, or why there is none.

    Ties go to the narrower spread, then to the strike nearer to the money, then to the lower strike: the same chain
    always gives the same option.
    """
    if not (math.isfinite(chain.underlying_price) and chain.underlying_price > 0):
        return "the chain has no price of the underlying"
    multiplier = _multiplier(chain.multiplier)
    if multiplier is None:
        return f"the chain's multiplier {chain.multiplier!r} is not a number"
    near = _near_the_money(chain, right, rules.width)
    if not near:
        return f"the chain has no {'calls' if right == 'C' else 'puts'}"
    doubled = [strike for strike, count in Counter(row.strike for row in near).items() if count > 1]
    if doubled:
        return f"strike {doubled[0]:g} stands twice in the chain: adjusted contracts are not traded"
    faults = {row.strike: untradable(row, rules) for row in near}
    tradable = [row for row in near if faults[row.strike] is None]
    if not tradable:
        return "; ".join(f"{strike:g}: {fault}" for strike, fault in faults.items())
    best = min(
        tradable,
        key=lambda row: (-(row.volume or 0.0), _spread(row), abs(row.strike - chain.underlying_price), row.strike),
    )
    return Pick(
        _contract(chain, best), best, best.bid or 0.0, best.ask or 0.0, multiplier, chain.min_tick, chain.price_bands
    )


def untradable(row: ChainRow, rules: StrikeRules) -> str | None:
    """Why this option is not traded, or None. A value IB did not give counts against it."""
    if row.bid is None or row.ask is None:
        return "no quote"
    if not (math.isfinite(row.bid) and math.isfinite(row.ask)) or row.bid <= 0 or row.ask <= 0:
        return "no quote"
    if row.ask < row.bid:
        return f"crossed quote {row.bid:g}/{row.ask:g}"
    if row.bid < rules.min_bid:
        return f"bid {row.bid:g} below {rules.min_bid:g}"
    if _spread(row) > rules.max_spread:
        return f"spread {_spread(row):.0%} of the price"
    if row.volume is None or not row.volume >= rules.min_volume:
        return f"volume {row.volume if row.volume is not None else 'unknown'}"
    if row.con_id <= 0:
        return "not confirmed by IB"
    return None


def _near_the_money(chain: Chain, right: Right, width: int) -> list[ChainRow]:
    rows = sorted((row for row in chain.rows if row.right == right and row.strike > 0), key=lambda row: row.strike)
    strikes = sorted({row.strike for row in rows})
    if not strikes:
        return []
    middle = min(range(len(strikes)), key=lambda at: (abs(strikes[at] - chain.underlying_price), strikes[at]))
    allowed = set(strikes[max(0, middle - width) : middle + width + 1])
    return [row for row in rows if row.strike in allowed]


def _spread(row: ChainRow) -> float:
    assert row.bid is not None and row.ask is not None
    return (row.ask - row.bid) / ((row.ask + row.bid) / 2)


def _multiplier(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e6 else None


def _contract(chain: Chain, row: ChainRow) -> Contract:
    return Contract(
        symbol=chain.symbol,
        sec_type="OPT",
        last_trade_date=chain.expiry,
        strike=row.strike,
        right=row.right,
        multiplier=chain.multiplier,
        trading_class=chain.trading_class,
        con_id=row.con_id,
    )
