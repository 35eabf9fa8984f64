"""Back to VWAP: a price far from the average of its session, with RSI at its end and no trend, should return."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge, Gt, Le, Lt

from engine import indicators
from engine.bars import BarWindow
from engine.sessions import MarketClock
from engine.strategy import Decision, Values, no


@dataclass(frozen=True)
class ReversionParameters:
    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    bands: Annotated[float, Gt(0), Le(10)] = 2.0  # distance from VWAP, in volume-weighted standard deviations
    rsi_period: Annotated[int, Ge(2), Le(200)] = 14
    rsi_low: Annotated[float, Gt(0), Lt(50)] = 30.0  # buy at or below it; sell at or above 100 - rsi_low
    adx_period: Annotated[int, Ge(2), Le(100)] = 14
    adx_max: Annotated[float, Gt(0), Le(100)] = 30.0  # above it a trend runs, and trends are not faded
    session_bars: Annotated[int, Ge(1)] = 30  # bars of this session before its average means anything


class Reversion:
    name: ClassVar[str] = "reversion"
    version: ClassVar[int] = 1
    Parameters: ClassVar[type[ReversionParameters]] = ReversionParameters

    def __init__(self, parameters: ReversionParameters) -> None:
        self.rules = parameters
        self._vwap = indicators.VWAP(parameters.bands)
        self._adx = indicators.ADX(parameters.adx_period)

    @property
    def bars_needed(self) -> int:
        return max(self.rules.rsi_period + 1, 2 * self.rules.adx_period, self.rules.session_bars)

    def measure(self, window: BarWindow) -> Values:
        """close, vwap, upper, lower, rsi, adx, and `session_bars` known of this session."""
        session = window.session
        bars = indicators.Bars(window.close, window.high, window.low, window.volume, session)
        bands = self._vwap.batch(bars)
        return {
            "close": float(window.close[-1]),
            "vwap": float(bands["vwap"][-1]),
            "upper": float(bands["upper"][-1]),
            "lower": float(bands["lower"][-1]),
            "rsi": float(indicators.rsi(window.close, self.rules.rsi_period)[-1]),
            "adx": float(self._adx.batch(bars)["adx"][-1]),
            "session_bars": float((session == session[-1]).sum()),
        }

    def decide(self, window: BarWindow, values: Values, clock: MarketClock) -> Decision:
        """BUY below the lower band, SELL above the upper one, if RSI agrees and no trend runs."""
        rules = self.rules
        if any(math.isnan(values[name]) for name in ("vwap", "rsi", "adx")):
            return no("warm_up", "an indicator has no value yet", values)
        if values["session_bars"] < rules.session_bars:
            return no("session", f"{values['session_bars']:.0f} of {rules.session_bars} bars of this session", values)
        if values["lower"] <= values["close"] <= values["upper"]:
            return no("bands", f"close {values['close']:.2f} is within {rules.bands:g} bands of VWAP", values)
        if values["adx"] > rules.adx_max:
            return no("adx", f"ADX {values['adx']:.1f} shows a trend", values)
        below = values["close"] < values["lower"]
        exhausted = values["rsi"] <= rules.rsi_low if below else values["rsi"] >= 100.0 - rules.rsi_low
        if not exhausted:
            return no("rsi", f"RSI {values['rsi']:.1f} is not at its end", values)
        where = f"below {values['lower']:.2f}" if below else f"above {values['upper']:.2f}"
        reason = f"close {values['close']:.2f} is {where}, VWAP {values['vwap']:.2f}, RSI {values['rsi']:.1f}"
        return Decision("BUY" if below else "SELL", "far from VWAP", reason, values)


STRATEGY = Reversion
