"""Who gets the next turn, what waits where, and at what cost."""

from __future__ import annotations

import sys
from heapq import heappop, heappush
from random import Random
from types import FrameType

import pytest

from gateway_proxy.core.scheduler import Job, Keys, Lane, PacingSettings, RequestClass
from gateway_proxy.errors import QueueFull
from tests.support.pacing import Rig

C = RequestClass
NARROW = PacingSettings(market_data_lines=100)


def owners_of(rig: Rig) -> list[str]:
    return [grant.job.owner for _, grant in rig.sent]


# ---------------------------------------------------------------- fair shares


def test_flooder_does_not_starve_the_others() -> None:
    """A thousand requests of one owner; the others' single requests go in the next turns."""
    rig = Rig(NARROW)
    for _ in range(1_000):
        rig.push(C.SECDEF, owner="flooder")
    rig.run(2.0)

    quiet = [rig.push(C.SECDEF, owner=f"quiet{number}") for number in range(4)]
    rig.run(2.3)

    assert all((rig.when(job) or 99.0) <= 2.0 + 2 * NARROW.message_spread_s for job in quiet)


def test_flooder_with_many_classes_gets_no_more_than_its_share() -> None:
    """Turns are counted over all classes of a lane."""
    rig = Rig(NARROW)
    for kind in (C.SECDEF, C.SESSION, C.PROBE):
        for _ in range(100):
            rig.push(kind, owner="flooder")
    for _ in range(100):
        rig.push(C.UNSUBSCRIBE, owner="quiet")

    rig.run(3.0)

    assert owners_of(rig).count("quiet") == pytest.approx(len(rig.sent) / 2, abs=2)


def test_owners_share_the_budget_by_weight_not_by_count() -> None:
    """BID_ASK requests cost two units, so their owner gets half as many of them."""
    rig = Rig()
    for _ in range(100):
        rig.push(C.HISTORY_SMALL, owner="bid_ask", weight=2)
        rig.push(C.HISTORY_SMALL, owner="trades")

    rig.run(600.0, rig.answer_grant)

    assert owners_of(rig).count("bid_ask") == 15
    assert owners_of(rig).count("trades") == 30


def test_one_owner_alone_gets_everything() -> None:
    """Nothing is kept for owners that do not ask."""
    rig = Rig()
    for _ in range(100):
        rig.push(C.HISTORY_SMALL, weight=2)

    rig.run(600.0, rig.answer_grant)

    assert len(rig.sent) == 30


def quiet_latencies_s(flood: bool, kind: RequestClass, answer_s: float) -> list[float]:
    """A minute of one quiet request a second, sorted from best to worst; `flood` keeps another owner's queue full."""
    dice, rig = Random(7), Rig(NARROW)
    ends: list[tuple[float, int, Job]] = []
    asked: dict[int, float] = {}
    latencies_s = []
    for tick in range(6_000):
        at = tick / 100
        while ends and ends[0][0] <= at:
            rig.now, _, job = heappop(ends)
            rig.answer(job)
            if job.job_id in asked:
                latencies_s.append(rig.now - asked.pop(job.job_id))
        rig.now = at
        try:
            while flood:
                rig.push(kind, owner="flooder")
        except QueueFull as refused:
            assert (refused.retry_in_s or 0.0) > 0.0
        if tick % 100 == 50:
            asked[rig.push(kind, owner="quiet").job_id] = at
        for granted in rig.step():
            heappush(ends, (at + answer_s * dice.uniform(0.8, 1.2), granted.job.job_id, granted.job))
    return sorted(latencies_s)


