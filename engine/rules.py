"""All rules between a signal and a flat position, as one engine's table names them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt

from engine.brackets import BracketRules
from engine.exits import ExitRules
from engine.sizing import SizingRules
from engine.strikes import StrikeRules


@dataclass(frozen=True)
class OrderRules:
    """Seconds are real seconds: they bound how long the engine waits for its proxy, whatever speed the market has."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    chain_timeout_s: Annotated[float, Gt(0)] = 4.0  # for the option chain; later the signal is dropped
    order_timeout_s: Annotated[float, Gt(0)] = 5.0  # for the answer to an order; later it counts as unknown
    status_timeout_s: Annotated[float, Gt(0)] = 2.0  # for order.status
    ask_again_s: Annotated[float, Gt(0)] = 1.0  # between two questions about an unknown order
    max_age_bars: Annotated[int, Ge(1)] = 1  # an order is sent at most so many bars after its signal
    max_sends: Annotated[int, Ge(1)] = 3  # of one identical order, when the proxy says it never saw it


@dataclass(frozen=True)
class DeskRules:
    """All rules between a signal and a flat position."""

    strikes: StrikeRules = field(default_factory=StrikeRules)
    sizing: SizingRules = field(default_factory=SizingRules)
    bracket: BracketRules = field(default_factory=BracketRules)
    exits: ExitRules = field(default_factory=ExitRules)
    orders: OrderRules = field(default_factory=OrderRules)
