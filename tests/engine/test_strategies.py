"""Scalp and reversion: pure rules that always say why."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from engine.bars import BarWindow
from engine.rehearsal import rehearse
from engine.strategies.reversion import Reversion, ReversionParameters
from engine.strategies.scalp import Scalp, ScalpParameters
from engine.strategy import StrategyNotFound, load_strategy
from tests.engine.conftest import at, make_bar

GOOD = {"close": 600.5, "rsi": 60.0, "ema_fast": 600.4, "ema_slow": 600.2, "vwap": 600.0, "bars_since_cross": 2.0}
FAR = {
    "close": 590.0, "vwap": 600.0, "upper": 605.0, "lower": 595.0, "rsi": 20.0, "adx": 15.0, "session_bars": 100.0
}  # fmt: skip


def scalp(**values: float) -> Any:
    return Scalp(ScalpParameters()).decide(BarWindow(5), {**GOOD, **values}, at(60))


def test_scalp_buys_when_everything_agrees_and_names_the_numbers():
    """EMA cross, VWAP side and RSI with room left."""
    decision = scalp()

    assert decision.side == "BUY"
    assert "RSI 60.0" in decision.reason and "VWAP 600.00" in decision.reason


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"rsi": math.nan}, "warm_up"),
        ({"vwap": math.nan}, "warm_up"),
        ({"ema_fast": 600.2}, "ema"),
        ({"bars_since_cross": 4.0}, "ema_cross"),
        ({"bars_since_cross": math.nan}, "ema_cross"),
        ({"close": 599.9}, "vwap"),
        ({"rsi": 49.0}, "rsi"),
        ({"rsi": 71.0}, "rsi"),
    ],
)
def test_scalp_says_which_rule_stood_against_it(values, rule):
    """A "no" carries the first rule and the values it saw."""
    decision = scalp(**values)

    assert (decision.side, decision.rule) == (None, rule)
    assert decision.values["close"] == values.get("close", 600.5)


def test_scalp_sells_in_the_mirror():
    """The same rules upside down."""
    assert scalp(ema_fast=599.6, ema_slow=599.8, close=599.5, rsi=40.0).side == "SELL"
    assert scalp(ema_fast=599.6, ema_slow=599.8, close=599.5, rsi=29.0).rule == "rsi"


def test_scalp_measures_the_cross_in_bars():
    """1 on the bar where the fast EMA came to the other side."""
    strategy = Scalp(ScalpParameters(rsi_period=2, ema_fast=2, ema_slow=4))
    window = BarWindow(40)
    seen = []
    for minute, close in enumerate(np.r_[np.linspace(610, 600, 20), np.linspace(600, 610, 10)]):
        window.take(make_bar(minute, close=float(close)))
        seen.append(strategy.measure(window)["bars_since_cross"] if len(window) >= strategy.bars_needed else math.nan)

    known = [value for value in seen if not math.isnan(value)]
    assert known == [float(count) for count in range(1, len(known) + 1)]
    assert 5 <= len(known) <= 9


def test_reversion_fades_what_is_far_from_vwap():
    """Below the band with a low RSI it buys, above with a high one it sells; a trend or a calm RSI stops it."""
    strategy = Reversion(ReversionParameters())

    def decide(**values: float) -> Any:
        return strategy.decide(BarWindow(5), {**FAR, **values}, at(60))

    assert decide().side == "BUY"
    assert decide(close=610.0, rsi=80.0).side == "SELL"
    rules = [decide(**one).rule for one in ({"close": 600.0}, {"adx": 40.0}, {"rsi": 40.0}, {"session_bars": 5.0})]
    assert rules == ["bands", "adx", "rsi", "session"]


@pytest.mark.parametrize("name", ["scalp", "reversion"])
def test_built_in_strategies_run_on_made_up_bars(name):
    """What the engine does before it says that it is ready; values are floats, decisions have reasons."""
    kind = load_strategy(name)

    assert rehearse(kind(kind.Parameters())) >= 0


def test_unknown_strategy_is_named_with_what_would_be_right():
    """A typo must not look like a missing library."""
    with pytest.raises(StrategyNotFound, match=r"no engine/strategies/sclap\.py and no module 'sclap'"):
        load_strategy("sclap")
    with pytest.raises(StrategyNotFound, match="has no STRATEGY"):
        load_strategy("json")