@pytest.mark.parametrize(("kind", "answer_s"), [(C.CONTRACT, 0.15), (C.HISTORY_LARGE, 0.3), (C.HISTORY_LARGE, 2.0)])
def test_flooder_costs_the_others_less_than_their_quiet_latency(kind: RequestClass, answer_s: float) -> None:
    """From question to answer, the quiet owner stays within twice what it had alone; the flooder is refused."""
    alone, flooded = (quiet_latencies_s(flood, kind, answer_s) for flood in (False, True))

    assert len(flooded) >= 55
    assert flooded[len(flooded) // 2] <= 2 * alone[len(alone) // 2]
    assert flooded[int(len(flooded) * 0.95)] <= 2 * alone[int(len(alone) * 0.95)]


# ---------------------------------------------------------------- blocked keys


def test_exhausted_key_does_not_hold_other_keys() -> None:
    """Twenty requests for one series wait for the two-second rule; another series passes them."""
    rig = Rig()
    for number in range(20):
        rig.push(C.HISTORY_SMALL, series="SPY TRADES", identical=f"{number}")
    rig.step()

    other = rig.push(C.HISTORY_SMALL, series="QQQ TRADES", identical="Q")
    rig.step()

    assert rig.when(other) == 0.0


def test_repeated_request_steps_aside_for_others_of_its_series() -> None:
    """An identical request waits 16 s, alone: the different ones behind it go on."""
    rig = Rig()
    first, again = (rig.push(C.HISTORY_SMALL, series="SPY", identical="A") for _ in range(2))
    other = rig.push(C.HISTORY_SMALL, series="SPY", identical="B")

    rig.run(20.0, rig.answer_grant)

    assert [rig.when(job) for job in (first, other, again)] == [0.0, 0.0, 16.0]
    assert next(grant for _, grant in rig.sent if grant.job is again).held_by == "history_identical"


def test_order_blocked_on_one_side_does_not_hold_another_contract() -> None:
    """Orders of a full side wait for a release; orders elsewhere go at once."""
    rig = Rig()
    full = [rig.push(C.ORDER, Lane.ORDER, sides=(("SPY|BUY", 8),)) for _ in range(2)]
    other = rig.push(C.ORDER, Lane.ORDER, sides=(("QQQ|BUY", 1),))
    rig.step()

    assert [rig.when(order) for order in (*full, other)] == [0.0, None, 0.0]
    rig.now = 5.0
    rig.scheduler.release(full[0].job_id, rig.now)
    rig.step()
    assert rig.when(full[1]) == 5.0


# ---------------------------------------------------------------- cost


def calls_made(rig: Rig) -> int:
    """Python calls of one request's whole way: pushed, granted, answered, timer asked."""
    calls = 0

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    job = rig.job(C.CONTRACT, owner="other")
    sys.setprofile(count)
    try:
        rig.scheduler.push(job, rig.now)
        granted = rig.scheduler.due(rig.now)
        rig.scheduler.finished(job.job_id, rig.now, latency_s=0.1, failed=False)
        rig.scheduler.due(rig.now)
        rig.scheduler.next_timer()
    finally:
        sys.setprofile(None)
    assert [each.job for each in granted] == [job]
    return calls


@pytest.mark.parametrize("same_series", [False, True])
def test_work_per_request_does_not_grow_with_the_queue(same_series: bool) -> None:
    """The number of calls, not their time, with 20 and with 20,000 blocked requests before it."""
    work = []
    for queued in (20, 20_000):
        rig = Rig(PacingSettings(market_data_lines=10_000, queue_max=50_000, queue_per_owner_max=50_000))
        for number in range(60 + queued):
            series = "S" if same_series else f"S{number}"
            rig.push(C.HISTORY_SMALL, keys=Keys(identical=f"I{number}", series=series), owner=f"o{number % 5}")
        rig.run(100.0, rig.answer_grant)
        work.append(calls_made(rig))

    assert work[1] <= work[0] + 10


def test_grants_cost_the_same_with_a_long_queue() -> None:
    """Also while the blocked class itself moves on: calls per grant over ten minutes of refills."""
    work = []
    for queued in (500, 20_000):
        rig = Rig(PacingSettings(queue_max=50_000, queue_per_owner_max=50_000))
        for number in range(queued):
            keys = Keys(identical=f"I{number}", series=f"S{number % 50}")
            rig.push(C.HISTORY_SMALL, keys=keys, owner=f"o{number % 5}")
        rig.run(600.0, rig.answer_grant)
        calls = 0

        def count(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        sys.setprofile(count)
        rig.run(1_300.0, rig.answer_grant)
        sys.setprofile(None)
        work.append(calls / (len(rig.sent) - 60))

    assert work[1] <= 1.2 * work[0]
