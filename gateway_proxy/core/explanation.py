"""What pacing answers to "would this go now, what holds it, until when?". Values only."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any


@dataclass(frozen=True, slots=True)
class RuleView:
    """One rule as it stands for one job. `goes_at` is inf when only a release can make room."""

    rule: str
    used: float
    limit: float
    takes: int
    goes_at: float
    source: str

    def body(self, now: float) -> dict[str, Any]:
        """Plain JSON; `goes_in_s` None when only a release can make room, `limit` None when there is none."""
        return {
            "rule": self.rule,
            "used": self.used,
            "limit": None if self.limit == inf else self.limit,
            "takes": self.takes,
            "goes_in_s": seconds_until(self.goes_at, now),
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Explanation:
    """When a job could go if nothing else went before it, and which rule holds it until then ("" = none).

    goes_at: inf when it waits for something to be given back.    ahead: queued jobs that would go first.
    expected_at: the same with those jobs in front, each as early as it may; never before `goes_at`.
    """

    goes_at: float
    held_by: str
    rules: tuple[RuleView, ...] = ()
    ahead: int = 0
    expected_at: float = 0.0

    def body(self, now: float) -> dict[str, Any]:
        """Plain JSON for the `explain` op: times in seconds from now, None when only a release can make room."""
        return {
            "goes_in_s": seconds_until(self.goes_at, now),
            "expected_in_s": seconds_until(self.expected_at, now),
            "held_by": self.held_by,
            "ahead": self.ahead,
            "rules": [view.body(now) for view in self.rules],
        }


def seconds_until(at: float, now: float) -> float | None:
    """0 when it has passed, None when it never comes."""
    return None if at == inf else round(max(0.0, at - now), 3)
