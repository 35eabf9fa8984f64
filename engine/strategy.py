"""What a strategy is: a pure rule from a window of bars to a decision that carries its reasons.

One file with one class, and one config block, make a strategy; docs/strategies.md shows it step by step.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from engine.bars import BarWindow
from engine.sessions import MarketClock

Side = Literal["BUY", "SELL"]
Values = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules say about one completed bar.

    `side` BUY expects the underlying to rise (a call is bought), SELL to fall (a put is bought), None is "no".
    `reason` is one sentence for a trader, `rule` the stable word of the rule that decided, `values` the numbers it saw.
    """

    side: Side | None
    rule: str
    reason: str
    values: Values = field(default_factory=dict)

    @property
    def is_signal(self) -> bool:
        return self.side is not None


@dataclass(frozen=True, slots=True)
class Decider:
    """Who decides: engine, strategy and its version, as every record of a decision names them."""

    engine: str
    strategy: str
    version: int

    def record(
        self, symbol: str, bar_start_ns: int, decision: Decision, guard: str = "", guard_reason: str = ""
    ) -> dict[str, Any]:
        """One line of the decision log; `guard` is what held a signal back, "" when nothing did."""
        return {
            "engine": self.engine,
            "strategy": self.strategy,
            "version": self.version,
            "symbol": symbol,
            "bar_start_ns": bar_start_ns,
            "side": decision.side,
            "rule": decision.rule,
            "reason": decision.reason,
            # float: a strategy may hand out numpy's own numbers, which JSON does not know.
            "values": {name: None if math.isnan(value) else float(value) for name, value in decision.values.items()},
            "guard": guard,
            "guard_reason": guard_reason,
        }


def no(rule: str, reason: str, values: Values | None = None) -> Decision:
    """A decision to do nothing, with the reason."""
    return Decision(None, rule, reason, values or {})


class Strategy(Protocol):
    """The whole contract between the engine and a strategy. The class itself also has `Parameters`, a frozen dataclass.

    `version` is part of every order id: raise it when the rules change. `bars_needed` is the shortest window `measure`
    can work with; the engine decides "no" until it has it. Both methods are pure: same window, same answer.
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> int: ...

    @property
    def bars_needed(self) -> int: ...

    def measure(self, window: BarWindow) -> Values:
        """The indicator values of the newest bar; NaN where one is not defined."""
        ...

    def decide(self, window: BarWindow, values: Values, clock: MarketClock) -> Decision:
        """Signal or "no"; called once per completed bar."""
        ...


class StrategyNotFound(Exception):
    """`where` is what the config said; the message says what would be right."""


def load_strategy(where: str) -> type[Any]:
    """The strategy class that a config value means: "scalp" is engine/strategies/scalp.py, else any importable module.

    The module names its class in `STRATEGY`. Raises StrategyNotFound with a sentence that says what is missing.
    """
    built_in = f"engine.strategies.{where}"
    for module_name in (built_in, where) if where.isidentifier() else (where,):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            if error.name != module_name:
                raise StrategyNotFound(
                    f"strategy {where!r}: {module_name} imports {error.name!r}, which is missing"
                ) from error
            continue
        found = getattr(module, "STRATEGY", None)
        if not isinstance(found, type):
            raise StrategyNotFound(f"strategy {where!r}: {module_name} has no STRATEGY = <your class>")
        return found
    raise StrategyNotFound(f"strategy {where!r}: there is no engine/strategies/{where}.py and no module {where!r}")
