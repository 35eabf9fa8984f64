"""Market time: the Gateway's clock carried forward, corrected only by proof."""

from __future__ import annotations

import pytest

from gateway_proxy.core.market_time import MarketTime

SECOND = 1_000_000_000
NOON = 1_781_539_200  # 2026-06-15 12:00 in New York


def synced(epoch_s: int = NOON, now: float = 100.0, round_trip_s: float = 0.0) -> MarketTime:
    time = MarketTime()
    time.sync(epoch_s, round_trip_s, now, epoch_s * SECOND)
    return time


def test_before_the_first_answer_nothing_is_known():
    """Zero and an empty date, never our own clock."""
    time = MarketTime()

    assert (time.is_known, time.wall_ns(5.0), time.date(5.0)) == (False, 0, "")


def test_time_is_carried_forward_between_answers():
    """Whole seconds arrive; half a second is added as the best guess."""
    time = synced()

    assert time.wall_ns(160.0) == (NOON + 60) * SECOND + SECOND // 2


def test_answer_within_its_error_changes_nothing():
    """No jitter: bars must not finish earlier or later because an answer was late."""
    time = synced()
    before = time.wall_ns(200.0)

    for offset_s in (-1, 0, 1):
        time.sync(NOON + 100 + offset_s, 0.01, 200.0, 0)

    assert time.wall_ns(200.0) == before


@pytest.mark.parametrize("jump_s", [-3600, -3, 3, 86_400])
def test_clock_that_jumped_is_followed(jump_s: int):
    """The Gateway is right: it may have been corrected, or skip closed hours."""
    time = synced()

    time.sync(NOON + 100 + jump_s, 0.0, 200.0, 0)

    assert time.wall_ns(200.0) == (NOON + 100 + jump_s) * SECOND + SECOND // 2


def test_slow_answer_proves_little():
    """An answer that took 20 s is 10 s uncertain, so a difference of 8 s does not move the clock."""
    time = synced()
    before = time.wall_ns(200.0)

    time.sync(NOON + 100 - 18, 20.0, 200.0, 0)

    assert time.wall_ns(200.0) == before


def test_skew_is_the_difference_to_our_own_clock():
    """Positive: the Gateway's clock is ahead of ours."""
    time = MarketTime()

    time.sync(NOON, 0.0, 1.0, (NOON - 90) * SECOND)

    assert time.skew_s == 90.5


def test_date_is_new_yorks():
    """Half past nine in the evening of the 14th there is the 15th in London."""
    time = synced(epoch_s=NOON - 14 * 3600 - 1800)

    assert time.date(100.0) == "20260614"
