"""Entry, take-profit and stop-loss of one option order, on the price grid of its market. Pure.

Ticks are counted in integers: a price that is off the grid by a rounding error is refused by IB (error 110).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

_PENNY = Decimal("0.01")
_ABOVE_THREE = {_PENNY: Decimal("0.05"), Decimal("0.05"): Decimal("0.10")}
PENNIES_EVERYWHERE = frozenset({"SPY", "QQQ", "IWM"})


@dataclass(frozen=True)
class BracketRules:
    """Exits as fractions of the entry price, so that one setting fits cheap and dear options."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    take_profit: Annotated[float, Gt(0), Le(10)] = 0.20  # sell at entry + this fraction
    stop_loss: Annotated[float, Gt(0), Lt(1)] = 0.10  # and at entry - this fraction
    # Where between bid (0) and ask (1) the entry limit stands; above 1 it crosses the spread with something to spare.
    entry_at: Annotated[float, Ge(0), Le(1.5)] = 1.0


@dataclass(frozen=True)
class PriceGrid:
    """A market rule: bands of (lower edge, increment), lowest first (rule book 9).

    US options in pennies below 3.00 and nickels above: PriceGrid.of((0, 0.01), (3, 0.05)).
    """

    bands: tuple[tuple[Decimal, Decimal], ...]

    @classmethod
    def of(cls, *bands: tuple[float, float]) -> PriceGrid:
        """Raises ValueError unless edges start at 0 and rise and increments are positive."""
        exact = tuple((Decimal(str(edge)), Decimal(str(step))) for edge, step in bands)
        edges = [edge for edge, _ in exact]
        if not exact or edges[0] != 0 or edges != sorted(set(edges)) or any(not step > 0 for _, step in exact):
            raise ValueError(f"a price grid wants rising edges from 0 and positive increments, got {bands}")
        return cls(exact)

    @classmethod
    def of_pick(cls, symbol: str, min_tick: float, bands: tuple[tuple[float, float], ...]) -> PriceGrid:
        """The market's own rule where the chain brought it, otherwise what the class usually has."""
        return cls.of(*bands) if bands else cls.of_option(symbol, min_tick)

    @classmethod
    def of_option(cls, symbol: str, min_tick: float) -> PriceGrid:
        """The grid of a US option class, of which IB's contract tells only the smallest increment.

        From 3.00 on the increment is a nickel for penny classes and a dime for nickel classes, except for the few
        classes that trade in pennies everywhere (rule book 9). A price on a coarser grid is on the finer one too.
        """
        small = Decimal(str(min_tick)) if 0 < min_tick < 1000 else _PENNY
        if symbol in PENNIES_EVERYWHERE or small not in _ABOVE_THREE:
            return cls(((Decimal(0), small),))
        return cls(((Decimal(0), small), (Decimal(3), _ABOVE_THREE[small])))

    def down(self, price: float) -> float:
        """The highest grid price not above `price`; 0 if there is none."""
        return float(self._snap(price, ROUND_FLOOR))

    def up(self, price: float) -> float:
        """The lowest grid price not below `price`."""
        return float(self._snap(price, ROUND_CEILING))

    def next_above(self, price: float) -> float:
        return float(self._step_at(Decimal(str(price))) + self._snap(price, ROUND_FLOOR))

    def _step_at(self, price: Decimal) -> Decimal:
        return next(step for edge, step in reversed(self.bands) if price >= edge)

    def _snap(self, price: float, rounding: str) -> Decimal:
        # Twelve digits forget the binary error of sums such as 0.1 + 0.2 and nothing that a market knows.
        exact = max(Decimal(f"{price:.12g}"), Decimal(0))
        edge, step = next((edge, step) for edge, step in reversed(self.bands) if exact >= edge)
        return edge + ((exact - edge) / step).to_integral_value(rounding) * step


@dataclass(frozen=True, slots=True)
class Bracket:
    """Three prices on the grid: stop_loss < limit_price < take_profit."""

    limit_price: float
    take_profit: float
    stop_loss: float

    @property
    def stop_distance(self) -> float:
        """What one share of the contract loses at the stop."""
        return self.limit_price - self.stop_loss


def bracket(bid: float, ask: float, rules: BracketRules, grid: PriceGrid) -> Bracket | str:
    """Prices to buy at this quote, or a sentence saying why there are none.

    Entry and take-profit are rounded up, the stop down; the exits are at least one tick away from the entry.
    """
    if not 0 < bid <= ask < float("inf"):
        return f"no usable quote: bid {bid:g}, ask {ask:g}"
    limit_price = grid.up(bid + (ask - bid) * rules.entry_at)
    take_profit = _at_least(grid.next_above(limit_price), limit_price * (1 + rules.take_profit), grid.up)
    stop_loss = grid.down(limit_price * (1 - rules.stop_loss))
    if stop_loss >= limit_price or stop_loss <= 0:
        return f"no room for a stop below {limit_price:g}"
    return Bracket(limit_price, take_profit, stop_loss)


def _at_least(lowest: float, wanted: float, snap: Callable[[float], float]) -> float:
    return max(lowest, snap(wanted))
