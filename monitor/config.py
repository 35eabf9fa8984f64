"""Settings of the monitor: section [monitor] of the one configuration file, written once and checked at the door."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le


@dataclass(frozen=True, slots=True)
class StateSettings:
    """How much is remembered, and when silence is a fault. What exceeds a limit drops the oldest."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # Heartbeats come every 250 ms; eight missed ones are a silent proxy.
    silent_after_s: Annotated[float, Gt(0)] = 2.0
    # Engines report at least every few seconds, also when there is nothing to trade.
    engine_silent_after_s: Annotated[float, Gt(0)] = 15.0
    events_max: Annotated[int, Ge(10), Le(100_000)] = 1000
    orders_max: Annotated[int, Ge(10), Le(100_000)] = 300
    fills_max: Annotated[int, Ge(10), Le(100_000)] = 300
    verdicts_max: Annotated[int, Ge(10), Le(100_000)] = 200
    workers_max: Annotated[int, Ge(1), Le(10_000)] = 100
