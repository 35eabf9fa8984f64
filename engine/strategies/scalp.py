"""Scalping with the trend: fast EMA over slow EMA, price on the right side of VWAP, RSI with room left."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

from engine.bars import BarWindow
from engine.indicators import fast
from engine.sessions import MarketClock
from engine.strategy import Decision, Side, Values, no


@dataclass(frozen=True)
class ScalpParameters:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    rsi_period: Annotated[int, Ge(2), Le(200)] = 14
    ema_fast: Annotated[int, Ge(2), Le(200)] = 9
    ema_slow: Annotated[int, Ge(3), Le(400)] = 21
    # "cross": the EMAs crossed within `cross_bars` bars; "trend": it is enough that they are in order.
    entry: Literal["cross", "trend"] = "cross"
    cross_bars: Annotated[int, Ge(1), Le(60)] = 3
    # RSI must lie in [rsi_middle, rsi_high] to buy and in [100 - rsi_high, 100 - rsi_middle] to sell.
    rsi_middle: Annotated[float, Gt(0), Lt(100)] = 50.0
    rsi_high: Annotated[float, Gt(0), Le(100)] = 70.0
    # The price must be this far beyond VWAP, as a fraction of VWAP.
    vwap_margin: Annotated[float, Ge(0), Lt(0.1)] = 0.0

    def __post_init__(self) -> None:
        if self.ema_fast >= self.ema_slow:
            raise ValueError(f"ema_fast ({self.ema_fast}) must be shorter than ema_slow ({self.ema_slow})")
        if self.rsi_middle >= self.rsi_high:
            raise ValueError(f"rsi_middle ({self.rsi_middle:g}) must be below rsi_high ({self.rsi_high:g})")


class Scalp:
    name: ClassVar[str] = "scalp"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[ScalpParameters]] = ScalpParameters

    def __init__(self, parameters: ScalpParameters) -> None:
        self.rules = parameters
        self._out = np.empty((fast.SET_ROWS, 0))

    @property
    def bars_needed(self) -> int:
        return max(self.rules.rsi_period + 1, self.rules.ema_slow) + self.rules.cross_bars

    def measure(self, window: BarWindow) -> Values:
        """close rsi ema_fast ema_slow vwap, and `bars_since_cross`: 1 on the crossing bar, NaN if none is in sight."""
        rules = self.rules
        if self._out.shape[1] < window.capacity:
            self._out = np.empty((fast.SET_ROWS, window.capacity))
        out, last = self._out, len(window) - 1
        fast.strategy_set(
            window.prices, window.first, window.stop, rules.rsi_period, rules.ema_fast, rules.ema_slow, out
        )
        return {
            "close": float(window.close[-1]),
            "rsi": float(out[fast.RSI, last]),
            "ema_fast": float(out[fast.EMA_FAST, last]),
            "ema_slow": float(out[fast.EMA_SLOW, last]),
            "vwap": float(out[fast.VWAP, last]),
            "bars_since_cross": self._bars_since_cross(last),
        }

    def decide(self, window: BarWindow, values: Values, clock: MarketClock) -> Decision:
        """BUY or SELL when EMAs, VWAP and RSI agree; else "no" with the first rule that stood against it."""
        if any(math.isnan(values[name]) for name in ("rsi", "ema_fast", "ema_slow", "vwap")):
            return no("warm_up", "an indicator has no value yet", values)
        if values["ema_fast"] == values["ema_slow"]:
            return no("ema", "the EMAs are equal", values)
        side: Side = "BUY" if values["ema_fast"] > values["ema_slow"] else "SELL"
        return self._against_cross(values) or self._against_vwap(side, values) or self._by_rsi(side, values)

    def _against_cross(self, values: Values) -> Decision | None:
        since = values["bars_since_cross"]
        if self.rules.entry == "trend" or since <= self.rules.cross_bars:
            return None
        ago = "none in sight" if math.isnan(since) else f"{since:.0f} bars ago"
        return no("ema_cross", f"no EMA cross within {self.rules.cross_bars} bars ({ago})", values)

    def _against_vwap(self, side: Side, values: Values) -> Decision | None:
        margin = values["vwap"] * self.rules.vwap_margin
        beyond = values["close"] - values["vwap"] if side == "BUY" else values["vwap"] - values["close"]
        if beyond > margin:
            return None
        where = "above" if side == "BUY" else "below"
        return no("vwap", f"{side}: close {values['close']:.2f} is not {where} VWAP {values['vwap']:.2f}", values)

    def _by_rsi(self, side: Side, values: Values) -> Decision:
        low, high = self.rules.rsi_middle, self.rules.rsi_high
        strength = values["rsi"] if side == "BUY" else 100.0 - values["rsi"]
        if strength < low:
            return no("rsi", f"{side}: RSI {values['rsi']:.1f} shows no strength", values)
        if strength > high:
            return no("rsi", f"{side}: RSI {values['rsi']:.1f} has run too far", values)
        order = ">" if side == "BUY" else "<"
        rules = self.rules
        reason = (
            f"EMA{rules.ema_fast} {values['ema_fast']:.2f} {order} EMA{rules.ema_slow} {values['ema_slow']:.2f}, "
            f"close {values['close']:.2f} {order} VWAP {values['vwap']:.2f}, RSI {values['rsi']:.1f}"
        )
        return Decision(side, "agree", reason, values)

    def _bars_since_cross(self, last: int) -> float:
        spread = self._out[fast.EMA_FAST, : last + 1] - self._out[fast.EMA_SLOW, : last + 1]
        newest = spread[last]
        if not newest:
            return math.nan
        same_side = spread * newest > 0
        breaks = np.flatnonzero(~same_side)
        # A NaN spread is warm-up, not a cross.
        if not breaks.size or math.isnan(spread[breaks[-1]]):
            return math.nan
        return float(last - breaks[-1])


STRATEGY = Scalp
