"""The adaptive limit, and the exact future of a window."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_proxy.core.gates import AdaptiveSlots, Window
from gateway_proxy.core.rules import (
    Rule,
    every_lane,
    rule_table,
)
from gateway_proxy.core.scheduler import PacingSettings, RequestClass
from tests.support.pacing import Rig

C = RequestClass


# ---------------------------------------------------------------- adaptive limit


def adaptive(start: int = 6, least: int = 1, most: int = 20) -> AdaptiveSlots:
    rule = next(rule for rule in rule_table(PacingSettings()) if rule.name == "history_large_open")
    return AdaptiveSlots(rule, start=start, least=least, most=most, slow_s=5.0)


def serve(slots: AdaptiveSlots, rounds: int, latency_s: float, *, failed: bool = False) -> None:
    """Rounds of a full house: as many requests as the limit allows, all answered."""
    for _ in range(rounds):
        amount = slots.limit
        for _ in range(amount):
            slots.take("", 1, 0.0)
        for _ in range(amount):
            slots.answered(latency_s, failed)
            slots.give("", 1)


def test_limit_grows_by_about_one_per_full_round_up_to_its_most() -> None:
    """Additive increase while answers are quick."""
    slots = adaptive()

    for _ in range(200):
        slots.take("", 1, 0.0)
        while slots.used("", 0.0) < slots.limit:
            slots.take("", 1, 0.0)
        slots.answered(0.1, False)
        slots.give("", 1)

    assert 15 <= slots.limit <= 20


def test_limit_does_not_grow_unused() -> None:
    """One request at a time says nothing about six at a time."""
    slots = adaptive()

    for _ in range(100):
        slots.take("", 1, 0.0)
        slots.answered(0.1, False)
        slots.give("", 1)

    assert slots.limit == 6


@pytest.mark.parametrize(("latency_s", "failed"), [(30.0, False), (0.1, True)])
def test_slow_or_failed_round_halves_the_limit_once(latency_s: float, failed: bool) -> None:
    """All requests that were open together are one bad sign, not six."""
    slots = adaptive(start=16)

    serve(slots, 1, latency_s, failed=failed)

    assert slots.limit == 8


def test_limit_never_falls_below_its_least() -> None:
    """Something must go, or nobody would notice that the Gateway has recovered."""
    slots = adaptive(least=2)

    serve(slots, 20, 30.0)

    assert slots.limit == 2


def test_one_slow_answer_among_many_is_no_sign() -> None:
    """The 95th percentile decides: one in twenty is not enough."""
    slots = adaptive(start=10, most=10)
    serve(slots, 2, 0.1)

    slots.take("", 1, 0.0)
    slots.answered(30.0, False)

    assert slots.limit == 10


def test_timeouts_of_large_requests_narrow_the_queue() -> None:
    """The adaptive limit is what holds the next one, and the explanation says so."""
    rig = Rig()
    jobs = [rig.push(C.HISTORY_LARGE) for _ in range(6)]
    rig.step()
    for job in jobs:
        rig.answer(job, failed=True)

    second = [rig.push(C.HISTORY_LARGE) for _ in range(6)]
    rig.run(10.0)

    assert sum(rig.when(job) is not None for job in second) == 3
    explanation = rig.scheduler.explain(rig.job(C.HISTORY_LARGE), rig.now)
    assert (explanation.held_by, explanation.goes_at) == ("history_large_open", inf)


@given(
    taken=st.lists(st.tuples(st.floats(0, 50), st.integers(1, 3)), max_size=12),
    ahead=st.integers(0, 40),
    ceiling=st.integers(3, 8),
)
def test_future_of_a_window_is_what_waiting_would_show(
    taken: list[tuple[float, int]], ahead: int, ceiling: int
) -> None:
    """`goes_after` says when unit n goes; taking one unit after the other, each as early as it may, shows the same."""
    rule = Rule("test", frozenset(), every_lane(ceiling), 10.0, "")
    window, now = Window(rule), 0.0
    for wait_s, amount in taken:
        now += wait_s / 10
        if window.goes_at("", amount, ceiling, now) <= now:
            window.take("", amount, now)

    foretold = window.goes_after(ahead, 1, ceiling, now)
    for _ in range(ahead + 1):
        now = window.goes_at("", 1, ceiling, now)
        window.take("", 1, now)

    assert foretold == pytest.approx(now)
