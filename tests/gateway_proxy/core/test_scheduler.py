"""Who goes first, who waits, and how every job ends."""

from __future__ import annotations

import json
import sys
from types import FrameType

import pytest

from gateway_proxy.core.scheduler import Keys, Lane, PacingSettings, RequestClass
from gateway_proxy.errors import QueueFull
from tests.support.pacing import Rig

C = RequestClass
NARROW = PacingSettings(market_data_lines=100)


def owners_of(rig: Rig) -> list[str]:
    return [grant.job.owner for _, grant in rig.sent]


# ---------------------------------------------------------------- lanes


def test_more_urgent_lanes_go_first_whatever_came_first() -> None:
    """Pushed from the least urgent to the most urgent, sent the other way round."""
    rig = Rig()
    for lane in reversed(Lane):
        rig.push(C.SESSION, lane)

    rig.step()

    assert [grant.job.lane for _, grant in rig.sent] == list(Lane)


def test_urgent_request_overtakes_a_backlog_of_the_same_class() -> None:
    """The next free unit of the budget goes to the interactive lane, not to the backfill that waited for it."""
    rig = Rig()
    backlog = [rig.push(C.HISTORY_SMALL, Lane.STREAM) for _ in range(200)]
    rig.run(300.0, rig.answer_grant)

    urgent = rig.push(C.HISTORY_SMALL, Lane.INTERACTIVE)
    rig.run(601.0, rig.answer_grant)

    assert rig.when(urgent) == 601.0
    assert rig.sent[60][1].job is urgent
    assert rig.when(backlog[60]) == 601.0


def test_order_goes_at_once_behind_five_hundred_contract_requests() -> None:
    """Data never stand before an order, not even for a moment."""
    rig = Rig(NARROW)
    for _ in range(500):
        rig.push(C.CONTRACT)
    rig.run(3.05, rig.answer_grant)

    order = rig.push(C.ORDER, Lane.ORDER, messages=3)
    first = rig.step()[0]

    assert (first.job, first.queued_s, first.held_by) == (order, 0.0, "")
    assert rig.scheduler.stats(rig.now)["lanes"]["interactive"]["depth"] > 300


def test_light_jobs_do_not_starve_a_heavy_one() -> None:
    """When a request of weight 2 is next and one unit is free, the unit waits for its twin."""
    rig = Rig()
    for number in range(59):
        rig.push(C.HISTORY_SMALL, series=f"S{number}")
    rig.run(5.0, rig.answer_grant)

    heavy = rig.push(C.HISTORY_SMALL, weight=2)
    light = [rig.push(C.REALTIME_BARS, Lane.BACKFILL) for _ in range(3)]
    rig.run(601.0)

    assert rig.when(heavy) == 601.0
    assert all(rig.when(job) in (601.0, None) for job in light)


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


# ---------------------------------------------------------------- ends


def test_expired_job_is_returned_once_and_never_sent() -> None:
    """A deadline that passes in the queue ends the job there and then."""
    rig = Rig()
    rig.scheduler.close_class(C.QUOTE, 100.0)
    quote = rig.push(C.QUOTE, deadline=7.0)

    rig.run(200.0)

    assert rig.lost == [quote]
    assert rig.sent == []
    assert rig.scheduler.stats(rig.now)["expired"] == 1


def test_deadline_wakes_the_caller() -> None:
    """`next_timer` is the deadline when nothing can go before it, so that the answer is not late."""
    rig = Rig()
    rig.scheduler.close_class(C.QUOTE, 100.0)
    rig.push(C.QUOTE, deadline=7.0)
    rig.step()

    assert rig.scheduler.next_timer() == 7.0


def test_job_at_its_very_deadline_is_late() -> None:
    """`due` at that time does not send it, even when nobody asked for the expired ones yet."""
    rig = Rig()
    job = rig.push(C.QUOTE, deadline=5.0)

    assert rig.scheduler.due(5.0) == []
    assert rig.scheduler.next_timer() == 5.0
    assert rig.scheduler.expired(5.0) == [job]
    assert rig.scheduler.next_timer() is None


def test_cancelled_job_never_goes_and_cannot_be_cancelled_twice() -> None:
    """Cancel says whether there was anything to cancel."""
    rig = Rig()
    job = rig.push(C.QUOTE)

    assert [rig.scheduler.cancel(job.job_id) for _ in range(2)] == [True, False]
    assert rig.step() == []
    sent = rig.push(C.QUOTE)
    rig.step()
    assert not rig.scheduler.cancel(sent.job_id)


def test_id_in_use_is_refused() -> None:
    """Queued or open at the Gateway; free again after its end."""
    rig = Rig()
    job = rig.push(C.QUOTE)
    with pytest.raises(ValueError, match="in use"):
        rig.scheduler.push(job, rig.now)
    rig.step()
    with pytest.raises(ValueError, match="in use"):
        rig.scheduler.push(job, rig.now)

    rig.scheduler.release(job.job_id, rig.now)
    rig.scheduler.push(job, rig.now)

    assert len(rig.step()) == 1


def test_late_and_repeated_answers_change_nothing() -> None:
    """Unknown ids are normal: an answer may come after its time-out."""
    rig = Rig()
    job = rig.push(C.HISTORY_SMALL)
    rig.step()

    for _ in range(3):
        rig.answer(job)
        rig.scheduler.release(job.job_id, rig.now)
    rig.scheduler.finished(999, rig.now, latency_s=None, failed=True)

    used = {row["rule"]: row["used"] for row in rig.scheduler.stats(rig.now)["rules"]}
    assert (used["history_open"], used["history_window"]) == (0, 1)


