"""What holds for every sequence of requests, answers, cancels and waits, and for every jitter on the way."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from heapq import heappop, heappush
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway_proxy.core.rules import message_ceilings
from gateway_proxy.core.scheduler import Granted, Job, Keys, Lane, PacingSettings, RequestClass
from gateway_proxy.errors import QueueFull, Refused
from tests.support.pacing import Rig, violations

C = RequestClass
KINDS = [kind for kind in RequestClass if kind not in (C.ORDER, C.MODIFY, C.CANCEL)]
SLOTS = {
    "history": ({C.HISTORY_SMALL, C.HISTORY_LARGE, C.HISTORY_TICKS, C.HEAD_STAMP}, 50),
    "tick_by_tick": ({C.TICK_BY_TICK}, 5),
    "depth": ({C.DEPTH}, 3),
    "scanner": ({C.SCANNER}, 10),
    "account_summary": ({C.ACCOUNT_SUMMARY}, 2),
    "lines": ({C.QUOTE, C.SNAPSHOT, C.REALTIME_BARS, C.TICK_BY_TICK, C.DEPTH}, 100),
}

keys = st.builds(
    Keys,
    identical=st.sampled_from(["", "A", "B"]),
    series=st.sampled_from(["", "S", "T"]),
    instrument=st.sampled_from(["", "X"]),
    weight=st.sampled_from([1, 1, 2]),
)
data_jobs = st.builds(
    Job,
    job_id=st.just(0),
    lane=st.sampled_from([Lane.PROBE, Lane.INTERACTIVE, Lane.STREAM, Lane.BACKFILL]),
    owner=st.sampled_from(["alpha", "beta", "gamma"]),
    request_class=st.sampled_from([C.HISTORY_SMALL] * 6 + KINDS),
    keys=keys,
    deadline=st.sampled_from([None, None, 0.5, 40.0]),
    stream=st.booleans(),
)
order_jobs = st.builds(
    Job,
    job_id=st.just(0),
    lane=st.sampled_from([Lane.PROTECTIVE, Lane.ORDER]),
    owner=st.sampled_from(["alpha", "beta"]),
    request_class=st.sampled_from([C.ORDER, C.CANCEL]),
    messages=st.integers(1, 3),
)
waits_s = st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0, 3.0, 15.0, 16.0, 100.0, 601.0])
steps = st.one_of(
    st.tuples(st.just("push"), data_jobs, st.integers(1, 70)),
    st.tuples(st.just("push"), order_jobs, st.integers(1, 5)),
    st.tuples(st.just("wait"), waits_s, st.just(0)),
    st.tuples(st.just("answer"), st.integers(0, 200), st.integers(1, 50)),
    st.tuples(st.just("cancel"), st.integers(0, 200), st.just(0)),
    st.tuples(st.just("reset"), st.just(0), st.just(0)),
)


@dataclass
class World:
    """Runs steps against a rig and keeps the books."""

    rig: Rig
    pushed: dict[int, Job] = field(default_factory=dict)
    cancelled: list[int] = field(default_factory=list)
    open_now: dict[int, Job] = field(default_factory=dict)

    def run(self, plan: list[tuple[str, object, int]]) -> None:
        for kind, what, amount in plan:
            getattr(self, kind)(what, amount)

    def push(self, pattern: Job, amount: int) -> None:
        for _ in range(amount):
            self.rig.ids += 1
            deadline = None if pattern.deadline is None else self.rig.now + pattern.deadline
            job = replace(pattern, job_id=self.rig.ids, deadline=deadline)
            try:
                self.rig.scheduler.push(job, self.rig.now)
            except (QueueFull, Refused):
                continue
            self.pushed[job.job_id] = job
        self.wait(0.0, 0)

    def wait(self, wait_s: float, _: int) -> None:
        self.rig.run(self.rig.now + wait_s, self.went)

    def went(self, granted: Granted) -> None:
        self.open_now[granted.job.job_id] = granted.job
        for kinds, limit in SLOTS.values():
            assert sum(job.request_class in kinds for job in self.open_now.values()) <= limit

    def answer(self, which: int, amount: int) -> None:
        for job in list(self.open_now.values())[which : which + amount]:
            self.rig.answer(job, failed=which % 7 == 0)
            self.rig.scheduler.release(job.job_id, self.rig.now)
            del self.open_now[job.job_id]
        self.wait(0.0, 0)

    def cancel(self, which: int, _: int) -> None:
        ids = list(self.pushed)
        if ids and self.rig.scheduler.cancel(ids[which % len(ids)]):
            self.cancelled.append(ids[which % len(ids)])

    def reset(self, _: int, __: int) -> None:
        self.rig.scheduler.reset_session(self.rig.now)
        self.open_now.clear()
        self.wait(0.0, 0)

    def finish(self) -> None:
        """Answer whatever went, until nothing is queued."""
        for _ in range(300):
            self.answer(0, 100_000)
            if self.rig.scheduler.next_timer() is None and not self.open_now:
                return
            self.wait(50.0, 0)
        raise AssertionError("something queued never went")


@settings(max_examples=80, deadline=None)
@given(plan=st.lists(steps, max_size=25), jitters=st.lists(st.floats(0, 0.999), min_size=1, max_size=50))
def test_no_window_exceeds_its_limit_as_counted_at_arrival(
    plan: list[tuple[str, object, int]], jitters: list[float]
) -> None:
    """Whatever is asked, and however late each message arrives within the margin, in the order it was written."""
    world = World(Rig(PacingSettings(market_data_lines=100)))

    world.run(plan)
    world.finish()

    for margin_s, long in ((1.0, True), (0.1, False)):
        arrivals, latest = [], 0.0
        for number, (sent_at, granted) in enumerate(world.rig.sent):
            latest = max(latest, sent_at + margin_s * jitters[number % len(jitters)])
            arrivals.append((latest, granted.job))
        short = ("messages", "snapshots", "symbols")
        assert [each for each in violations(arrivals, 100) if each.startswith(short) != long] == []


@settings(max_examples=80, deadline=None)
@given(plan=st.lists(steps, max_size=25))
def test_every_job_ends_exactly_once(plan: list[tuple[str, object, int]]) -> None:
    """Granted, expired or cancelled; nothing is lost, nothing goes twice, nothing goes after its deadline."""
    world = World(Rig(PacingSettings(market_data_lines=100)))

    world.run(plan)
    world.finish()

    ends = Counter(granted.job.job_id for _, granted in world.rig.sent)
    ends.update(job.job_id for job in world.rig.lost)
    ends.update(world.cancelled)
    assert ends == Counter(world.pushed.keys())
    assert all(grant.job.deadline is None or sent_at < grant.job.deadline for sent_at, grant in world.rig.sent)


@settings(max_examples=80, deadline=None)
@given(plan=st.lists(steps, max_size=25))
def test_data_never_delay_an_order(plan: list[tuple[str, object, int]]) -> None:
    """With and without the data, every order goes at the same time, as long as the orders keep to their own reserve."""
    both, alone = (World(Rig(PacingSettings(market_data_lines=100))) for _ in range(2))
    orders_only = [
        step for step in plan if step[0] == "wait" or (isinstance(step[1], Job) and step[1].lane <= Lane.ORDER)
    ]

    both.run([step for step in plan if step[0] in ("push", "wait")])
    alone.run(orders_only)
    for world in (both, alone):
        world.wait(10.0, 0)

    def times(world: World) -> list[tuple[float, int]]:
        return [(round(at, 6), grant.job.messages) for at, grant in world.rig.sent if grant.job.lane <= Lane.ORDER]

    def within_reserve() -> bool:
        sent = times(alone)
        ceilings = message_ceilings(both.rig.scheduler.settings)
        reserve = ceilings[Lane.ORDER] - ceilings[Lane.PROBE]
        return all(sum(n for at, n in sent if end - 1.1 < at <= end) <= reserve for end, _ in sent)

    if within_reserve():
        assert times(both) == times(alone)


@settings(max_examples=80, deadline=None)
@given(plan=st.lists(steps, max_size=20), extra=data_jobs)
def test_explanation_tells_exactly_when_a_job_would_go(plan: list[tuple[str, object, int]], extra: Job) -> None:
    """Pushed into an empty queue it goes at that very time, and not at all if the explanation says never."""
    world = World(Rig(PacingSettings(market_data_lines=100)))
    world.run(plan)
    rig, asked_at = world.rig, world.rig.now
    job = replace(extra, job_id=rig.ids + 1, deadline=None)
    for queued in list(rig.scheduler._room.entries):
        rig.scheduler.cancel(queued)

    foretold = rig.scheduler.explain(job, rig.now)
    again = rig.scheduler.explain(job, rig.now)
    rig.scheduler.push(job, rig.now)
    rig.run(asked_at + 2_000.0)

    assert foretold == again
    assert rig.when(job) == (foretold.goes_at if foretold.goes_at < 1e9 else None)
    assert (foretold.held_by == "") == (foretold.goes_at == asked_at)


@settings(max_examples=80, deadline=None)
@given(plan=st.lists(steps, max_size=20), extra=data_jobs)
def test_refused_job_takes_nothing(plan: list[tuple[str, object, int]], extra: Job) -> None:
    """While one rule holds a job, no other rule has counted it: all of them or none."""
    world = World(Rig(PacingSettings(market_data_lines=100)))
    world.run(plan)
    rig = world.rig
    rig.scheduler.close_class(extra.request_class, rig.now + 1.0)
    before = rig.scheduler.stats(rig.now)["rules"]

    world.push(replace(extra, deadline=None), 20)

    assert rig.scheduler.stats(rig.now)["rules"] == before


@pytest.mark.parametrize(("seed", "strict"), [(1, False), (2, True)])
def test_ten_greedy_engines_use_the_budget_and_break_nothing(seed: int, strict: bool) -> None:
    """Twenty minutes of more demand of every kind than IB allows: no violation, and the whole budget is used."""
    dice, rig = Random(seed), Rig(PacingSettings(strict_history=strict))
    kinds = [
        C.HISTORY_SMALL,
        C.HISTORY_LARGE,
        C.HEAD_STAMP,
        C.REALTIME_BARS,
        C.QUOTE,
        C.SNAPSHOT,
        C.CONTRACT,
        C.SYMBOLS,
    ]
    ends: list[tuple[float, int, Job]] = []

    def went(granted: Granted) -> None:
        heappush(ends, (rig.now + dice.uniform(0.05, 2.0), granted.job.job_id, granted.job))

    for second in range(1_200):
        for _ in range(dice.randint(0, 8)):
            series = f"S{dice.randint(0, 40)}"
            keys = Keys(identical=f"{series} {rig.ids // 2}", series=series, weight=dice.choice([1, 1, 2]))
            owner, lane = f"engine{dice.randint(0, 9)}", dice.choice([Lane.INTERACTIVE, Lane.STREAM, Lane.BACKFILL])
            try:
                rig.push(dice.choice(kinds), lane, owner=owner, keys=keys, deadline=rig.now + 400.0)
            except QueueFull:
                continue
        while ends and ends[0][0] <= second + 1:
            at, _, job = heappop(ends)
            rig.run(at, went)
            rig.answer(job, latency_s=1.0)
            rig.scheduler.release(job.job_id, rig.now)
        rig.run(second + 1.0, went)

    arrivals, latest = [], 0.0
    for sent_at, granted in rig.sent:
        latest = max(latest, sent_at + dice.uniform(0.0, 0.099))
        arrivals.append((latest, granted.job))
    assert violations(arrivals, 100, strict=strict) == []
    small = {C.HISTORY_SMALL, C.HEAD_STAMP, C.REALTIME_BARS} | ({C.HISTORY_LARGE} if strict else set())
    assert sum(job.keys.weight for _, job in arrivals if job.request_class in small) >= 0.97 * 120
