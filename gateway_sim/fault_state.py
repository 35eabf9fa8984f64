"""Which faults are on. Pure; the desks and the gateway ask, `faults` switches."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

FaultValue = str | float | int | bool


@dataclass
class FaultState:
    """Active faults by name: until when (elapsed seconds), with what parameters."""

    _until: dict[str, float] = field(default_factory=dict)
    _parameters: dict[str, dict[str, FaultValue]] = field(default_factory=dict)

    def switch_on(self, name: str, until: float = inf, parameters: dict[str, FaultValue] | None = None) -> None:
        self._until[name] = until
        self._parameters[name] = parameters or {}

    def switch_off(self, name: str) -> None:
        self._until.pop(name, None)
        self._parameters.pop(name, None)

    def is_on(self, name: str, now: float) -> bool:
        return now < self._until.get(name, -inf)

    def active(self, now: float) -> list[str]:
        return sorted(name for name, until in self._until.items() if now < until)

    def number(self, name: str, key: str, default: float) -> float:
        """A numeric parameter of a fault."""
        value = self._parameters.get(name, {}).get(key, default)
        return default if isinstance(value, str) else float(value)

    def text(self, name: str, key: str, default: str) -> str:
        return str(self._parameters.get(name, {}).get(key, default))

    def false_unknown(self, now: float) -> bool:
        """During the nightly reset look-ups of valid contracts fail with 200 (rule book 7)."""
        return self.is_on("nightly_reset", now)
