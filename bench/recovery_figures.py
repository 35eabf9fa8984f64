"""When the blows of `bench.recovery` fall, what is promised about each kind, and how its samples become one line. Pure.

The caller brings the chance; the same seed gives the same moments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median
from typing import Any, Final

#: The session rests at least so long between two blows.
QUIET_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One blow: seconds until the first message that tells of it, and from its end until all is well again."""

    noticed_s: float
    ready_s: float


@dataclass(frozen=True, slots=True)
class Promise:
    """The bounds that we stand for, in seconds; None where we only measure."""

    noticed_s: float | None = None
    ready_s: float | None = None


def pauses(rounds: int, cycle_s: float, uniform: Callable[[float, float], float]) -> list[float]:
    """Seconds of peace before each blow: the rest, and a random part of the probe cycle, so that it falls anywhere in
    it."""
    return [QUIET_S + uniform(0.0, cycle_s) for _ in range(rounds)]


def spread(values_s: Sequence[float], promised_s: float | None) -> dict[str, float | int | None]:
    """Median, 90th percentile (nearest rank) and maximum in milliseconds, the promise, and how many broke it.

    values_s: at least one.
    """
    ordered = sorted(values_s)
    p90 = ordered[ceil(0.9 * len(ordered)) - 1]
    shown: dict[str, float | int | None] = {
        name: round(value * 1e3, 1) for name, value in (("median", median(ordered)), ("p90", p90), ("max", ordered[-1]))
    }
    if promised_s is None:
        return shown | {"promised": None, "broken": None}
    return shown | {"promised": round(promised_s * 1e3, 1), "broken": sum(value > promised_s for value in ordered)}


def line(name: str, seed: int, samples: Sequence[Sample], promise: Promise) -> dict[str, Any]:
    """What the benchmark prints about one kind of trouble."""
    return {
        "figure": name, "n": len(samples), "seed": seed, "unit": "ms",
        "noticed": spread([sample.noticed_s for sample in samples], promise.noticed_s),
        "ready": spread([sample.ready_s for sample in samples], promise.ready_s),
    }  # fmt: skip
