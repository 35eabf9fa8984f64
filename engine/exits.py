"""When a trade must end although neither take-profit nor stop-loss was reached. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from engine.sessions import NS_PER_S, MarketClock


@dataclass(frozen=True)
class ExitRules:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    entry_bars: Annotated[int, Ge(1)] = 2  # an entry that is not filled after so many bars is cancelled
    max_bars: Annotated[int, Ge(0)] = 30  # a position is closed after so many bars; 0 leaves it to its exits
    flat_minutes_before_close: Annotated[float, Ge(0)] = 5.0  # everything is closed by then; 0 holds over the close


def time_is_up(
    rules: ExitRules, clock: MarketClock, bar_s: int, signal_bar_ns: int, opened_bar_ns: int | None
) -> str | None:
    """Why the trade must end at the end of this bar, or None. `opened_bar_ns` None: the entry is not filled yet."""
    if clock.minutes_to_close <= rules.flat_minutes_before_close and rules.flat_minutes_before_close > 0:
        return "the session ends"
    bar_ns = bar_s * NS_PER_S
    if opened_bar_ns is None:
        waited = (clock.bar_start_ns - signal_bar_ns) // bar_ns
        return f"entry not filled after {waited} bars" if waited >= rules.entry_bars else None
    held = (clock.bar_start_ns - opened_bar_ns) // bar_ns
    return f"held for {held} bars" if rules.max_bars and held >= rules.max_bars else None
