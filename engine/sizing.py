"""How many contracts: so that a stop costs a fixed part of the account. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True)
class SizingRules:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    risk: Annotated[float, Gt(0), Le(0.2)] = 0.01  # of the account's net liquidation value, lost at the stop
    max_quantity: Annotated[int, Ge(1), Le(1000)] = 10  # contracts per order
    max_cost: Annotated[float, Gt(0), Le(1)] = 0.10  # of net liquidation, paid for the premium
    min_equity: Annotated[float, Ge(0)] = 0.0  # below this the account does not trade


@dataclass(frozen=True, slots=True)
class Size:
    """`limited_by` names the rule that set the quantity: risk, cost, funds or max_quantity."""

    quantity: int
    limited_by: str
    at_risk: float
    cost: float


def size(
    *,
    net_liquidation: float | None,
    available_funds: float | None,
    entry: float,
    stop_distance: float,
    multiplier: float,
    rules: SizingRules,
) -> Size | str:
    """Contracts to buy at `entry` with a stop `stop_distance` below, or a sentence saying why none.

    Money in the account's currency, prices per share. `available_funds` None means the account did not say; then only
    `max_cost` bounds the premium.
    """
    if net_liquidation is None or not math.isfinite(net_liquidation):
        return "the account's value is not known yet"
    if net_liquidation < max(rules.min_equity, 0.01):
        return f"the account's value {net_liquidation:,.0f} is below the minimum {rules.min_equity:,.0f}"
    if not all(math.isfinite(number) and number > 0 for number in (entry, stop_distance, multiplier)):
        return f"no size for entry {entry:g}, stop distance {stop_distance:g}, multiplier {multiplier:g}"
    cost_each, risk_each = entry * multiplier, stop_distance * multiplier
    limits = {
        "risk": _whole(net_liquidation * rules.risk / risk_each),
        "cost": _whole(net_liquidation * rules.max_cost / cost_each),
        "max_quantity": rules.max_quantity,
    }
    if available_funds is not None and math.isfinite(available_funds):
        limits["funds"] = _whole(max(available_funds, 0.0) / cost_each)
    limited_by = min(limits, key=lambda name: limits[name])
    quantity = limits[limited_by]
    if quantity < 1:
        needs = f"risks {risk_each:,.2f}" if limited_by == "risk" else f"costs {cost_each:,.2f}"
        return f"one contract {needs}: more than the {limited_by} limit allows"
    return Size(quantity, limited_by, quantity * risk_each, quantity * cost_each)


def _whole(contracts: float) -> int:
    """Rounded down, but 2.9999999996 is 3: money divided by ticks leaves binary dust."""
    return int(math.floor(contracts + 1e-9))
