"""The circuit breaker: every step of its table, its one probe, its growing pause."""

import itertools

import pytest

from gateway_proxy.core.breaker import FAILURES, GROUP_OF, TRANSITIONS, Breaker, Breakers, BreakerSettings, State, Turn
from gateway_proxy.core.rules import RequestClass
from gateway_proxy.core.verdict import Verdict
from gateway_proxy.errors import BreakerOpen

SETTINGS = BreakerSettings(fail_max=3, reset_timeout_s=10.0, reset_timeout_max_s=60.0, probe_timeout_s=5.0, slow_s=2.0)


def tripped(at: float = 0.0) -> Breaker:
    breaker = Breaker("history", SETTINGS)
    for job in range(SETTINGS.fail_max):
        breaker.ended(job, Verdict.HISTORY_SILENT, 1.0, at)
    return breaker


def half_open() -> tuple[Breaker, float]:
    breaker = tripped()
    now = breaker.next_timer()
    assert now is not None
    breaker.handle_timer(now)
    return breaker, now


@pytest.mark.parametrize(("state", "turn"), list(itertools.product(State, Turn)))
def test_every_step_goes_where_the_table_says_or_raises_and_changes_nothing(state, turn):
    """The table is the whole truth about the states."""
    breaker = Breaker("history", SETTINGS)
    breaker.state = state
    target = TRANSITIONS.get((state, turn))

    if target is None:
        with pytest.raises(AssertionError):
            breaker._turn(turn, 1.0)
        assert (breaker.state, breaker.since) == (state, 0.0)
    else:
        breaker._turn(turn, 1.0)
        assert (breaker.state, breaker.since) == (target, 1.0)


@pytest.mark.parametrize("verdict", sorted(FAILURES))
def test_consecutive_failures_open_it_and_name_the_cause(verdict):
    """The third time-out in a row opens; a caller is told at once when to come back."""
    breaker = Breaker("history", SETTINGS)

    for job in range(3):
        breaker.admit(0.0)
        breaker.ended(job, verdict, 1.0, 0.0)

    assert (breaker.state, breaker.cause) == (State.OPEN, verdict)
    with pytest.raises(BreakerOpen) as refusal:
        breaker.admit(1.0)
    assert refusal.value.retry_in_s is not None and 8.0 - 1e-9 <= refusal.value.retry_in_s <= 10.0


@pytest.mark.parametrize(
    "verdict", [Verdict.OK, Verdict.NO_DATA, Verdict.CONTRACT_UNKNOWN, Verdict.REJECTED, Verdict.ENTITLEMENT]
)
def test_answers_and_errors_of_the_caller_start_the_count_again(verdict):
    """IB answered, so the class works: two failures before it are forgotten."""
    breaker = Breaker("history", SETTINGS)

    for job, ending in enumerate([Verdict.HISTORY_SILENT, Verdict.HISTORY_SILENT, verdict, Verdict.HISTORY_SILENT]):
        breaker.ended(job, ending, 0.1, 0.0)

    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("verdict", [Verdict.PROXY_STALLED, Verdict.SESSION_LOST, Verdict.EXPIRED_IN_QUEUE])
def test_what_is_not_the_gateways_fault_counts_neither_way(verdict):
    """Two time-outs, our own stall, a third time-out: open."""
    breaker = Breaker("history", SETTINGS)

    for job, ending in enumerate([Verdict.HISTORY_SILENT, Verdict.HISTORY_SILENT, verdict, Verdict.HISTORY_SILENT]):
        breaker.ended(job, ending, 0.1, 0.0)

    assert breaker.state is State.OPEN


def test_slow_answers_count_like_none():
    """Three answers slower than slow_s open it: the old failure mode was slowness first."""
    breaker = Breaker("history", SETTINGS)

    for job in range(3):
        breaker.ended(job, Verdict.OK, 2.5, 0.0)

    assert breaker.state is State.OPEN


def test_after_the_pause_exactly_one_probe_is_admitted():
    """A second request waits for the first one's result."""
    breaker, now = half_open()

    breaker.admit(now)
    breaker.asked(77, now)

    with pytest.raises(BreakerOpen):
        breaker.admit(now)


def test_a_good_probe_closes_it():
    """After the probe's answer everybody may ask again, with a clean count."""
    breaker, now = half_open()
    breaker.asked(77, now)

    changed = breaker.ended(77, Verdict.OK, 0.1, now + 0.1)

    assert changed and (breaker.state, breaker.failures, breaker.openings) == (State.CLOSED, 0, 0)
    breaker.admit(now + 0.2)


def test_a_failed_probe_doubles_the_pause_up_to_its_limit():
    """10, 20, 40, 60, 60 … seconds, each within a tenth."""
    breaker = tripped()
    pauses = []
    now = 0.0

    for job in range(100, 106):
        retry_at = breaker.next_timer()
        assert retry_at is not None
        pauses.append(retry_at - now)
        now = retry_at
        breaker.handle_timer(now)
        breaker.asked(job, now)
        breaker.ended(job, Verdict.HISTORY_SILENT, 1.0, now)

    assert [round(pause / wanted, 1) for pause, wanted in zip(pauses, [10, 20, 40, 60, 60, 60], strict=True)] == [
        pytest.approx(1.0, abs=0.11)
    ] * 6


def test_a_probe_that_never_ends_counts_as_failed():
    """A lost probe must not leave it half open for ever."""
    breaker, now = half_open()
    breaker.asked(77, now)

    breaker.handle_timer(now + SETTINGS.probe_timeout_s)

    assert breaker.state is State.OPEN


def test_a_cleared_cause_ends_the_pause_at_once():
    """The farm is back: the next request is the probe, without waiting out the pause."""
    breaker = tripped()

    assert breaker.cause_cleared(1.0)

    breaker.admit(1.0)
    assert breaker.state is State.HALF_OPEN


def test_orders_cancels_and_probes_have_no_breaker():
    """Nothing here can hold what protects money."""
    breakers = Breakers(SETTINGS)

    free = {one for one in RequestClass if breakers.of(one) is None}

    assert {RequestClass.ORDER, RequestClass.CANCEL, RequestClass.PROBE, RequestClass.MODIFY} <= free
    assert free == set(RequestClass) - set(GROUP_OF)