def test_time_that_runs_backwards_opens_nothing() -> None:
    """An older `now` counts as the newest one seen."""
    rig = Rig()
    rig.push(C.SYMBOLS)
    rig.scheduler.due(10.0)
    rig.scheduler.push(rig.job(C.SYMBOLS), 3.0)

    assert rig.scheduler.due(4.0) == []
    assert rig.scheduler.next_timer() == 11.1


# ---------------------------------------------------------------- bounds


def test_full_queue_refuses_with_a_time_to_come_back() -> None:
    """Per owner first, then for all; what was queued is untouched."""
    rig = Rig(PacingSettings(queue_max=30, queue_per_owner_max=20))
    rig.scheduler.close_class(C.QUOTE, 12.0)
    for number in range(30):
        rig.push(C.QUOTE, owner="greedy" if number < 20 else "other")

    rig.scheduler.cancel(30)
    with pytest.raises(QueueFull, match="greedy has 20") as refused:
        rig.push(C.QUOTE, owner="greedy")
    assert refused.value.retry_in_s == 12.0
    rig.push(C.QUOTE, owner="other")
    with pytest.raises(QueueFull, match="30 data requests"):
        rig.push(C.QUOTE, owner="third")
    assert rig.scheduler.stats(0.0)["lanes"]["interactive"]["depth"] == 30


def test_full_data_queue_never_refuses_an_order() -> None:
    """Orders, cancels and probes have a room of their own, and it has a bound too."""
    rig = Rig(PacingSettings(queue_max=5, queue_per_owner_max=5, urgent_queue_max=3))
    rig.scheduler.close_class(C.QUOTE, 12.0)
    for _ in range(5):
        rig.push(C.QUOTE)

    for lane in (Lane.ORDER, Lane.PROTECTIVE, Lane.PROBE):
        rig.push(C.SESSION, lane)

    with pytest.raises(QueueFull, match="3 orders, cancels and probes"):
        rig.push(C.ORDER, Lane.ORDER)
    assert len(rig.step()) == 3


def test_statistics_remember_a_bounded_number_of_owners() -> None:
    """A client that invents a new name for every request does not grow the memory."""
    rig = Rig()
    for number in range(1_000):
        rig.push(C.SECDEF, owner=f"name{number}")
        rig.run(rig.now + 0.01)

    assert len(rig.scheduler.stats(rig.now)["owners"]) <= 256


def test_ended_jobs_leave_nothing_behind() -> None:
    """Pushing and cancelling for ever keeps queue, buckets and timers small."""
    rig = Rig()
    rig.push(C.HISTORY_SMALL, identical="A", series="S")
    for number in range(20_000):
        job = rig.push(C.HISTORY_SMALL, identical="A", series="S", deadline=1e6 + number)
        rig.step()
        rig.scheduler.cancel(job.job_id)
    scheduler = rig.scheduler

    assert scheduler._room.entries == {} and scheduler._room.parked == {}
    assert len(scheduler._deadlines) < 5_000 and len(scheduler._wakes) < 5_000


# ---------------------------------------------------------------- a new connection


def test_new_connection_frees_slots_and_lines_but_not_the_windows() -> None:
    """The Gateway forgot our streams; IB did not forget our requests."""
    rig = Rig()
    for _ in range(3):
        rig.push(C.HISTORY_SMALL, stream=True)
        rig.push(C.QUOTE)
    rig.step()

    rig.scheduler.reset_session(rig.now)

    used = {row["rule"]: row["used"] for row in rig.scheduler.stats(rig.now)["rules"]}
    assert (used["lines"], used["history_open"], used["history_window"]) == (0, 0, 3)


# ---------------------------------------------------------------- what is going on


def test_held_by_names_the_rule_that_held_longest() -> None:
    """Ten minutes of budget and a moment of message rate: the budget is named."""
    rig = Rig(NARROW)
    for _ in range(120):
        rig.push(C.HISTORY_SMALL)

    rig.run(700.0, rig.answer_grant)

    assert {grant.held_by for at, grant in rig.sent if at >= 601.0} == {"history_window"}
    assert {grant.held_by for at, grant in rig.sent if at < 601.0} == {"", "message_spread"}


def test_statistics_are_plain_json_and_add_up() -> None:
    """The body of health/pacing/: rules, lanes, owners, totals."""
    rig = Rig()
    for number in range(70):
        rig.push(C.HISTORY_SMALL, owner="alpha" if number % 7 else "beta", deadline=90.0 if number == 69 else None)
    rig.run(100.0, rig.answer_grant)

    stats = json.loads(json.dumps(rig.scheduler.stats(rig.now), allow_nan=False))

    window = next(row for row in stats["rules"] if row["rule"] == "history_window")
    assert (window["used"], window["limit"], window["scope"]) == (60, 60, "login")
    assert window["next_free_s"] == pytest.approx(501.0)
    assert stats["lanes"]["interactive"] == {"depth": 9, "oldest_s": 100.0}
    assert stats["owners"]["beta"] == {"queued": 0, "sent": 10, "share": 0.1667, "lines": 0}
    assert (stats["granted"], stats["expired"], stats["refused"]) == (60, 1, 0)


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
