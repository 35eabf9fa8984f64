"""Which faults are on. Pure; the desks and the gateway ask, `faults` switches."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

UPSTREAM_FAULTS = ("upstream_lost", "data_lost", "nightly_reset")
FEED_FAULTS = ("freeze_feed", "farm_flap", "competing_session", *UPSTREAM_FAULTS)
SILENT_HISTORY_FAULTS = ("hmds_silent", "hmds_down", "pacing_silent", "farm_flap")

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

    def is_set(self, name: str) -> bool:
        """Whether it was switched on and not yet off, even if its time has just run out."""
        return name in self._until

    def use_up(self, name: str) -> None:
        """One of `count` occurrences happened; the last one switches the fault off."""
        left = int(self.number(name, "count", 1)) - 1
        if left <= 0:
            self.switch_off(name)
        else:
            self._parameters[name]["count"] = left

    def active(self, now: float) -> list[str]:
        return sorted(name for name, until in self._until.items() if now < until)

    def number(self, name: str, key: str, default: float) -> float:
        """A numeric parameter of a fault."""
        value = self._parameters.get(name, {}).get(key, default)
        return default if isinstance(value, str) else float(value)

    def set_number(self, name: str, key: str, value: float) -> None:
        if name in self._parameters:
            self._parameters[name][key] = value

    def text(self, name: str, key: str, default: str) -> str:
        return str(self._parameters.get(name, {}).get(key, default))

    def feed_frozen(self, now: float) -> bool:
        """Whether market data streams stand still."""
        return bool(self._until) and any(self.is_on(name, now) for name in FEED_FAULTS)

    def upstream_lost(self, now: float) -> bool:
        """Whether the link to IB is down."""
        return bool(self._until) and any(self.is_on(name, now) for name in UPSTREAM_FAULTS)

    def history_silent(self, now: float) -> bool:
        """Whether historical requests go unanswered."""
        return any(self.is_on(name, now) for name in SILENT_HISTORY_FAULTS) or self.upstream_lost(now)

    def false_unknown(self, now: float) -> bool:
        """During the nightly reset look-ups of valid contracts fail with 200 (rule book 7)."""
        return self.is_on("nightly_reset", now)
