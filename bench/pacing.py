"""How much of IB's historical budget a limiter gets answered in an hour of unbroken demand, and what ours costs.

    python bench/pacing.py          one JSON line per figure

Discrete events in virtual time. The judge is a strict Gateway that counts at arrival, refused requests included; each
message arrives with a jitter of tens of milliseconds, in the order it was written. Answered and violations are the
worst of three seeds. Judge and rivals are written here, from the rule book's numbers; only the last row is our code.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from math import inf
from statistics import median
from typing import Any

from gateway_proxy.core.scheduler import Job, Keys, Lane, PacingSettings, RequestClass, Scheduler

HOUR_S = 3600.0
SEEDS = (1, 2, 3)
JITTER_S = 0.05
ANSWER_S = 0.3
#: What the budget allows in an hour: six windows of 600 s with 60 units each.
BUDGET_PER_HOUR = 360


@dataclass(frozen=True)
class Demand:
    """Unbroken demand for small bars: every request another end date, contracts in turn."""

    contracts: int
    weight: int = 1


class Judge:
    """Answers or refuses each arrival. A refused request counts like any other."""

    def __init__(self) -> None:
        self.answered_at: list[float] = []
        self.violations = 0
        self._logs: dict[str, deque[tuple[float, int]]] = {}
        self._sums: dict[str, int] = {}
        self._open: deque[float] = deque()

    def arrive(self, at: float, contract: int, weight: int) -> bool:
        while self._open and self._open[0] <= at:
            self._open.popleft()
        kept = (
            self._count("messages", at, 1, 1.0, 50),
            self._count("budget", at, weight, 600.0, 60),
            self._count(f"series {contract}", at, weight, 2.0, 5),
            len(self._open) < 50,
        )
        if not all(kept):
            self.violations += 1
            return False
        self._open.append(at + ANSWER_S)
        self.answered_at.append(at + ANSWER_S)
        return True

    def _count(self, rule: str, at: float, amount: int, window_s: float, limit: int) -> bool:
        log = self._logs.setdefault(rule, deque())
        log.append((at, amount))
        total = self._sums.get(rule, 0) + amount
        while log[0][0] <= at - window_s:
            total -= log.popleft()[1]
        self._sums[rule] = total
        return total <= limit


# ---------------------------------------------------------------- rivals: when may the next request of a queue go?

#: Given the time, the time at which the next request may leave; it is then sent at that time.
Limiter = Callable[[float], float]


def interval(seconds: float) -> Limiter:
    last = -inf

    def next_at(now: float) -> float:
        nonlocal last
        last = max(now, last + seconds)
        return last

    return next_at


def token_bucket(size: float, per_s: float) -> Limiter:
    tokens, refilled_at = size, 0.0

    def next_at(now: float) -> float:
        nonlocal tokens, refilled_at
        tokens = min(size, tokens + (now - refilled_at) * per_s)
        at = now if tokens >= 1 else now + (1 - tokens) / per_s
        tokens = min(size, tokens + (at - now) * per_s) - 1
        refilled_at = at
        return at

    return next_at


def fixed_window(limit: int, window_s: float) -> Limiter:
    window, used = -1, 0

    def next_at(now: float) -> float:
        nonlocal window, used
        if int(now // window_s) > window:
            window, used = int(now // window_s), 0
        if used >= limit:
            window, used = window + 1, 0
        used += 1
        return max(now, window * window_s)

    return next_at


def sliding_log(limit: int, window_s: float) -> Limiter:
    log: deque[float] = deque(maxlen=limit)

    def next_at(now: float) -> float:
        at = now if len(log) < limit else max(now, log[0] + window_s)
        log.append(at)
        return at

    return next_at


def behind_messages(limiter: Limiter, limit: int = 45, window_s: float = 1.0) -> Limiter:
    """The message rate that such a program keeps to anyway."""
    messages = sliding_log(limit, window_s)
    return lambda now: messages(limiter(now))


RIVALS: dict[str, Callable[[], Limiter]] = {
    "none (100 a second)": lambda: interval(0.01),
    "45 messages a second": lambda: sliding_log(45, 1.0),
    "one per 10 s": lambda: interval(10.0),
    "one per 10.5 s": lambda: interval(10.5),
    "token bucket 60, refill 0.1/s": lambda: behind_messages(token_bucket(60, 0.1)),
    "token bucket 30, refill 30/600 s": lambda: behind_messages(token_bucket(30, 0.05)),
    "fixed window of 60": lambda: behind_messages(fixed_window(60, 600.0)),
    "58 per 600 s, 50 messages per 3 s": lambda: behind_messages(sliding_log(58, 600.0), 50, 3.0),
    "sliding log, exact, no margin": lambda: behind_messages(sliding_log(60, 600.0)),
}


def run_rival(limiter: Limiter, demand: Demand, seed: int) -> Judge:
    dice, judge = random.Random(seed), Judge()
    now = arrival = 0.0
    number = 0
    while (now := limiter(now)) < HOUR_S:
        arrival = max(arrival, now + dice.uniform(0, JITTER_S))
        judge.arrive(arrival, number % demand.contracts, demand.weight)
        number += 1
    return judge


# ---------------------------------------------------------------- ours


def jobs_of(demand: Demand, owners: int = 10) -> Iterator[Job]:
    number = 0
    while True:
        keys = Keys(
            identical=f"C{number % demand.contracts} end {number}",
            series=f"C{number % demand.contracts}",
            weight=demand.weight,
        )
        owner = f"engine{number % owners}"
        yield Job(number, Lane.INTERACTIVE, owner, RequestClass.HISTORY_SMALL, keys=keys)
        number += 1


def run_ours(demand: Demand, seed: int) -> Judge:
    """Ten greedy engines that keep 200 requests queued; answers come back like from any Gateway."""
    dice, judge, scheduler = random.Random(seed), Judge(), Scheduler(PacingSettings())
    jobs = jobs_of(demand)
    answers: list[tuple[float, int]] = []
    now = arrival = 0.0
    for _ in range(200):
        scheduler.push(next(jobs), now)
    while now < HOUR_S:
        while answers and answers[0][0] <= now:
            scheduler.finished(heappop(answers)[1], now, latency_s=ANSWER_S, failed=False)
        for granted in scheduler.due(now):
            arrival = max(arrival, now + dice.uniform(0, JITTER_S))
            judge.arrive(arrival, int(granted.job.keys.series[1:]), demand.weight)
            heappush(answers, (arrival + ANSWER_S, granted.job.job_id))
            scheduler.push(next(jobs), now)
        timer = scheduler.next_timer()
        now = max(now, min(timer if timer is not None else inf, answers[0][0] if answers else inf))
    return judge


def report(name: str, scenario: str, demand: Demand, judges: list[Judge]) -> None:
    answered = min(len(judge.answered_at) for judge in judges)
    full = 60 // demand.weight
    first = [judge.answered_at[full - 1] if len(judge.answered_at) >= full else None for judge in judges]
    emit(
        name=name,
        scenario=scenario,
        answered_per_hour=answered,
        share_of_budget=round(answered * demand.weight / BUDGET_PER_HOUR, 4),
        violations=max(judge.violations for judge in judges),
        first_budget_answered_s=None if None in first else round(max(at for at in first if at is not None), 1),
    )


# ---------------------------------------------------------------- orders, and the cost of our own code


def order_behind_contracts() -> None:
    """An order placed behind 500 queued contract requests: how long until it may leave, in virtual time."""
    fifo = sliding_log(45, 1.0)
    rival_s = 0.0
    for _ in range(501):
        rival_s = fifo(rival_s)
    scheduler = Scheduler(PacingSettings())
    for number in range(500):
        scheduler.push(Job(number, Lane.INTERACTIVE, "engine", RequestClass.CONTRACT), 0.0)
    for granted in scheduler.due(0.0):
        scheduler.finished(granted.job.job_id, 0.0, latency_s=0.1, failed=False)
    scheduler.push(Job(501, Lane.ORDER, "engine", RequestClass.ORDER, messages=3), 0.01)
    (first,) = (granted for granted in scheduler.due(0.01) if granted.job.lane is Lane.ORDER)
    emit(name="order behind 500 contract requests, first in first out at 45/s", waited_s=round(rival_s, 3))
    emit(name="order behind 500 contract requests, ours", waited_s=first.queued_s)


def crowded(queued: int) -> tuple[Scheduler, float]:
    """A scheduler whose historical budget is spent, with `queued` more requests of ten owners and 5,000 contracts."""
    scheduler = Scheduler(PacingSettings(queue_max=10**6, queue_per_owner_max=10**6))
    jobs = jobs_of(Demand(contracts=5_000))
    for _ in range(60 + queued):
        scheduler.push(next(jobs), 0.0)
    now = 0.0
    while now < 30.0:
        for granted in scheduler.due(now):
            scheduler.finished(granted.job.job_id, now, latency_s=ANSWER_S, failed=False)
        now += 0.05
    return scheduler, now


def passing_cost_us(queued: int, rounds: int = 5, requests: int = 1_000) -> float:
    """One contract request from push to answer past a blocked queue; the best round, in microseconds."""
    scheduler, now = crowded(queued)
    best, number = inf, 10**7
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(requests):
            number += 1
            scheduler.push(Job(number, Lane.INTERACTIVE, "quick", RequestClass.CONTRACT), now)
            for granted in scheduler.due(now):
                scheduler.finished(granted.job.job_id, now, latency_s=0.1, failed=False)
            scheduler.next_timer()
            now += 0.05
        best = min(best, time.perf_counter() - started)
    return best / requests * 1e6


def queueing_cost_us(queued: int, requests: int = 1_000) -> float:
    """Push and cancel one more request of the blocked class; the median, in microseconds."""
    scheduler, now = crowded(queued)
    extra = [Job(10**7 + n, Lane.INTERACTIVE, "late", RequestClass.HISTORY_SMALL) for n in range(requests)]
    spent_s = []
    for job in extra:
        started = time.perf_counter()
        scheduler.push(job, now)
        scheduler.due(now)
        scheduler.cancel(job.job_id)
        spent_s.append(time.perf_counter() - started)
    return median(spent_s) * 1e6


def order_cost_us(queued: int, requests: int = 2_000) -> float:
    """Push an order and have it granted past a blocked queue, ten a second; the median, in microseconds."""
    scheduler, now = crowded(queued)
    spent_s = []
    for number in range(requests):
        now += 0.1
        scheduler.due(now)
        order = Job(10**7 + number, Lane.ORDER, "engine", RequestClass.ORDER)
        started = time.perf_counter()
        scheduler.push(order, now)
        granted = scheduler.due(now)
        spent_s.append(time.perf_counter() - started)
        assert granted[0].job is order
    return median(spent_s) * 1e6


def emit(**figures: Any) -> None:
    print(json.dumps({"bench": "pacing", **figures}), flush=True)


def main() -> None:
    scenarios = {"many contracts": Demand(200), "one contract": Demand(1), "BID_ASK": Demand(200, weight=2)}
    for scenario, demand in scenarios.items():
        for name, make in RIVALS.items():
            report(name, scenario, demand, [run_rival(make(), demand, seed) for seed in SEEDS])
        report("gateway_proxy", scenario, demand, [run_ours(demand, seed) for seed in SEEDS])
    order_behind_contracts()
    for queued in (1, 1_000, 100_000):
        emit(name="scheduler cost, a request past the queue", queued=queued, us=round(passing_cost_us(queued), 1))
        emit(name="scheduler cost, an order pushed and granted", queued=queued, us=round(order_cost_us(queued), 1))
        emit(name="scheduler cost, one more in the queue", queued=queued, us=round(queueing_cost_us(queued), 1))


if __name__ == "__main__":
    main()
