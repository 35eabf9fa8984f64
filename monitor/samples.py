"""One row of figures per moment: what charts, history and the report are made of. Pure.

Latency is that of the requests since the row before, not since the proxy started: a bad minute must look bad.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from monitor import histograms
from monitor.histograms import Counts
from monitor.lights import worst
from monitor.render import BUDGET_LIMIT_MIN, today_pnl
from monitor.view import Light, View

CLASSES_MAX = 24
RULES_MAX = 40


@dataclass(frozen=True, slots=True)
class ClassSample:
    """Milliseconds of one request class; None where nothing was measured."""

    queue_p50: float | None
    queue_p99: float | None
    gateway_p50: float | None
    gateway_p99: float | None
    count: int


@dataclass(frozen=True, slots=True)
class Sample:
    """`budgets` holds (used, limit) of the fullest scope of each rule."""

    wall_ns: int
    light: Light
    state: str
    rtt_ms: float | None = None
    loop_lag_ms: float | None = None
    bus_p50_ms: float | None = None
    bus_p99_ms: float | None = None
    queued: int = 0
    orders_open: int = 0
    pnl: float | None = None
    latency: dict[str, ClassSample] = field(default_factory=dict)
    budgets: dict[str, tuple[float, float]] = field(default_factory=dict)


class Sampler:
    """Remembers the histograms of the last row, so that the next one is only about what came after it."""

    def __init__(self) -> None:
        self._before: dict[tuple[str, str], Counts] = {}

    def sample(self, view: View) -> Sample:
        return Sample(
            wall_ns=view.wall_ns,
            light=view.light,
            state=view.state,
            rtt_ms=view.gateway.rtt_ms,
            loop_lag_ms=view.gateway.loop_lag_ms,
            bus_p50_ms=view.bus.delay_ms.p50,
            bus_p99_ms=view.bus.delay_ms.p99,
            queued=sum(lane.depth for lane in view.pacing.lanes),
            orders_open=view.orders_open,
            pnl=today_pnl(view),
            latency=self._latency(view),
            budgets=_budgets(view),
        )

    def _latency(self, view: View) -> dict[str, ClassSample]:
        rows = {}
        for one in view.latency[:CLASSES_MAX]:
            queue = histograms.percentiles(self._new(one.name, "queue", one.queue_ms.hdr))
            gateway = histograms.percentiles(self._new(one.name, "gateway", one.gateway_ms.hdr))
            if queue.count or gateway.count:
                rows[one.name] = ClassSample(queue.p50, queue.p99, gateway.p50, gateway.p99, queue.count)
        return rows

    def _new(self, name: str, side: str, encoded: str) -> Counts:
        counts = histograms.decode(encoded)
        before = self._before.get((name, side))
        self._before[name, side] = counts
        # The first look would put hours of requests into one row.
        return {} if before is None else histograms.since(counts, before)


def _budgets(view: View) -> dict[str, tuple[float, float]]:
    fullest: dict[str, tuple[float, float]] = {}
    for rule in view.pacing.rules:
        # Rules stand with the fullest scope first. Tiny ones are full whenever they are used, and would hide the rest.
        if rule.limit >= BUDGET_LIMIT_MIN and rule.rule not in fullest and len(fullest) < RULES_MAX:
            fullest[rule.rule] = (rule.used, rule.limit)
    return fullest


def merge(samples: list[Sample]) -> Sample:
    """Several rows as one, at the time of the last: the worst light, the highest figures. Needs at least one."""
    last = samples[-1]
    return Sample(
        wall_ns=last.wall_ns,
        light=worst(sample.light for sample in samples),
        state=next((s.state for s in samples if s.light is worst(x.light for x in samples)), last.state),
        rtt_ms=_highest([sample.rtt_ms for sample in samples]),
        loop_lag_ms=_highest([sample.loop_lag_ms for sample in samples]),
        bus_p50_ms=_highest([sample.bus_p50_ms for sample in samples]),
        bus_p99_ms=_highest([sample.bus_p99_ms for sample in samples]),
        queued=max(sample.queued for sample in samples),
        orders_open=last.orders_open,
        pnl=last.pnl,
        latency={name: _merge_class(name, samples) for name in {name for s in samples for name in s.latency}},
        budgets=_merge_budgets(samples),
    )


def _merge_class(name: str, samples: list[Sample]) -> ClassSample:
    rows = [sample.latency[name] for sample in samples if name in sample.latency]
    return ClassSample(
        _highest([row.queue_p50 for row in rows]),
        _highest([row.queue_p99 for row in rows]),
        _highest([row.gateway_p50 for row in rows]),
        _highest([row.gateway_p99 for row in rows]),
        sum(row.count for row in rows),
    )


def _merge_budgets(samples: list[Sample]) -> dict[str, tuple[float, float]]:
    highest: dict[str, tuple[float, float]] = {}
    for sample in samples:
        for rule, (used, limit) in sample.budgets.items():
            highest[rule] = (max(used, highest.get(rule, (0.0, limit))[0]), limit)
    return highest


def _highest(values: list[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
