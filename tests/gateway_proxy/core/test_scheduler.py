"""Who goes first, who waits, and how every job ends."""

from __future__ import annotations

import json

import pytest

from gateway_proxy.core.scheduler import Lane, PacingSettings, RequestClass
from gateway_proxy.errors import QueueFull
from tests.support.pacing import Rig

C = RequestClass
NARROW = PacingSettings(market_data_lines=100)


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


def test_cancel_of_a_stream_leaves_before_the_stream_that_takes_its_line() -> None:
    """Released and cancelled in one turn: the Gateway hears of the end first, even when messages are short."""
    rig = Rig(NARROW)
    streams = [rig.push(C.QUOTE, Lane.STREAM) for _ in range(102)]
    rig.run(60.0)
    for _ in range(30):
        rig.push(C.SESSION)
    rig.run(60.5)

    for stream in streams[:2]:
        rig.scheduler.release(stream.job_id, rig.now)
        rig.push(C.UNSUBSCRIBE, Lane.PROBE)
    rig.run(70.0)

    last = [str(grant.job.request_class) for _, grant in rig.sent if grant.job.request_class is not C.SESSION][-4:]
    assert last == ["unsubscribe", "unsubscribe", "quote", "quote"]


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


def test_line_that_waits_for_a_release_does_not_hold_those_behind_it() -> None:
    """A third account summary can go only when one ends; bars behind it go as soon as the message spread allows."""
    rig = Rig(NARROW)
    rig.push(C.HISTORY_SMALL, Lane.PROBE)
    for _ in range(3):
        rig.push(C.ACCOUNT_SUMMARY)
    first, second = (rig.push(C.HISTORY_LARGE) for _ in range(2))

    rig.run(0.5)

    assert rig.when(first) == 0.0
    assert rig.when(second) == 0.125


def test_messages_written_while_the_gateway_was_silent_count_from_its_next_word_on() -> None:
    """It may have stood still and read them all at that moment: fifty more within a second would be too many."""
    rig = Rig(NARROW)
    rig.scheduler.heard(0.0)
    rig.now = 0.1
    for _ in range(10):
        rig.push(C.MODIFY, Lane.PROTECTIVE)
    first = len(rig.step())

    rig.now = 1.25
    rig.scheduler.heard(rig.now)
    for _ in range(80):
        rig.push(C.MODIFY, Lane.PROTECTIVE)
    second = len(rig.step())
    rig.scheduler.heard(1.26)
    rig.now = 2.34
    early = len(rig.step())
    rig.now = 2.36

    assert (first, second, early, len(rig.step())) == (10, 40, 0, 40)


def test_a_long_silence_makes_nothing_too_old_to_count() -> None:
    """Thirty messages in three seconds at a Gateway that stood still are read in one moment; twenty more fit in it."""
    rig = Rig(NARROW)
    rig.scheduler.heard(0.0)
    for second in range(3):
        rig.now = 0.5 + second
        for _ in range(10):
            rig.push(C.MODIFY, Lane.PROTECTIVE)
        assert len(rig.step()) == 10

    rig.now = 5.0
    rig.scheduler.heard(rig.now)
    for _ in range(80):
        rig.push(C.MODIFY, Lane.PROTECTIVE)
    first = len(rig.step())
    rig.scheduler.heard(5.01)
    rig.now = 6.2

    assert (first, len(rig.step())) == (20, 50)


def test_messages_that_went_down_with_their_session_are_not_waited_for() -> None:
    """The next session has a budget of its own, and its first requests are what everybody waits for."""
    rig = Rig(NARROW)
    rig.scheduler.heard(0.0)
    for _ in range(40):
        rig.push(C.MODIFY, Lane.PROTECTIVE)
    rig.step()

    rig.now = 8.0
    rig.scheduler.reset_session(rig.now)
    rig.now = 8.05
    rig.scheduler.heard(rig.now)
    for _ in range(50):
        rig.push(C.MODIFY, Lane.PROTECTIVE)

    assert len(rig.step()) == 50
